"""What is running under grants, and is cut when one of them ends: by a revocation as by its time."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import aclosing, contextmanager
from typing import Final, TypeVar
from uuid import UUID

from undercroft.kit.database import Database, Scope
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.models import Way
from undercroft.sharing.repository import GrantRepository

WATCH_SECONDS: Final = 0.5
"""Between two looks. A stream is cut at the look after its grant's end, well within a second."""

_Event = TypeVar("_Event")


class WatchedGrants:
    """Every grant under which something is running in this process, looked at in one statement.

    Args:
        database: Where grants are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = GrantRepository()
        self._streams: set[_Watch] = set()

    async def look(self) -> int:
        """Tell the streams whose grants have ended; how many there were."""
        streams = [stream for stream in self._streams if not stream.lost.is_set()]
        pairs = sorted({pair for stream in streams for pair in stream.pairs})
        if not pairs:
            return 0
        async with self._database.transaction_without_scope() as transaction:
            lost = await self._repository.list_lost(transaction, pairs)
        cut = [stream for stream in streams if stream.pairs & lost]
        for stream in cut:
            stream.lost.set()
        return len(cut)

    async def guard(
        self, scope: Scope, ways: Iterable[Way], events: AsyncGenerator[_Event]
    ) -> AsyncGenerator[_Event]:
        """The events for as long as every grant of the ways counts for the scope's principal.

        Raises:
            AccessRevokedError: When one of them has ended. What makes the events is cancelled then.
        """
        pairs = frozenset((grant.id, scope.principal_id) for way in ways for grant in way.grants)
        async with aclosing(events):
            if not pairs:
                async for event in events:
                    yield event
                return
            with self._watching(pairs) as watch:
                async for event in _until(watch.lost, events):
                    yield event

    @contextmanager
    def _watching(self, pairs: frozenset[tuple[UUID, UUID]]) -> Generator["_Watch"]:
        watch = _Watch(pairs)
        self._streams.add(watch)
        try:
            yield watch
        finally:
            self._streams.discard(watch)


class _Watch:
    """One stream: the grants that it rests on, each with its holder, and whether one was lost."""

    def __init__(self, pairs: frozenset[tuple[UUID, UUID]]) -> None:
        self.pairs = pairs
        self.lost = asyncio.Event()


async def _until(lost: asyncio.Event, events: AsyncGenerator[_Event]) -> AsyncGenerator[_Event]:
    """The events until it is lost; also while the next one is waited for, which may take long."""
    waiting = asyncio.ensure_future(lost.wait())
    step: asyncio.Task[_Event] | None = None
    try:
        while True:
            step = asyncio.ensure_future(_next(events))
            await asyncio.wait({step, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if lost.is_set():
                raise AccessRevokedError
            try:
                event = step.result()
            except StopAsyncIteration:
                return
            yield event
    finally:
        waiting.cancel()
        await asyncio.wait({waiting})
        if step is not None:
            step.cancel()
            await asyncio.wait({step})
            # Looked at, so that what it raised is not told as never retrieved.
            if not step.cancelled():
                step.exception()


async def _next(events: AsyncGenerator[_Event]) -> _Event:
    return await anext(events)
