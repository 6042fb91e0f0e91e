"""Watches a response from any of its events on: from the log, then live; in whichever process it is made.

What is shown is judged as a reading of the response is (invariant 2): at the beginning, whenever the log is read,
before a live event is shown while its sources may still be found and once the last judgement is half a second old, and
when something is lost that the last one rested on, also while no event comes. Its asker's own is judged once something
is lost that it rests on: what waits for a slow reader is not shown after that.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.responses.endings import tell_end
from undercroft.chat.responses.errors import SourceErasedError
from undercroft.chat.responses.events import TERMINAL_EVENTS
from undercroft.chat.responses.judging import Judgements
from undercroft.chat.responses.models import RESPONSE_PREFIX, WireObject
from undercroft.chat.responses.reading import (
    SourceCheck,
    no_response,
    open_resource,
    redact,
    releases_of,
)
from undercroft.chat.responses.rebuilding import rebuild_events
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.run import Running
from undercroft.chat.responses.running import ResponseRuns
from undercroft.chat.streams.errors import NotResumableError
from undercroft.chat.streams.live import Subscription
from undercroft.chat.streams.log import open_runs
from undercroft.chat.streams.models import StreamState
from undercroft.chat.streams.process import StreamProcess
from undercroft.chat.streams.service import PAGE
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import AccessRevokedError, SecondFactorOwedError
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.sharing.watching import WatchedGrants
from undercroft.sharing.ways import acts_under
from undercroft.vault.keys.service import KeyRing

_JUDGED_SECONDS: Final = 0.5
_SEARCHING: Final = frozenset(
    {
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.file_search_call.in_progress",
        "response.file_search_call.searching",
        "response.file_search_call.completed",
        *(f"response.mcp_list_tools.{how}" for how in ("in_progress", "completed", "failed")),
        "response.output_item.done",
    }
)
"""What comes before anything is said. Until then what it is made from may be found anew, by whoever takes it over."""
NOTHING_YET: Final[WireObject] = {"type": "nothing_yet"}
"""No event: that its watcher may see those that will come, where none follows yet the last one that they know."""


@dataclass(frozen=True, slots=True)
class _Page:
    """Some events of the log; ``is_last``: the stream has ended, and nothing follows them."""

    events: Sequence[WireObject]
    is_last: bool
    has_more: bool


@dataclass(slots=True)
class _Place:
    """Where one watcher is.

    Attributes:
        last: The number of the last event that it was shown.
        judged_at: When it was last found that it may see them.
        is_judged: Whether that is asked again while it keeps up.
        is_told: Whether the ledger was told of it.
        is_shared: Whether the response was found to be another's.
        is_settled: Whether the last judgement was of all that the response is made from.
        is_in_doubt: Whether something was lost that the last judgement rested on.
        tells_waiting: Whether it is to be told that nothing follows yet.
        end_watch: Ends the watch over that.
        running: What is made for the one who watches, if it is.
        rests_on: How much of what that is made from is watched over.
    """

    last: int
    judged_at: float
    is_judged: bool
    is_told: bool
    is_shared: bool = False
    is_settled: bool = False
    is_in_doubt: bool = False
    tells_waiting: bool = False
    end_watch: Callable[[], None] | None = None
    running: Running | None = None
    rests_on: int = -1

    def rest_on(self, end_watch: Callable[[], None] | None) -> None:
        """Have something else be watched over than before, or nothing any more."""
        if self.end_watch is not None:
            self.end_watch()
        self.end_watch = end_watch


class ResponseWatch:
    """Shows the events of responses."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ledger: Ledger,
        clock: Clock,
        watched: WatchedGrants,
        process: StreamProcess,
        runs: ResponseRuns,
    ) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._clock = clock
        self._watched = watched
        self._process = process
        self._runs = runs
        self._sources = SourceCheck(keys)
        self._judgements = Judgements(database, keys)
        self._repository = ResponseRepository()
        self._seen: dict[UUID, int] = {}

    def watch_own(self, running: Running) -> AsyncGenerator[WireObject]:
        """Every event of a response that has just begun. Whoever leaves it was its watcher.

        Nothing is judged again while it lasts: what it rests on is watched where it is made, and here for what waits.
        """
        now = self._clock.monotonic()
        place = _Place(-1, now, is_judged=False, is_told=True, running=running)
        return self._follow(running.work.scope, running.id, place)

    def watch(
        self, scope: Scope, response_id: UUID, after: int, *, tells_waiting: bool = False
    ) -> AsyncGenerator[WireObject]:
        """The events that follow the one numbered ``after``, to the last.

        Args:
            scope: Who watches.
            response_id: The response.
            after: The last event that they know; -1: none.
            tells_waiting: Whether ``NOTHING_YET`` comes first where the next event is still to come.

        Raises:
            NotFoundError: When the principal may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
            AccessRevokedError: When one of its sources may not, or no more, be read by the principal.
        """
        now = self._clock.monotonic()
        place = _Place(after, now, is_judged=True, is_told=False, tells_waiting=tells_waiting)
        return self._follow(scope, response_id, place)

    async def attend(self) -> int:
        """Say what is watched here of what other processes make, and see how far it is: notices can get lost."""
        elsewhere = [each for each in self._process.live.watched if each not in self._runs.running]
        if not elsewhere:
            self._seen = {}
            return 0
        reached = await self._process.leases.attend(elsewhere)
        self._process.live.compare(self._seen, reached)
        # Of a stream that is gone there is no notice: its watchers read, and are told.
        self._process.live.moved([each for each in elsewhere if each not in reached])
        self._seen = reached
        return 0

    async def _follow(
        self, scope: Scope, response_id: UUID, place: _Place
    ) -> AsyncGenerator[WireObject]:
        is_last = False
        try:
            with self._process.live.subscribe(
                response_id, is_behind=place.is_judged
            ) as subscription:
                while not is_last:
                    events, is_last = await self._take(scope, response_id, subscription, place)
                    if place.tells_waiting and not events:
                        yield NOTHING_YET
                    place.tells_waiting = False
                    for event in events:
                        if place.is_in_doubt:
                            # Whoever reads slowly sees no more of what came before.
                            is_last = False
                            break
                        number = event["sequence_number"]
                        if number > place.last + 1:
                            # Some were missed: they are on disk.
                            subscription.fall_behind()
                            break
                        if number == place.last + 1:
                            self._rest_on_own(subscription, place)
                            yield event
                            place.last = number
                        is_last = is_last or event["type"] in TERMINAL_EVENTS
                    # Of thousands who wait for the next each would keep all that it has read.
                    events = event = None
        finally:
            place.rest_on(None)
            await self._runs.left(response_id)

    async def _take(
        self, scope: Scope, response_id: UUID, subscription: Subscription, place: _Place
    ) -> tuple[Sequence[WireObject], bool]:
        """The next events, and whether they are the last."""
        events = await subscription.take()
        if events is None:
            place.is_in_doubt, was_in_doubt = False, place.is_in_doubt
            if was_in_doubt:
                cut = await self._find_cut(place)
                if cut:
                    return cut, True
                await self._require_asker(scope)
            page = await self._read(scope, response_id, subscription, place)
            self._note_judged(place, page.events)
            place.is_told = True
            if page.has_more:
                subscription.fall_behind()
            elif not page.is_last:
                await self._ask_to_be_told(response_id, subscription)
            return page.events, page.is_last
        if subscription.last_words is not None and not events:
            place.is_in_doubt = False
            words = subscription.last_words
            if place.is_judged:
                # The database may be gone, and cannot be asked whether they may see what was made.
                error, ended = words[-2:]
                words = [error, {**ended, "response": redact(ended["response"])}]
            numbered = enumerate(words, place.last + 1)
            return [{**event, "sequence_number": number} for number, event in numbered], True
        is_due = not place.is_settled or self._clock.monotonic() - place.judged_at > _JUDGED_SECONDS
        if place.is_judged and events and is_due:
            row = await self._judgements.ask(scope, response_id)
            self._rest_on(scope, _require(row, response_id, place), subscription, place)
            self._note_judged(place, events)
        return events, False

    async def _ask_to_be_told(self, response_id: UUID, subscription: Subscription) -> None:
        """Have whoever makes it elsewhere tell of what follows: they tell nobody who has not asked for it."""
        if response_id in self._runs.running or response_id in self._seen:
            return
        self._seen.update(await self._process.leases.attend([response_id]))
        # What was written between the reading and this was not told of.
        subscription.fall_behind()

    async def _read(
        self, scope: Scope, response_id: UUID, subscription: Subscription, place: _Place
    ) -> _Page:
        after = place.last
        find = find_target(RESPONSE_PREFIX, response_id, self._repository.find_response_owner)
        async with recording_refusal(
            self._database, self._ledger, scope, "response.read", find
        ) as transaction:
            # Read before it is asked who may: what is revoked between the two is not shown. And the events before the
            # stream's state: one that has ended by then has no more than that says.
            rows = await self._process.log.read(transaction, response_id, after)
            state = await self._process.log.find(transaction, response_id)
            found = await self._repository.find_response(transaction, response_id)
            row = _require(found, response_id, place)
            # Its asker's own is watched where it is made, also under a grant whose last use this is.
            if place.is_judged and not await self._sources.may_read(transaction, row):
                raise AccessRevokedError
            if not place.is_told:
                subject = Subject(render_id(RESPONSE_PREFIX, response_id), row["salt"])
                way = choose_way(read_ways(row["ways"]))
                act = Act("response.read", subject, row["owner_id"])
                await self._ledger.append(transaction, scope, *acts_under(scope, way, act))
        place.is_shared = row["owner_id"] != scope.principal_id
        self._rest_on(scope, row, subscription, place)
        if state is None:
            return await self._rebuild(row, response_id, after)
        key = await self._keys.open(row)
        events = open_runs(key, row["tenant_id"], response_id, rows)
        return _page(
            state, rows, after, [event for event in events if event["sequence_number"] > after]
        )

    async def _rebuild(self, row: Record, response_id: UUID, after: int) -> _Page:
        """Of a response that ended long ago: at least its last event, however it was numbered then."""
        key = await self._keys.open(row)
        resource = open_resource(key, row["tenant_id"], response_id, row["sealed_resource"])
        if resource["status"] in {"queued", "in_progress"}:
            raise NotResumableError
        *events, last = rebuild_events(resource)
        rest = [event for event in events if event["sequence_number"] > after]
        return _Page(
            [*rest, {**last, "sequence_number": max(last["sequence_number"], after + 1)}],
            True,
            False,
        )

    def _rest_on(
        self, scope: Scope, row: Record, subscription: Subscription, place: _Place
    ) -> None:
        """Judge again, and show nothing until then, once something is lost that the row was found by."""
        if not place.is_judged:
            return

        def doubt(_: AccessRevokedError) -> None:
            place.is_in_doubt = True
            subscription.fall_behind()

        place.rest_on(self._watched.begin(scope, releases_of(row), doubt))

    def _rest_on_own(self, subscription: Subscription, place: _Place) -> None:
        """Watch over what is shown to its asker: no more of it once something is lost that it is made from."""
        if place.is_judged or place.running is None:
            return
        work = place.running.work
        if len(work.rests_on) == place.rests_on:
            return

        def doubt(_: AccessRevokedError) -> None:
            place.is_in_doubt = place.is_judged = True
            subscription.fall_behind()

        place.rests_on = len(work.rests_on)
        place.rest_on(self._watched.begin(work.scope, work.rests_on, doubt))

    async def _find_cut(self, place: _Place) -> Sequence[WireObject]:
        """How an answer ends for its asker that was cut while it was made; nothing where it had ended before."""
        running = place.running
        if running is None:
            return ()
        if running.task is not None:
            await asyncio.wait({running.task})
        failure = running.work.events.failure
        if not isinstance(failure, AccessRevokedError):
            return ()
        number = place.last + 1
        failed = {"type": "response.failed", "sequence_number": number + 1}
        resource = redact(running.work.events.resource)
        return tell_end(failure, number), {**failed, "response": resource}

    def _note_judged(self, place: _Place, events: Sequence[WireObject]) -> None:
        """That they were judged after they were made."""
        place.judged_at = self._clock.monotonic()
        is_said = any(event["type"] not in _SEARCHING for event in events)
        place.is_settled = place.is_settled or is_said

    async def _require_asker(self, scope: Scope) -> None:
        """Whoever watches, and a service that does so for them: neither has been suspended meanwhile."""
        people = [user for user in (scope.principal_id, scope.actor_id) if user is not None]
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.may_still_ask(transaction, people):
                raise AccessRevokedError
            if await self._repository.owes_factor(transaction, people):
                raise SecondFactorOwedError


def _require(row: Record | None, response_id: UUID, place: _Place) -> Record:
    if row is None:
        # Once it was shown to them its end is no secret.
        raise AccessRevokedError if place.is_shared else no_response(response_id)
    if row["key_id"] is None:
        raise SourceErasedError
    return row


def _page(
    state: StreamState, rows: Sequence[Record], after: int, events: Sequence[WireObject]
) -> _Page:
    # Where no rows were read the stream may have gone on since.
    reached = rows[-1]["last_number"] if rows else after
    is_last = state.is_ended and reached >= state.last_number
    return _Page(events, is_last, has_more=len(rows) == PAGE)
