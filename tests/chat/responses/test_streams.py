"""Streams of responses: any number of watchers, from any event on, on any process, see the exact sequence."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.chat.responses.test_shared import LEASE, share
from tests.chat.responses.test_sources import ANSWER, RENT, id_of, request, service
from tests.chat.scripted import SCRIPTED, ScriptedModel
from tests.chat.streams_process import AT_ONCE
from tests.conftest import MakeScope, Member
from tests.documents import make_trash
from tests.retrieval.search.test_shared import SEARCH, grants_of
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate
from undercroft.chat.providers.protocol import Message, Role
from undercroft.chat.questions import FileSearch, Question
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.room import RunLimits
from undercroft.chat.responses.service import ResponseService
from undercroft.chat.streams.errors import ResponsesBusyError
from undercroft.chat.streams.forgetting import OldStreams
from undercroft.chat.streams.leases import Leases
from undercroft.chat.streams.notices import CHANNEL, hear
from undercroft.kit.clock import SystemClock
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.kit.listening import Listener
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.errors import AccessRevokedError, NotGrantedError
from undercroft.sharing.models import GrantAction, ResourceKind

TABS = 50
PATIENT = RunLimits(grace_seconds=3600)
READ = replace(SEARCH, actions=frozenset({GrantAction.READ}))


def asking(*collections: UUID, store: bool = True, background: bool = False) -> ResponseRequest:
    asked = Question(
        (Message(Role.USER, "How much is the monthly rent?"),),
        SCRIPTED,
        search=FileSearch(collections, 8) if collections else None,
    )
    return ResponseRequest(asked, {"model": SCRIPTED}, store, is_background=background)


in_background = partial(asking, background=True)


async def read(events: AsyncGenerator[dict[str, Any]]) -> list[dict[str, Any]]:
    async with asyncio.timeout(PATIENCE), aclosing(events):
        return [event async for event in events]


async def until(
    events: AsyncGenerator[dict[str, Any]], wanted: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """The events up to the wanted one; the generator stays open."""
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            seen.append(event)
            if wanted(event):
                return seen
    raise AssertionError("it ended before that")


def is_text(event: dict[str, Any]) -> bool:
    return event["type"] == "response.output_text.delta"


def is_searching(event: dict[str, Any]) -> bool:
    return event["type"] == "response.file_search_call.searching"


@asynccontextmanager
async def hearing(urls: DatabaseUrls, responses: ResponseService) -> AsyncGenerator[None]:
    """Have a process hear what the others say."""
    process = responses._process
    listener = Listener(
        urls.service,
        CHANNEL,
        partial(hear, process.id, hearer=responses),
        partial(process.live.moved, None),
    )
    task = asyncio.create_task(listener.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await listener.is_listening.wait()
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def lapse(urls: DatabaseUrls) -> None:
    """Have every lease run out, as when their processes have died."""
    owner = await asyncpg.connect(urls.migration)
    await owner.execute("ALTER TABLE response_streams NO FORCE ROW LEVEL SECURITY")
    await owner.execute("UPDATE response_streams SET expires_at = '-infinity'")
    await owner.execute("ALTER TABLE response_streams FORCE ROW LEVEL SECURITY")
    await owner.close()


async def test_a_replay_from_every_event_is_the_original(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    responses = service(shelf, ScriptedModel(*ANSWER))
    original = await read(responses.stream(ann, request(collection)))
    assert [event["sequence_number"] for event in original] == list(range(len(original)))
    response_id = id_of(original[0]["response"])
    for after in range(-1, len(original) + 2):
        assert await read(responses.watch(ann, response_id, after)) == original[after + 1 :]
    elsewhere = service(shelf, ScriptedModel())
    assert await read(elsewhere.watch(ann, response_id, -1)) == original


async def test_many_watchers_here_and_elsewhere_see_the_exact_sequence(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    gate = Gate()
    here = service(shelf, ScriptedModel("The monthly rent is £1,250.00. ", "Due.", gate=gate))
    elsewhere = service(shelf, ScriptedModel())
    async with hearing(database_urls, elsewhere):
        stream = here.stream(ann, request(collection))
        async with aclosing(stream):
            seen = await until(stream, is_text)
            response_id = id_of(seen[0]["response"])
            # Fifty tabs, half of them on another process, from every event on.
            watchers = [
                asyncio.create_task(read(each.watch(ann, response_id, tab % len(seen) - 1)))
                for each in (here, elsewhere)
                for tab in range(TABS // 2)
            ]
            live = elsewhere.watch(ann, response_id, -1)
            assert await until(live, is_text) == seen
            gate.open()
            seen += await read(stream)
            rest = await read(live)
        assert seen[-1]["type"] == "response.completed"
        assert rest == seen[-len(rest) :]
        async with asyncio.timeout(PATIENCE):
            watched = await asyncio.gather(*watchers)
    assert len(watched) == TABS
    for events in watched:
        assert events == seen[-len(events) :]
    assert {len(events) for events in watched} >= {len(seen)}


class LateLeases(Leases):
    """Says that a stream is watched only after something has been done."""

    before: Callable[[], Awaitable[object]]

    async def attend(self, response_ids: Sequence[UUID]) -> dict[UUID, int]:
        await self.before()
        return await super().attend(response_ids)


async def test_what_is_written_before_a_watcher_elsewhere_is_known_is_not_missed(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    gate = Gate()
    here, elsewhere = (
        service(shelf, ScriptedModel("One", " two.", gate=gate)),
        service(shelf, ScriptedModel()),
    )
    begun = id_of(await here.begin(ann, in_background()))
    await gate.wait_until_reached()
    task = here.runs.running[begun].task
    assert task is not None

    async def end() -> None:
        gate.open()
        await asyncio.wait({task})

    process = elsewhere.watching._process
    late = LateLeases(process.database, process.id)
    late.before = end
    elsewhere.watching._process = replace(process, leases=late)
    # It hears nothing, and looks by itself once.
    events = await read(elsewhere.watch(ann, begun, -1))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"


async def test_who_waits_keeps_nothing_of_what_they_have_read(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    gate = Gate()
    responses = service(shelf, ScriptedModel("The rent ", "is due.", gate=gate))
    async with aclosing(responses.stream(ann, asking())) as stream:
        response_id = id_of((await until(stream, is_text))[0]["response"])
        before = count_events("response.created")
        async with aclosing(responses.watch(ann, response_id, -1)) as watch:
            await until(watch, is_text)
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(0)
            assert count_events("response.created") == before
            gate.open()
            async with asyncio.timeout(PATIENCE):
                await waiting


def count_events(kind: str) -> int:
    """How many of a kind there are in this process."""
    gc.collect()
    found = [each for each in gc.get_objects() if isinstance(each, dict)]
    return sum(each.get("type") == kind for each in found)


async def test_a_background_response_is_made_though_nobody_watches(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    gate = Gate()
    responses = service(shelf, ScriptedModel("One", " two.", gate=gate))
    begun = await responses.begin(ann, in_background())
    assert (begun["status"], begun["output"]) == ("in_progress", [])
    watching = responses.watch(ann, id_of(begun), -1)
    await until(watching, is_text)
    await watching.aclose()
    gate.open()
    events = await read(responses.watch(ann, id_of(begun), -1))
    assert events[-1]["type"] == "response.completed"
    kept = await responses.get(ann, id_of(begun))
    assert kept == events[-1]["response"]
    assert kept["output"][0]["content"][0]["text"] == "One two."


async def test_whoever_returns_in_time_misses_nothing(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    gate = Gate()
    responses = service(shelf, ScriptedModel("One", " two.", gate=gate), limits=PATIENT)
    stream = responses.stream(ann, asking())
    seen = await until(stream, is_text)
    await stream.aclose()
    gate.open()
    rest = await read(responses.watch(ann, id_of(seen[0]["response"]), len(seen) - 1))
    numbers = [event["sequence_number"] for event in [*seen, *rest]]
    assert numbers == list(range(len(numbers)))
    assert rest[-1]["type"] == "response.completed"
    await responses.runs.close()


async def test_what_nobody_watches_ends_after_a_while(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    model = ScriptedModel("One", endless=True)
    responses = service(shelf, model, limits=RunLimits(grace_seconds=0.01))
    stream = responses.stream(ann, asking())
    seen = await until(stream, is_text)
    response_id = id_of(seen[0]["response"])
    task = responses.runs.running[response_id].task
    assert task is not None
    await stream.aclose()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({task})
    assert (await responses.get(ann, response_id))["status"] == "cancelled"
    assert model.closed == 1


async def test_a_cancel_ends_it_in_whichever_process(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    stranger, colleague = await make_scope(), await make_scope(ann.tenant_id)
    model = ScriptedModel("One", endless=True)
    here, elsewhere = service(shelf, model), service(shelf, ScriptedModel())
    async with hearing(database_urls, here), hearing(database_urls, elsewhere):
        for number, who in enumerate((here, elsewhere), 1):
            begun = await here.begin(ann, in_background())
            watching = here.watch(ann, id_of(begun), -1)
            await until(watching, is_text)
            for other in (stranger, colleague):
                with pytest.raises(NotFoundError):
                    await who.cancel(other, id_of(begun))
            ended = await who.cancel(ann, id_of(begun))
            assert ended["status"] == "cancelled"
            assert ended["output"][0]["content"][0]["text"] == "One"
            assert model.closed == number
            *_, last = await read(watching)
            assert (last["type"], last["response"]) == ("response.incomplete", ended)
            assert await who.cancel(ann, id_of(begun)) == ended


async def test_a_shared_response_is_its_owners_to_cancel(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    responses = service(shelf, ScriptedModel("One."))
    made = id_of(await responses.create(ann, asking()))
    await share(shelf, ann, ResourceKind.RESPONSE, made, bob, READ)
    with pytest.raises(NotGrantedError):
        await responses.cancel(bob, made)
    assert (await read(responses.watch(bob, made, -1)))[-1]["type"] == "response.completed"


async def test_what_may_no_more_be_read_is_not_replayed(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = id_of(await responses.create(ann, request(collection)))
    trash = make_trash(shelf.documents)
    await trash.put(ann, documents["lease.txt"])
    with pytest.raises(AccessRevokedError):
        await read(responses.watch(ann, made, -1))
    await trash.restore(ann, documents["lease.txt"])
    assert await read(responses.watch(ann, made, -1))
    await shelf.documents.delete(ann, documents["lease.txt"])
    with pytest.raises(UndercroftError) as refused:
        await read(responses.watch(ann, made, -1))
    assert refused.value.code == "source_erased"
    async with shelf.database.transaction(ann) as transaction:
        for table in ("response_streams", "response_events"):
            assert await transaction.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_events_are_forgotten_after_a_day_and_told_again_from_what_is_kept(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = await responses.create(ann, request(collection))
    old = OldStreams(shelf.database)
    assert await old.forget() == 0
    owner = await asyncpg.connect(database_urls.migration)
    await owner.execute("ALTER TABLE response_streams NO FORCE ROW LEVEL SECURITY")
    await owner.execute("UPDATE response_streams SET ended_at = now() - interval '25 hours'")
    await owner.close()
    assert await old.forget() == 1
    events = await read(responses.watch(ann, id_of(made), -1))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"] == made
    text = "".join(event["delta"] for event in events if is_text(event))
    assert text == made["output"][-1]["content"][0]["text"]
    (last,) = await read(responses.watch(ann, id_of(made), 1000))
    assert last["response"] == made


async def test_more_than_may_be_made_at_once_is_refused(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    responses = service(
        shelf, ScriptedModel("One", endless=True), limits=RunLimits(grace_seconds=0, most=1)
    )
    begun = await responses.begin(ann, in_background())
    with pytest.raises(ResponsesBusyError) as refused:
        await responses.begin(ann, in_background())
    assert refused.value.retry_after
    with pytest.raises(ResponsesBusyError):
        await responses.create(ann, asking(store=False))
    await responses.cancel(ann, id_of(begun))
    await responses.cancel(ann, id_of(await responses.begin(ann, in_background())))


async def test_a_takeover_before_the_first_word_is_not_seen(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    first, second = service(shelf, ScriptedModel(*ANSWER)), service(shelf, ScriptedModel(*ANSWER))
    gate = shelf.embedder.gate = Gate()
    begun = await first.begin(ann, in_background(collection))
    watching = first.watch(ann, id_of(begun), -1)
    seen = await until(watching, is_searching)
    await watching.aclose()
    await gate.wait_until_reached()
    (running,) = first.runs.running.values()
    shelf.embedder.gate = None
    assert await second.takeover.take_over() == 0, "its lease has not run out"
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    async with hearing(database_urls, second):
        events = await read(second.watch(ann, id_of(begun), -1))
    assert events[: len(seen)] == seen
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    types = [event["type"] for event in events]
    for name in ("response.created", "response.in_progress", "response.file_search_call.completed"):
        assert types.count(name) == 1
    assert types[-1] == "response.completed"
    kept = await second.get(ann, id_of(begun))
    assert kept == events[-1]["response"]
    # The first one comes back to life, and has nothing more to say.
    gate.open()
    assert running.task is not None
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({running.task})
    assert await second.get(ann, id_of(begun)) == kept
    async with shelf.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM response_passages") == 1


async def test_one_that_cannot_be_opened_keeps_no_other_from_being_taken_over(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    first, second = [service(shelf, ScriptedModel("One", endless=True)) for _ in range(2)]
    begun = [id_of(await first.begin(who, in_background())) for who in (ann, bob)]
    for who, each in zip((ann, bob), begun, strict=True):
        watching = first.watch(who, each, -1)
        await until(watching, is_text)
        await watching.aclose()
    owner = await asyncpg.connect(database_urls.migration)
    await owner.execute("ALTER TABLE response_streams NO FORCE ROW LEVEL SECURITY")
    await owner.execute(
        "UPDATE response_streams SET sealed_request = reverse(sealed_request) WHERE response_id = $1",
        begun[0],
    )
    await owner.close()
    await lapse(database_urls)
    assert await second.takeover.take_over() == 2
    *_, last = await read(second.watch(bob, begun[1], -1))
    assert last["type"] == "response.failed"
    await first.takeover.renew()
    await first.runs.close()


async def test_who_watches_elsewhere_is_told_when_it_is_deleted(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first, second = [service(shelf, ScriptedModel("One", endless=True)) for _ in range(2)]
    begun = id_of(await first.begin(ann, in_background()))
    here = first.watch(ann, begun, -1)
    await until(here, is_text)
    await here.aclose()
    watching = second.watch(ann, begun, -1)
    await until(watching, is_text)
    rest = asyncio.create_task(read(watching))
    await first.delete(ann, begun)
    async with asyncio.timeout(PATIENCE):
        await second.watching.attend()
        *_, last = await rest
    assert (last["type"], last["code"]) == ("error", "not_found")
    await first.runs.close()


async def test_a_takeover_asks_anew_what_its_asker_may_search(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"lease.md": LEASE})
    given = await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, SEARCH)
    model = ScriptedModel(*ANSWER)
    first, second = service(shelf, ScriptedModel()), service(shelf, model)
    gate = shelf.embedder.gate = Gate()
    begun = await first.begin(bob, in_background(collection))
    await gate.wait_until_reached()
    (running,) = first.runs.running.values()
    shelf.embedder.gate = None
    await grants_of(shelf).revoke(ann, given.id)
    await lapse(database_urls)
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(bob, id_of(begun), -1))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["code"] == "not_found"
    assert model.requests == []
    gate.open()
    assert running.task is not None
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({running.task})


async def test_a_takeover_after_the_first_word_ends_it_and_says_so(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    model = ScriptedModel("One", endless=True)
    first, second = service(shelf, model), service(shelf, ScriptedModel("Other."))
    begun = await first.begin(ann, in_background())
    watching = first.watch(ann, id_of(begun), -1)
    seen = await until(watching, is_text)
    async with hearing(database_urls, first):
        await lapse(database_urls)
        assert await second.takeover.take_over() == 1
        seen += await read(watching)
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    assert [event["type"] for event in seen[-2:]] == ["error", "response.failed"]
    assert seen[-2]["code"] == "response_interrupted"
    kept = await second.get(ann, id_of(begun))
    assert kept == seen[-1]["response"]
    assert kept["output"][0]["content"][0]["text"] == "One"
    assert await first.takeover.renew() == 1
    await first.runs.close()
    assert model.closed == 1


async def test_a_process_that_stops_leaves_what_nobody_saw_to_its_successor(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    first, second = service(shelf, ScriptedModel()), service(shelf, ScriptedModel(*ANSWER))
    gate = shelf.embedder.gate = Gate()
    begun = await first.begin(ann, in_background(collection))
    await gate.wait_until_reached()
    await first.runs.close()
    shelf.embedder.gate = None
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, id_of(begun), -1))
    assert events[-1]["type"] == "response.completed"


@pytest.mark.parametrize("limits", [AT_ONCE, PATIENT], ids=["at once", "patient"])
async def test_what_is_not_kept_ends_with_its_one_reader(
    shelf: Shelf, make_scope: MakeScope, limits: RunLimits
) -> None:
    ann: Member = await make_scope()
    model = ScriptedModel("One", endless=True)
    responses = service(shelf, model, limits=limits)
    stream = responses.stream(ann, asking(store=False))
    await until(stream, is_text)
    await stream.aclose()
    assert model.closed == 1
    async with shelf.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM response_streams") == 0


async def test_a_takeover_makes_nothing_for_whom_was_suspended_since(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    model = ScriptedModel("One.")
    first, second = service(shelf, ScriptedModel()), service(shelf, model)
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    gate = shelf.embedder.gate = Gate()
    begun = await first.begin(ann, in_background(collection))
    await gate.wait_until_reached()
    await first.runs.close()
    shelf.embedder.gate = None
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE users SET suspended_at = now()")
    assert await second.takeover.take_over() == 1
    events = await read(second.watch(ann, id_of(begun), -1))
    assert (events[-2]["code"], events[-1]["type"]) == ("access_revoked", "response.failed")
    assert model.requests == []


async def test_deleting_what_is_being_made_ends_it_at_once(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    model = ScriptedModel("One", endless=True)
    responses = service(shelf, model)
    begun = await responses.begin(ann, in_background())
    watching = responses.watch(ann, id_of(begun), -1)
    await until(watching, is_text)
    (running,) = responses.runs.running.values()
    await responses.delete(ann, id_of(begun))
    *_, last = await read(watching)
    assert last["type"] == "response.failed"
    assert "One" not in str(last)
    assert running.task is not None
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({running.task})
    assert model.closed == 1


async def test_who_watches_live_what_is_no_more_theirs_sees_no_more_of_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    gate = Gate()
    responses = service(shelf, ScriptedModel("The first part. ", "The second part.", gate=gate))
    begun = await responses.begin(ann, in_background())
    given = await share(shelf, ann, ResourceKind.RESPONSE, id_of(begun), bob, READ)
    clock = SettableClock()
    responses.watching._clock = clock
    watching = responses.watch(bob, id_of(begun), -1)
    seen = await until(watching, is_text)
    await grants_of(shelf).revoke(ann, given.id)
    clock.seconds += 1
    gate.open()
    rest = await read(watching)
    assert [event["type"] for event in rest] == ["error"]
    assert rest[0]["sequence_number"] == len(seen)
    whole = await read(responses.watch(ann, id_of(begun), -1))
    assert whole[-1]["type"] == "response.completed"


class SettableClock(SystemClock):
    """A monotonic clock that goes on when the test says so."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds
