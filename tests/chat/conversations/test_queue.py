"""Responses of one conversation take turns: what waits, in which order, for how long, and what does not wait."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.chat.conversations.test_turns import ask, conversations_of, shown, texts_for
from tests.chat.responses.test_sources import id_of, service
from tests.chat.responses.test_streams import hearing, is_text, read, until
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import grants_of, share
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate, until_blocked_or_done
from undercroft.chat.conversations.errors import ConversationBusyError, QueueFullError
from undercroft.chat.conversations.models import Conversation, IfBusy
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.queueing import MOST_WAITING
from undercroft.chat.responses.service import ResponseService
from undercroft.kit.errors import NotFoundError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.models import GrantAction, ResourceKind, Terms

SENDERS = 6
TAKES_PART = Terms(frozenset({GrantAction.READ, GrantAction.WRITE}))


def is_queued(event: dict[str, Any]) -> bool:
    return event["type"] == "response.queued"


def sent(conversation: Conversation, text: str, if_busy: IfBusy | None = None) -> ResponseRequest:
    """What goes on though nobody watches it."""
    return replace(ask(conversation, text), is_background=True, if_busy=if_busy)


async def begin(responses: ResponseService, scope: Member, asked: ResponseRequest) -> UUID:
    return id_of(await responses.begin(scope, asked))


async def reach(
    responses: ResponseService,
    scope: Member,
    response_id: UUID,
    wanted: Callable[[dict[str, Any]], bool],
) -> None:
    """Wait for an event."""
    async with aclosing(responses.watch(scope, response_id, -1)) as events:
        await until(events, wanted)


async def end(responses: ResponseService, scope: Member, response_id: UUID) -> str:
    """How it ends."""
    *_, last = await read(responses.watch(scope, response_id, -1))
    return str(last["response"]["status"])


async def lapse_of(urls: DatabaseUrls, response_id: UUID) -> None:
    """Have one lease run out, as when its process has died."""
    owner = await asyncpg.connect(urls.migration)
    await owner.execute("ALTER TABLE response_streams NO FORCE ROW LEVEL SECURITY")
    await owner.execute(
        "UPDATE response_streams SET expires_at = '-infinity' WHERE response_id = $1", response_id
    )
    await owner.execute("ALTER TABLE response_streams FORCE ROW LEVEL SECURITY")
    await owner.close()


async def test_what_is_sent_meanwhile_waits_and_is_asked_after_what_was_answered(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    gate, model = Gate(), ScriptedModel("So it is.")
    here = service(shelf, ScriptedModel("At ", "noon.", gate=gate))
    elsewhere = service(shelf, model)
    async with hearing(database_urls, elsewhere):
        first = await begin(here, ann, sent(begun, "When?"))
        await gate.wait_until_reached()
        second = await elsewhere.begin(ann, sent(begun, "Really?"))
        assert second["status"] == "queued"
        await reach(elsewhere, ann, id_of(second), is_queued)
        assert (await elsewhere.get(ann, id_of(second)))["status"] == "queued"
        assert await texts_for(shelf, ann, begun) == ["When?"]
        assert model.requests == []
        gate.open()
        events = await read(elsewhere.watch(ann, id_of(second), -1))
    assert await end(here, ann, first) == "completed"
    assert shown(model) == [("user", "When?"), ("assistant", "At noon."), ("user", "Really?")]
    assert await texts_for(shelf, ann, begun) == ["When?", "At noon.", "Really?", "So it is."]
    types = [event["type"] for event in events]
    assert types[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert [event["response"]["status"] for event in events[:3]] == [
        "queued",
        "queued",
        "in_progress",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_many_sent_at_once_are_answered_one_after_the_other_and_whole(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    processes = [service(shelf, ScriptedModel("So it is.")) for _ in range(2)]
    async with (
        hearing(database_urls, processes[0]),
        hearing(database_urls, processes[1]),
        asyncio.timeout(PATIENCE * 3),
        asyncio.TaskGroup() as group,
    ):
        for number in range(SENDERS):
            responses = processes[number % 2]
            group.create_task(responses.create(ann, ask(begun, f"{number}?")))
    async with shelf.database.transaction(ann) as transaction:
        rows = await transaction.fetch(
            "SELECT i.number, i.response_id, s.turn FROM conversation_items AS i"
            " JOIN response_streams AS s USING (response_id) ORDER BY i.number"
        )
    assert [row["number"] for row in rows] == list(range(2 * SENDERS))
    assert [row["turn"] for row in rows] == [1 + number // 2 for number in range(2 * SENDERS)]
    texts = await texts_for(shelf, ann, begun)
    assert texts[1::2] == ["So it is."] * SENDERS
    assert sorted(texts[::2]) == [f"{number}?" for number in range(SENDERS)]


async def test_of_two_sent_at_once_the_second_waits_for_the_conversation_and_then_for_its_turn(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    gate, spoken = Gate(), Gate()
    first = service(shelf, ScriptedModel("At ", "noon.", gate=spoken))
    second = service(shelf, ScriptedModel("So it is."))
    enter = first.runs.queue.enter

    async def enter_and_stop(*arguments: Any) -> Any:  # noqa: ANN401 - passed on
        place = await enter(*arguments)
        await gate.pass_through()
        return place

    first.runs.queue.enter = enter_and_stop  # type: ignore[method-assign]
    one = asyncio.create_task(first.begin(ann, sent(begun, "When?")))
    await gate.wait_until_reached()
    other = asyncio.create_task(second.begin(ann, sent(begun, "Really?")))
    assert await until_blocked_or_done(shelf.database, other), "it did not wait for the first"
    gate.open()
    assert (await one)["status"] == "in_progress"
    assert (await other)["status"] == "queued"
    spoken.open()
    assert await end(first, ann, id_of(await one)) == "completed"
    # Nobody told the second process: it looks by itself.
    assert await second.runs.queue.look() == 1
    assert await end(second, ann, id_of(await other)) == "completed"
    assert await texts_for(shelf, ann, begun) == ["When?", "At noon.", "Really?", "So it is."]


async def test_the_next_begins_though_the_process_of_the_one_before_died(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    dying = service(shelf, ScriptedModel("At ", endless=True))
    other = service(shelf, ScriptedModel("So it is."))
    first = await begin(dying, ann, sent(begun, "When?"))
    await reach(dying, ann, first, is_text)
    second = await begin(other, ann, sent(begun, "Really?"))
    await reach(other, ann, second, is_queued)
    await lapse_of(database_urls, first)
    assert await other.takeover.take_over() == 1
    assert await end(other, ann, second) == "completed"
    assert await end(other, ann, first) == "failed"
    assert await texts_for(shelf, ann, begun) == ["When?", "At ", "Really?", "So it is."]
    await dying.takeover.renew()
    await dying.runs.close()


async def test_one_that_waits_goes_on_waiting_in_another_process_when_its_own_has_died(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    gate = Gate()
    here = service(shelf, ScriptedModel("At ", "noon.", gate=gate))
    dying, other = service(shelf, ScriptedModel()), service(shelf, ScriptedModel("So it is."))
    first = await begin(here, ann, sent(begun, "When?"))
    await gate.wait_until_reached()
    second = await begin(dying, ann, sent(begun, "Really?"))
    await reach(dying, ann, second, is_queued)
    await lapse_of(database_urls, second)
    assert await other.takeover.take_over() == 1
    gate.open()
    assert await end(here, ann, first) == "completed"
    # The one that was believed dead has lost it, and begins nothing.
    await dying.runs.queue.look()
    await other.runs.queue.look()
    events = await read(other.watch(ann, second, -1))
    assert events[-1]["response"]["status"] == "completed"
    types = [event["type"] for event in events]
    assert types[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert await texts_for(shelf, ann, begun) == ["When?", "At noon.", "Really?", "So it is."]
    await dying.runs.close()


@pytest.mark.parametrize("says_so", ["the request", "the conversation"])
async def test_what_is_not_to_wait_is_refused_and_leaves_nothing(
    shelf: Shelf, make_scope: MakeScope, says_so: str
) -> None:
    ann = await make_scope()
    of_conversation = IfBusy.REJECT if says_so == "the conversation" else IfBusy.ENQUEUE
    begun = await conversations_of(shelf).create(ann, {}, if_busy=of_conversation)
    responses = service(shelf, ScriptedModel("At ", endless=True))
    own = IfBusy.REJECT if says_so == "the request" else None
    first = await begin(responses, ann, sent(begun, "When?", own))
    await reach(responses, ann, first, is_text)
    with pytest.raises(ConversationBusyError):
        await responses.begin(ann, sent(begun, "Really?", own))
    waiting = await begin(responses, ann, sent(begun, "Well?", IfBusy.ENQUEUE))
    await responses.cancel(ann, waiting)
    await responses.cancel(ann, first)
    assert await texts_for(shelf, ann, begun) == ["When?", "At "]
    async with shelf.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM responses") == 2
    again = await begin(responses, ann, sent(begun, "And now?", own))
    await reach(responses, ann, again, is_text)
    await responses.cancel(ann, again)


async def test_an_interruption_ends_what_is_made_and_what_waits_and_comes_next(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    here = service(shelf, ScriptedModel("At ", endless=True))
    elsewhere = service(shelf, ScriptedModel("So it is."))
    async with hearing(database_urls, here), hearing(database_urls, elsewhere):
        first = await begin(here, ann, sent(begun, "When?"))
        await reach(here, ann, first, is_text)
        waiting = [await begin(each, ann, sent(begun, "Well?")) for each in (here, elsewhere)]
        last = await begin(elsewhere, ann, sent(begun, "Really?", IfBusy.INTERRUPT))
        assert await end(elsewhere, ann, last) == "completed"
        for each in (first, *waiting):
            assert await end(here, ann, each) == "cancelled"
    assert await texts_for(shelf, ann, begun) == ["When?", "At ", "Really?", "So it is."]
    async with shelf.database.transaction(ann) as transaction:
        actions = await transaction.fetchval(
            "SELECT count(*) FROM ledger_pending WHERE action = 'response.cancel'"
        )
    assert actions == 3


async def test_nobody_but_the_owner_of_a_conversation_interrupts_others_in_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    begun = await conversations_of(shelf).create(ann, {})
    await share(shelf, ann, ResourceKind.CONVERSATION, begun.id, bob, TAKES_PART)
    responses = service(shelf, ScriptedModel("At ", endless=True))
    first = await begin(responses, ann, sent(begun, "When?"))
    await reach(responses, ann, first, is_text)
    with pytest.raises(ConversationBusyError):
        await responses.begin(bob, sent(begun, "Really?", IfBusy.INTERRUPT))
    second = await begin(responses, bob, sent(begun, "Really?"))
    third = await begin(responses, ann, sent(begun, "Now?", IfBusy.INTERRUPT))
    assert await end(responses, ann, first) == "cancelled"
    assert await end(responses, bob, second) == "cancelled"
    await reach(responses, ann, third, is_text)
    await responses.cancel(ann, third)


async def test_no_more_than_so_many_wait(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    responses = service(shelf, ScriptedModel("At ", endless=True))
    for number in range(1 + MOST_WAITING):
        await responses.begin(ann, sent(begun, f"{number}?"))
    with pytest.raises(QueueFullError):
        await responses.begin(ann, sent(begun, "One more?", IfBusy.ENQUEUE))
    waiting = list(responses.runs.running)
    last = id_of(await responses.begin(ann, sent(begun, "Enough!", IfBusy.INTERRUPT)))
    for each in waiting:
        assert await end(responses, ann, each) == "cancelled"
    await reach(responses, ann, last, is_text)
    await responses.cancel(ann, last)
    assert await texts_for(shelf, ann, begun) == ["0?", "At ", "Enough!", "At "]


async def test_what_its_asker_may_not_write_any_more_fails_in_its_turn(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    eve = await make_scope(ann.tenant_id)
    begun = await conversations_of(shelf).create(ann, {})
    granted = await share(shelf, ann, ResourceKind.CONVERSATION, begun.id, bob, TAKES_PART)
    await share(shelf, ann, ResourceKind.CONVERSATION, begun.id, eve, TAKES_PART)
    model = ScriptedModel("At ", endless=True)
    responses = service(shelf, model)
    first = await begin(responses, ann, sent(begun, "When?"))
    await reach(responses, ann, first, is_text)
    revoked = await begin(responses, bob, sent(begun, "Why?"))
    suspended = await begin(responses, eve, sent(begun, "Who?"))
    deleted = await begin(responses, ann, sent(begun, "Where?"))
    await grants_of(shelf).revoke(ann, granted.id)
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE users SET suspended_at = now() WHERE id = $1", eve.principal_id
        )
    await responses.cancel(ann, first)
    *_, error, _ = await read(responses.watch(bob, revoked, -1))
    assert error["code"] == NotFoundError("", "").kind
    *_, error, _ = await read(responses.watch(eve, suspended, -1))
    assert error["code"] == AccessRevokedError().code
    await reach(responses, ann, deleted, is_text)
    gone = await begin(responses, ann, sent(begun, "What?"))
    await conversations_of(shelf).delete(ann, begun.id)
    await responses.cancel(ann, deleted)
    *_, error, _ = await read(responses.watch(ann, gone, -1))
    assert error["code"] == "not_found"
    assert len(model.requests) == 2
