"""Documents that are shared and taken back while they are asked about, and what each call showed of each."""

import asyncio
import json
import re
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any, Final, TypeAlias

import aiohttp

from tests.e2e.api import read_events

_ANSWERED: Final = frozenset({200, 404})
_NO_ROOM: Final = 503
_MOST_TRIES: Final = 20
_RESPONSE_ID: Final = re.compile(r'"(resp_\w+)"')
_KEPT: Final = 20

Body: TypeAlias = dict[str, Any]


class State(Enum):
    """What of a document is certain while nobody changes it."""

    REVOKED = "revoked"
    CHANGING = "changing"
    GRANTED = "granted"


@dataclass(slots=True)
class Lent:
    """A document that the asker may search now and then.

    Attributes:
        owner: Who gives the grants, and takes them back.
        canary: A word that stands in its text, its heading and its name, and in no question.
        question: What it answers.
        store: The owner's vector store that it is in.
        is_alone: Whether it is granted by itself, without its vector store: then no answers are made from that.
        minutes: A conversation of the owner's about it, which the asker may always read.
        talks: Conversations of the asker's, used by turns, as each takes one answer at a time.
        kept: Ids of the last responses that showed it.
        changes: How often its state changed.
    """

    owner: aiohttp.ClientSession
    canary: str
    question: str
    document: str
    store: str
    is_alone: bool
    grantee: Body
    minutes: str
    talks: deque[str]
    state: State = State.REVOKED
    changes: int = 0
    grant: str = ""
    kept: deque[str] = field(default_factory=lambda: deque[str](maxlen=_KEPT))

    def enter(self, state: State) -> None:
        """From now on it is in that state."""
        self.state, self.changes = state, self.changes + 1

    def shows_in(self, text: str, sent: str) -> bool:
        """Whether an answer holds anything of it that was not sent: its words, or which document it is."""
        return self.canary in text or (self.document in text and self.document not in sent)


@dataclass(frozen=True, slots=True)
class Seen:
    """A call, and the document that it was about, as that was from before it was sent until after it was answered."""

    kind: str
    state: State
    is_shown: bool


