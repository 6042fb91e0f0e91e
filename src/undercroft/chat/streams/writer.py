"""Writes the streams of one process: whatever has queued from all of them is one commit, and seen only after it.

There is no timer. While one commit is under way the next one's events queue, so that commits grow only as far as the
load does, and whoever is alone is written at once. It is how PostgreSQL gathers commits, one storey higher.
"""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from itertools import islice
from typing import Final
from uuid import UUID

from undercroft.chat.streams.errors import LeaseLostError
from undercroft.chat.streams.live import LiveStreams
from undercroft.chat.streams.log import seal_run
from undercroft.chat.streams.models import Event, Lease, Run
from undercroft.chat.streams.notices import tell_moved
from undercroft.chat.streams.repository import StreamRepository
from undercroft.kit.database import Database
from undercroft.kit.sql import AnyConnection
from undercroft.vault.keys.models import DataKey

_LARGEST_QUEUE: Final = 128
"""Events of one stream that wait to be written; who makes them waits then."""
_LARGEST_BATCH: Final = 500
"""Streams that are written by one commit."""


class OpenStream:
    """One stream that this process writes.

    Args:
        lease: Under which.
        key: The response's.
        last_number: Of the last event on record; -1 before the first.
    """

    def __init__(self, lease: Lease, key: DataKey, last_number: int = -1) -> None:
        self.lease = lease
        self._key = key
        self._last_number = last_number
        self._waiting: list[Event] = []
        self._failure: Exception | None = None
        self._has_room = asyncio.Event()
        self._is_settled = asyncio.Event()
        self._has_room.set()
        self._is_settled.set()

    def add(self, event: Event) -> None:
        """Queue an event.

        Raises:
            RuntimeError: When it is not in its place: a defect, which must not get into the log.
        """
        self._check_place(event, self._last_number + len(self._waiting) + 1)
        self._waiting.append(event)
        self._is_settled.clear()
        if len(self._waiting) >= _LARGEST_QUEUE:
            self._has_room.clear()

    def take(self) -> tuple[Run, list[Event]]:
        """All that has queued, as the next run."""
        events, self._waiting = self._waiting, []
        self._has_room.set()
        return self._seal(events), events

    def seal(self, events: Sequence[Event]) -> Run:
        """The run that follows what was sealed before.

        Raises:
            RuntimeError: When an event is not in its place.
        """
        for number, event in enumerate(events, self._last_number + 1):
            self._check_place(event, number)
        return self._seal(events)

    def _seal(self, events: Sequence[Event]) -> Run:
        run = seal_run(self._key, self.lease, self._last_number, events)
        self._last_number = run.last
        return run

    def _check_place(self, event: Event, number: int) -> None:
        if event["sequence_number"] != number:
            raise RuntimeError("events are not numbered in their order")

    def settle(self) -> None:
        """What was taken is on disk."""
        if not self._waiting:
            self._is_settled.set()

    def fail(self, failure: Exception) -> None:
        """Nothing more of it is written."""
        self._failure = failure
        self._waiting.clear()
        self._has_room.set()
        self._is_settled.set()

    @property
    def has_room(self) -> bool:
        """Whether another event may queue now."""
        return self._failure is None and self._has_room.is_set()

    async def wait_for_room(self) -> None:
        """Return once another event may queue."""
        await self._has_room.wait()
        self._raise_failure()

    async def wait_until_settled(self) -> None:
        """Return once all that was added is on disk."""
        await self._is_settled.wait()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class EventWriter:
    """Writes whatever streams have to be written.

    Args:
        database: Its connections should be of its own: events must not wait behind requests for one.
        live: Shows what is written.
        process_id: This process, in the notices to others.
    """

    def __init__(self, database: Database, live: LiveStreams, process_id: UUID) -> None:
        self._database = database
        self._live = live
        self._process_id = process_id
        self._repository = StreamRepository()
        # A dict for its order: no stream is passed over for ever.
        self._queued: dict[OpenStream, None] = {}
        self._working: asyncio.Task[None] | None = None

    async def put(self, stream: OpenStream, *events: Event) -> None:
        """Have events written, all of them by one run; waits while too many of their stream are still to be.

        Raises:
            LeaseLostError: When the stream is another process's, or gone.
        """
        if not stream.has_room:
            await stream.wait_for_room()
        for event in events:
            stream.add(event)
        self._queued[stream] = None
        if self._working is None:
            # In a context of its own: what is bound to one request must not be said of those that come after it.
            self._working = asyncio.create_task(self._work(), context=Context())

    async def settle(self, stream: OpenStream) -> None:
        """Return once all that was put into a stream is on disk.

        Raises:
            LeaseLostError: When the stream is another process's, or gone.
        """
        await stream.wait_until_settled()

    async def _work(self) -> None:
        try:
            while self._queued:
                batch: Sequence[OpenStream] | None = None
                try:
                    # One connection for as long as there is something to write. To give it back and to ask for it
                    # again, for each commit, would take more of a processor than all else here.
                    async with self._database.statement_without_scope() as connection:
                        while batch := self._next():
                            await self._write(connection, batch)
                # Whatever it is, it is theirs whose events these are: nobody awaits this task.
                except BaseException as error:
                    cause = error if isinstance(error, Exception) else LeaseLostError()
                    # Where there was no connection nothing was taken yet; where one was not given back, all is written
                    # that was.
                    for stream in self._next() if batch is None else batch:
                        stream.fail(cause)
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._working = None
            # Of these there are some only where the task was cancelled.
            for stream in self._queued:
                stream.fail(LeaseLostError())
            self._queued.clear()

    def _next(self) -> Sequence[OpenStream]:
        """Of what has queued, what is written together. It is taken before anything else is waited for."""
        batch = list(islice(self._queued, _LARGEST_BATCH))
        for stream in batch:
            del self._queued[stream]
        return batch

    async def _write(self, connection: AnyConnection, streams: Sequence[OpenStream]) -> None:
        taken = [(stream, *stream.take()) for stream in streams]
        runs = [run for _, run, _ in taken]
        notice = tell_moved(self._process_id, (run.lease.response_id for run in runs))
        accepted = await self._repository.append(connection, runs, notice)
        for stream, run, events in taken:
            if run.lease.response_id in accepted:
                self._live.publish(run.lease.response_id, events)
                stream.settle()
            else:
                stream.fail(LeaseLostError())
