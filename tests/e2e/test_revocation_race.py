"""Searches and answers at once while grants flip: what is revoked is in nothing that began after the revocation."""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from uuid import uuid4

import aiohttp
import pytest

from tests.e2e.api import connect, share
from tests.e2e.conftest import Service
from tests.e2e.flipping import Body, Flipping, Lent, State

CALLS = int(os.environ.get("UNDERCROFT_TEST_REVOCATION_CALLS", "360"))
CONCURRENCY = 64 if CALLS > 1_000 else 16
STRIDE = CONCURRENCY * 3
"""Calls between two changes of a document: more than run at once, so that many see it as it stays."""
KINDS = 13
"""Of calls: see Flipping."""
TALKS = 8
"""Conversations that answers about a document are made in."""
TENANT = "flipping"
PLACES = {
    "orchard gate": "What opens the orchard gate?",
    "boat house": "Which lamp hangs in the boat house?",
    "clock tower": "Who repaired the bell of the clock tower?",
    "mill pond": "Which fish lives in the mill pond?",
}
TEXTS = {
    "orchard gate": "The orchard gate is opened with the {} key from the pantry.",
    "boat house": "In the boat house hangs the {} lamp of the old ferry.",
    "clock tower": "The bell of the clock tower was repaired by Marta {} in 1987.",
    "mill pond": "In the mill pond lives a fish that is called the {} carp.",
}


class Village:
    """Two owners, the first of them an admin, and Cem, who asks."""

    def __init__(self, service: Service, stack: AsyncExitStack) -> None:
        self._service = service
        self._stack = stack
        self._keys = {
            name: service.make_key(TENANT, f"{name}@flipping.example", role)
            for name, role in {"ann": "admin", "ben": "member", "cem": "member"}.items()
        }

    async def connect(self, name: str) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            self._service.url,
            headers={
                "Authorization": f"Bearer {self._keys[name]}",
                "Accept": "application/json, text/event-stream",
            },
            # One for each call: the service may close an idle one as the next call is sent.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(120),
        )
        return await self._stack.enter_async_context(session)

    async def make_group(self, admin: aiohttp.ClientSession) -> str:
        """A group that Cem is in."""
        async with admin.get("/v1/users") as users:
            ids = {user["email"]: user["id"] for user in (await users.json())["data"]}
        async with admin.post("/v1/groups", json={"name": "readers"}) as made:
            group = str((await made.json())["id"])
        body = {"user": ids["cem@flipping.example"]}
        async with admin.post(f"/v1/groups/{group}/members", json=body) as added:
            assert added.status < 300, await added.text()
        return group

    def lend(
        self,
        name: str,
        owner: aiohttp.ClientSession,
        place: str,
        grantee: Body,
        *,
        is_alone: bool = False,
    ) -> Lent:
        """An indexed document, in a vector store of its owner's."""
        canary = f"Q{uuid4().hex}"
        text = f"# {place.capitalize()} {canary}\n\n{TEXTS[place].format(canary)}\n"
        with self._service.client(self._keys[name]) as client:
            store = client.vector_stores.create(name=place).id
            added = client.vector_stores.files.upload_and_poll(
                vector_store_id=store, file=(f"{canary}.md", text.encode())
            )
        assert added.status == "completed", added.last_error
        minutes = self._talk_about(name, PLACES[place], store)
        with connect(self._service.url, self._keys["cem"]) as cem:
            talks = [cem.post("/v1/conversations", json={}).json()["id"] for _ in range(TALKS)]
        question = PLACES[place]
        return Lent(
            owner, canary, question, added.id, store, is_alone, grantee, minutes, deque(talks)
        )

    def _talk_about(self, name: str, question: str, store: str) -> str:
        """A conversation in which its owner has that answered, shared with Cem for ever."""
        with connect(self._service.url, self._keys[name]) as owner:
            conversation = str(owner.post("/v1/conversations", json={}).json()["id"])
            tools = [{"type": "file_search", "vector_store_ids": [store]}]
            body = {"input": question, "tools": tools, "conversation": conversation}
            answered = owner.post("/v1/responses", json=body)
            assert answered.json()["status"] == "completed", answered.text
            share(owner, conversation, "cem@flipping.example", "read")
        return conversation


@pytest.fixture
async def flipping(service: Service) -> AsyncGenerator[Flipping]:
    async with AsyncExitStack() as stack:
        village = Village(service, stack)
        ann, ben, cem = [await village.connect(name) for name in ("ann", "ben", "cem")]
        group = await village.make_group(ann)
        user = {"user": "cem@flipping.example"}
        lents = [
            village.lend("ann", ann, "orchard gate", user),
            village.lend("ann", ann, "boat house", {"tenant": True}),
            village.lend("ben", ben, "clock tower", {"group": group}),
            village.lend("ben", ben, "mill pond", user, is_alone=True),
        ]
        yield Flipping(cem, lents, CALLS, STRIDE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_what_is_revoked_is_in_nothing_that_began_after(flipping: Flipping) -> None:
    started = time.monotonic()
    await flipping.run(CONCURRENCY)
    tally = Counter[tuple[State, bool]]()
    for seen, count in flipping.asked.items():
        tally[seen.state, seen.is_shown] += count
    hidden, shown = tally[State.REVOKED, False], tally[State.GRANTED, True]
    figures = {
        "calls": CALLS,
        "flips": flipping.flips,
        "hidden": hidden,
        "shown": shown,
        "cut": flipping.cut,
        "refused": flipping.refused,
    }
    seconds = time.monotonic() - started
    logging.getLogger(__name__).info("%s at %s at once in %.0f s", figures, CONCURRENCY, seconds)
    assert flipping.odd == []
    assert flipping.leaks == []
    # What may be seen is seen: a search that finds nothing would leak nothing either.
    missed = {
        seen.kind: count
        for seen, count in flipping.asked.items()
        if seen.state is State.GRANTED and not seen.is_shown
    }
    assert missed == {}
    assert min(hidden, shown) >= CALLS // 8, figures
    assert flipping.flips >= CALLS // CONCURRENCY // 2, figures
    for state in (State.REVOKED, State.GRANTED):
        kinds = {seen.kind for seen in flipping.asked if seen.state is state}
        assert len(kinds) == KINDS, kinds