class Flipping:
    """Calls at once, and meanwhile grants that are given and revoked, on counts of calls that have ended.

    Args:
        asker: Who calls.
        lents: What is asked about.
        calls: How many calls are made in all.
        stride: After how many ended calls a document is given or taken back again.

    Attributes:
        asked: What calls showed of the document that they were about, while that did not change.
        leaks: Calls that showed a document, this or another, which was revoked from before they were sent.
        odd: Answers that are neither. They show nothing of what is shown.
        refused: How often the service had no room (503). The same is asked again, as whoever is told so does.
        cut: Calls about what stayed granted that ended in ``access_revoked``: nobody could say in time what has ended.
        flips: How often something was given or taken back.
    """

    def __init__(
        self, asker: aiohttp.ClientSession, lents: list[Lent], calls: int, stride: int
    ) -> None:
        self._asker = asker
        self._lents = lents
        self._calls = calls
        self._stride = stride
        self._progress = asyncio.Condition()
        self._ended = 0
        self._next: deque[tuple[Lent, int]] = deque()
        self.asked: Counter[Seen] = Counter()
        self.leaks: list[str] = []
        self.odd: list[str] = []
        self.cut = 0
        self.flips = 0
        self.refused = 0

    async def run(self, concurrency: int) -> None:
        """Make all the calls; at the end one of every kind in either state, which chance may have left out."""
        numbers = iter(range(self._calls))
        async with asyncio.TaskGroup() as tasks:
            for place, lent in enumerate(self._lents):
                due = (place + 1) * self._stride // len(self._lents)
                tasks.create_task(self._flip(lent, due, concurrency // 4))
            for _ in range(concurrency):
                tasks.create_task(self._work(numbers))
        async with asyncio.TaskGroup() as tasks:
            for lent in self._lents:
                tasks.create_task(self._ask_of_every_kind(lent))

    # Grants -----------------------------------------------------------------------------------------------------------

    async def _flip(self, lent: Lent, due: int, burst: int) -> None:
        """Give and take back by turns until the calls are over.

        The same is asked just before and just after: what is remembered for a moment only shows in that moment.
        """
        for first in count(step=burst):
            asked = [(lent, number) for number in range(first, first + burst)]
            if not await self._reach(due - burst):
                return
            self._next.extend(asked)
            if not await self._reach(due):
                return
            await (self._give(lent) if lent.state is State.REVOKED else self._take(lent))
            self._next.extend(asked)
            self.flips += 1
            due = self._ended + self._stride

    async def _reach(self, due: int) -> bool:
        """Wait until so many calls have ended; whether there are more of them."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._ended >= min(due, self._calls))
        return self._ended < self._calls

    async def _give(self, lent: Lent) -> None:
        lent.enter(State.CHANGING)
        resource = lent.document if lent.is_alone else lent.store
        terms = {"resource": resource, "grantee": lent.grantee, "actions": ["search", "read"]}
        async with self._repeat(lent.owner, "POST", "/v1/grants", terms) as made:
            assert made.status == 201, await made.text()
            lent.grant = (await made.json())["id"]
        lent.enter(State.GRANTED)

    async def _take(self, lent: Lent) -> None:
        async with self._repeat(lent.owner, "DELETE", f"/v1/grants/{lent.grant}", None) as ended:
            assert ended.status == 204, await ended.text()
        lent.enter(State.REVOKED)

    @asynccontextmanager
    async def _repeat(
        self, session: aiohttp.ClientSession, method: str, path: str, body: Body | None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The answer to a request, once there is room for it. Of what is refused so, nothing was done."""
        for tries in count(1):
            async with session.request(method, path, json=body) as answer:
                if answer.status != _NO_ROOM or tries == _MOST_TRIES:
                    yield answer
                    return
            self.refused += 1

    # Calls ------------------------------------------------------------------------------------------------------------

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            round_, place = divmod(number, len(self._lents))
            lent, wanted = self._next.popleft() if self._next else (self._lents[place], round_)
            calls = list(self._calls_about(lent))
            await self._call(lent, *calls[wanted % len(calls)])
            async with self._progress:
                self._ended += 1
                self._progress.notify_all()

    def _calls_about(self, lent: Lent) -> Iterator[tuple[str, str, Body | None]]:
        """Every kind of call: its name, its path, its body; none where something is read back."""
        query = {"query": lent.question}
        yield "search", "/v1/search", query
        yield "search of it alone", "/v1/search", {**query, "documents": [lent.document]}
        yield "MCP search", "/mcp", _call_tool("search", query)
        yield "MCP fetch", "/mcp", _call_tool("fetch", {"id": lent.document})
        yield "items of a shared conversation", f"/v1/conversations/{lent.minutes}/items", None
        if lent.is_alone:
            return
        yield "search of a vector store", f"/v1/vector_stores/{lent.store}/search", query
        tools = [{"type": "file_search", "vector_store_ids": [lent.store]}]
        response = {
            "input": lent.question,
            "tools": tools,
            "include": ["file_search_call.results"],
        }
        chat = {"messages": [{"role": "user", "content": lent.question}], "tools": tools}
        for stream in (False, True):
            name = "streamed " if stream else ""
            yield f"{name}response", "/v1/responses", {**response, "stream": stream}
            yield f"{name}chat", "/v1/chat/completions", {**chat, "stream": stream}
        lent.talks.rotate()
        talk = {**response, "conversation": lent.talks[0]}
        yield "response in a conversation", "/v1/responses", talk
        if lent.kept:
            yield "response read back", f"/v1/responses/{lent.kept[-1]}", None
            yield "provenance", f"/v1/responses/{lent.kept[0]}/provenance", None

    async def _ask_of_every_kind(self, lent: Lent) -> None:
        """While it is granted, and once more when that is taken back: what the first round made is then read back."""
        if lent.state is State.REVOKED:
            await self._give(lent)
        for is_last in (False, True):
            for call in self._calls_about(lent):
                await self._call(lent, *call)
            if not is_last:
                await self._take(lent)

    async def _call(self, lent: Lent, kind: str, path: str, body: Body | None) -> None:
        before = [(one, one.state, one.changes) for one in self._lents]
        method = "GET" if body is None else "POST"
        async with self._repeat(self._asker, method, path, body) as answer:
            text = await answer.text()
        sent = path + json.dumps(body)
        told = f"{kind}, {answer.status}: {text}"
        is_cut = "access_revoked" in text
        if answer.status not in _ANSWERED and not (is_cut and answer.status == 403):
            self.odd.append(told)
        # A stream brings words one by one: what is not in it as it was sent may be in what they add up to.
        whole = text + _joined_deltas(text)
        if body is not None and lent.shows_in(whole, sent) and (made := _RESPONSE_ID.search(text)):
            lent.kept.append(made[1])
        for one, state, changes in before:
            if one.changes != changes or state is State.CHANGING:
                continue
            is_shown = one.shows_in(whole, sent)
            if is_shown and state is State.REVOKED:
                self.leaks.append(f"{one.canary} in {told}")
            if one is lent and is_cut and state is State.GRANTED:
                self.cut += 1
            elif one is lent:
                self.asked[Seen(kind, state, is_shown)] += 1


def _call_tool(name: str, arguments: Body) -> Body:
    """A message to the MCP server."""
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def _joined_deltas(stream: str) -> str:
    """The text of a stream of events, of either API."""
    pieces: list[str] = []
    for event in read_events(stream.splitlines()):
        choices = event.get("choices") or [{}]
        piece = choices[0].get("delta", {}).get("content") or event.get("delta")
        pieces += [piece] if isinstance(piece, str) else []
    return "".join(pieces)
