"""Watches a response from any of its events on: from the log, then live; in whichever process it is made.

What is shown is judged as a reading of the response is (invariant 2): at the beginning, whenever the log is read, and
before a live event is shown once the last judgement is half a second old.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.responses.errors import SourceErasedError
from undercroft.chat.responses.events import TERMINAL_EVENTS
from undercroft.chat.responses.models import RESPONSE_PREFIX, WireObject
from undercroft.chat.responses.reading import SourceCheck, no_response, open_resource, redact
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
from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import render_id
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.policy import choose_way, read_ways
from undercroft.sharing.ways import acts_under
from undercroft.vault.keys.service import KeyRing

_JUDGED_SECONDS: Final = 0.5


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
    """

    last: int
    judged_at: float
    is_judged: bool
    is_told: bool


class ResponseWatch:
    """Shows the events of responses."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ledger: Ledger,
        clock: Clock,
        process: StreamProcess,
        runs: ResponseRuns,
    ) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._clock = clock
        self._process = process
        self._runs = runs
        self._sources = SourceCheck(keys)
        self._repository = ResponseRepository()
        self._seen: Mapping[UUID, int] = {}

    async def watch_own(self, running: Running) -> AsyncGenerator[WireObject]:
        """Every event of a response that has just begun. Whoever leaves it was its watcher.

        Nothing is judged again while it keeps up: what the answer rests on is watched where it is made, and cut.
        """
        scope, response_id = running.work.scope, running.id
        try:
            with self._process.live.subscribe(response_id, is_behind=False) as subscription:
                place = _Place(-1, self._clock.monotonic(), is_judged=False, is_told=True)
                following = self._follow(scope, response_id, subscription, place)
                async with aclosing(following) as events:
                    async for event in events:
                        yield event
        finally:
            await self._runs.left(response_id)

    async def watch(
        self, scope: Scope, response_id: UUID, after: int
    ) -> AsyncGenerator[WireObject]:
        """The events that follow the one numbered ``after``, to the last.

        Raises:
            NotFoundError: When the principal may see no such response.
            SourceErasedError: When one of its sources was erased, and the response with it.
            AccessRevokedError: When one of its sources may not, or no more, be read by the principal.
        """
        try:
            with self._process.live.subscribe(response_id, is_behind=True) as subscription:
                place = _Place(after, self._clock.monotonic(), is_judged=True, is_told=False)
                following = self._follow(scope, response_id, subscription, place)
                async with aclosing(following) as events:
                    async for event in events:
                        yield event
        finally:
            await self._runs.left(response_id)

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
        self, scope: Scope, response_id: UUID, subscription: Subscription, place: _Place
    ) -> AsyncGenerator[WireObject]:
        is_last = False
        while not is_last:
            events, is_last = await self._take(scope, response_id, subscription, place)
            for event in events:
                number = event["sequence_number"]
                if number > place.last + 1:
                    # Some were missed: they are on disk.
                    subscription.fall_behind()
                    break
                if number == place.last + 1:
                    yield event
                    place.last = number
                is_last = is_last or event["type"] in TERMINAL_EVENTS

    async def _take(
        self, scope: Scope, response_id: UUID, subscription: Subscription, place: _Place
    ) -> tuple[Sequence[WireObject], bool]:
        """The next events, and whether they are the last."""
        events = await subscription.take()
        if events is None:
            page = await self._read(scope, response_id, place)
            place.judged_at = self._clock.monotonic()
            place.is_told = True
            if page.has_more:
                subscription.fall_behind()
            return page.events, page.is_last
        if subscription.last_words is not None and not events:
            words = subscription.last_words
            if place.is_judged:
                # The database may be gone, and cannot be asked whether they may see what was made.
                error, ended = words[-2:]
                words = [error, {**ended, "response": redact(ended["response"])}]
            numbered = enumerate(words, place.last + 1)
            return [{**event, "sequence_number": number} for number, event in numbered], True
        is_due = self._clock.monotonic() - place.judged_at > _JUDGED_SECONDS
        if place.is_judged and events and is_due:
            await self._judge(scope, response_id)
            place.judged_at = self._clock.monotonic()
        return events, False

    async def _read(self, scope: Scope, response_id: UUID, place: _Place) -> _Page:
        after = place.last
        find = find_target(RESPONSE_PREFIX, response_id, self._repository.find_response_owner)
        async with recording_refusal(
            self._database, self._ledger, scope, "response.read", find
        ) as transaction:
            # Read before it is asked who may: what is revoked between the two is not shown. And the events before the
            # stream's state: one that has ended by then has no more than that says.
            rows = await self._process.log.read(transaction, response_id, after)
            state = await self._process.log.find(transaction, response_id)
            # Its asker's own is watched where it is made, also under a grant whose last use this is.
            row = await self._require(transaction, response_id, asks_sources=place.is_judged)
            if not place.is_told:
                subject = Subject(render_id(RESPONSE_PREFIX, response_id), row["salt"])
                way = choose_way(read_ways(row["ways"]))
                act = Act("response.read", subject, row["owner_id"])
                await self._ledger.append(transaction, scope, *acts_under(scope, way, act))
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

    async def _judge(self, scope: Scope, response_id: UUID) -> None:
        async with self._database.transaction(scope) as transaction:
            await self._require(transaction, response_id)

    async def _require(
        self, transaction: Transaction, response_id: UUID, *, asks_sources: bool = True
    ) -> Record:
        row = await self._repository.find_response(transaction, response_id)
        if row is None:
            raise no_response(response_id)
        if row["key_id"] is None:
            raise SourceErasedError
        if asks_sources and not await self._sources.may_read(transaction, row):
            raise AccessRevokedError
        return row


def _page(
    state: StreamState, rows: Sequence[Record], after: int, events: Sequence[WireObject]
) -> _Page:
    # Where no rows were read the stream may have gone on since.
    reached = rows[-1]["last_number"] if rows else after
    is_last = state.is_ended and reached >= state.last_number
    return _Page(events, is_last, has_more=len(rows) == PAGE)


def tell_end(error: UndercroftError, number: int) -> WireObject:
    """The event that ends a stream which its watcher may not see any more."""
    code = error.code or error.kind.value
    fields = {"code": code, "message": error.message, "param": error.param}
    return {
        "type": "error",
        "sequence_number": number,
        "error": {"type": error.kind.value, **fields},
        **fields,
    }
