"""What waits for a slow reader is not shown once it is lost to them; what rests on no document ends with its asker."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from tests.chat.responses.test_chain import ask
from tests.chat.responses.test_shared import LEASE
from tests.chat.responses.test_sources import ANSWER, id_of, request, service
from tests.chat.responses.test_streams import in_background, is_text, read, until
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import SEARCH, grants_of, share
from tests.shelf import Shelf
from tests.stepping import PATIENCE
from undercroft.chat.sources import REDACTED
from undercroft.sharing.models import ResourceKind
from undercroft.sharing.watching import WatchedGrants

ENDS = {
    "suspended": "access_revoked",
    "removed": "access_revoked",
    "owes a factor": "second_factor_required",
}
"""How somebody comes to lose what runs for them, and what they are told."""


async def lose(shelf: Shelf, admin: Member, user: Member, end: str) -> None:
    """Have a user suspended; or removed, or asked for a second factor, as far as a running answer learns of it."""
    statement = {
        "suspended": "UPDATE users SET suspended_at = now() WHERE id = $1",
        "removed": "DELETE FROM users WHERE id = $1",
        "owes a factor": "INSERT INTO second_factor_demands SELECT tenant_id FROM users WHERE id = $1",
    }[end]
    async with shelf.database.transaction(admin) as transaction:
        await transaction.execute(statement, user.principal_id)


def is_final(event: dict[str, Any]) -> bool:
    """Whether the whole text is said, and its end not yet."""
    return event["type"] == "response.output_text.done"


async def test_a_slow_reader_of_their_own_answer_sees_no_more_of_it_once_it_is_lost(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"lease.md": LEASE})
    given = await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, SEARCH)
    watched = WatchedGrants(shelf.database)
    responses = service(shelf, ScriptedModel(*ANSWER), watched)
    stream = responses.stream(bob, request(collection))
    async with aclosing(stream):
        seen = await until(stream, is_text)
        (running,) = responses.runs.running.values()
        assert running.task is not None
        async with asyncio.timeout(PATIENCE):
            await running.task
        # All of it is made, and waits.
        assert await watched.check() == 0
        await grants_of(shelf).revoke(ann, given.id)
        assert await watched.check() == 1
        (last,) = await read(stream)
    assert (last["type"], last["code"]) == ("error", "access_revoked")
    assert last["sequence_number"] == len(seen)
    kept = await responses.get(bob, id_of(seen[0]["response"]))
    assert kept["status"] == "completed"
    assert not watched._running


async def test_what_is_not_kept_ends_where_its_reader_is_when_it_is_lost(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"lease.md": LEASE})
    given = await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, SEARCH)
    watched = WatchedGrants(shelf.database)
    responses = service(shelf, ScriptedModel(*ANSWER), watched)
    stream: AsyncGenerator[dict[str, Any]] = responses.stream(bob, request(collection, store=False))
    async with aclosing(stream):
        seen = await until(stream, is_final)
        await grants_of(shelf).revoke(ann, given.id)
        assert await watched.check() > 0
        error, last = await read(stream)
    assert (error["type"], error["code"]) == ("error", "access_revoked")
    assert [error["sequence_number"], last["sequence_number"]] == [len(seen), len(seen) + 1]
    assert last["type"] == "response.failed"
    assert last["response"]["output"][-1]["content"][0]["text"] == REDACTED
    assert not watched._running


@pytest.mark.parametrize("end", ENDS)
async def test_an_answer_that_rests_on_no_document_ends_with_whoever_asked(
    shelf: Shelf, make_scope: MakeScope, end: str
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    watched = WatchedGrants(shelf.database)
    model = ScriptedModel("So ", endless=True)
    stream = service(shelf, model, watched).stream(bob, ask("Who am I?", store=False))
    async with aclosing(stream):
        await until(stream, is_text)
        assert await watched.check() == 0
        await lose(shelf, ann, bob, end)
        assert await watched.check() > 0
        error, last = await read(stream)
    assert (error["code"], last["type"]) == (ENDS[end], "response.failed")
    assert model.closed == 1


@pytest.mark.parametrize("end", ["suspended", "owes a factor"])
@pytest.mark.parametrize("is_watched", [True, False])
async def test_a_kept_answer_that_rests_on_no_document_is_cut_with_whoever_asked(
    shelf: Shelf, make_scope: MakeScope, is_watched: bool, end: str
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    watched = WatchedGrants(shelf.database)
    model = ScriptedModel("So ", endless=True)
    responses = service(shelf, model, watched)
    if is_watched:
        stream = responses.stream(bob, ask("Who am I?"))
    else:
        stream = responses.watch(bob, id_of(await responses.begin(bob, in_background())), -1)
    async with aclosing(stream):
        await until(stream, is_text)
        (running,) = responses.runs.running.values()
        assert running.task is not None
        assert await watched.check() == 0
        await lose(shelf, ann, bob, end)
        assert await watched.check() == 2
        last = (await read(stream))[-1]
        async with asyncio.timeout(PATIENCE):
            await running.task
    assert last["type"] == ("response.failed" if is_watched else "error")
    assert running.work.events.resource["error"]["code"] == ENDS[end]
    assert model.closed == 1
