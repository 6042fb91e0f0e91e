"""Cuts what is under way when a grant that it rests on ends: one question for all of it, twice a second."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from undercroft.kit.database import Database, Scope
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.models import Way
from undercroft.sharing.repository import GrantRepository
from undercroft.sharing.ways import grant_ids

WATCH_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 0.25
"""The pause before asking again: with the round's own, still within the second in which a revocation has to cut."""

_Event = TypeVar("_Event")


@dataclass(frozen=True, slots=True)
class _Running:
    """Something that rests on grants of its holder's."""

    holder_id: UUID
    grant_ids: frozenset[UUID]
    cut: Callable[[], None]


class WatchedGrants:
    """What runs in this process under grants: downloads and answers.

    Args:
        database: Where grants are. Its connections should be of its own: a cut must not wait behind requests.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = GrantRepository()
        self._running: set[_Running] = set()

    @contextmanager
    def register(self, scope: Scope, way: Way, cut: Callable[[], None]) -> Generator[None]:
        """Have ``cut`` called, once, when a grant of the way ends while this is open; never what is one's own."""
        running = _Running(scope.principal_id, frozenset(grant_ids(way)), cut)
        if running.grant_ids:
            self._running.add(running)
        try:
            yield
        finally:
            self._running.discard(running)

    @asynccontextmanager
    async def cutting(self, scope: Scope, way: Way) -> AsyncGenerator[None]:
        """Cut this task's work when a grant of the way ends, whatever it is waiting for.

        Raises:
            AccessRevokedError: When it was cut.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        is_cut = False

        def cut() -> None:
            nonlocal is_cut
            is_cut = True
            task.cancel()

        try:
            with self.register(scope, way, cut):
                yield
        except asyncio.CancelledError:
            # Cancelled by others as well, it ends as they want it to.
            if is_cut and task.uncancel() == 0:
                raise AccessRevokedError from None
            raise

    async def guard(
        self, scope: Scope, ways: Iterable[Way], events: AsyncGenerator[_Event]
    ) -> AsyncGenerator[_Event]:
        """The events for as long as every grant of the ways counts for the scope's principal.

        Raises:
            AccessRevokedError: When one of them has ended. What makes the events is cancelled then.
        """
        way = Way(tuple(grant for one in ways for grant in one.grants))
        lost = asyncio.Event()
        async with aclosing(events):
            with self.register(scope, way, lost.set):
                async for event in _until(lost, events):
                    yield event

    async def check(self) -> int:
        """Cut what rests on a grant that has ended; how much that was.

        What cannot be asked about twice is cut, too: nobody would learn of a revocation.
        """
        running = list(self._running)
        pairs = {(grant_id, one.holder_id) for one in running for grant_id in one.grant_ids}
        if not pairs:
            return 0
        try:
            ended = await self._ask_twice(sorted(pairs))
        except BaseException:
            self._cut(running)
            raise
        return self._cut(
            [one for one in running if any((key, one.holder_id) in ended for key in one.grant_ids)]
        )

    async def _ask_twice(self, pairs: Sequence[tuple[UUID, UUID]]) -> set[tuple[UUID, UUID]]:
        try:
            return await self._ask(pairs)
        except TimeoutError:
            raise  # its second is over
        # Whatever it was, a session that was ended or a restart: the second failure is told.
        except Exception:  # noqa: BLE001
            await asyncio.sleep(_RETRY_SECONDS)
        return await self._ask(pairs)

    async def _ask(self, pairs: Sequence[tuple[UUID, UUID]]) -> set[tuple[UUID, UUID]]:
        async with self._database.statement_without_scope() as connection:
            return await self._repository.list_ended(connection, pairs)

    def _cut(self, ended: list[_Running]) -> int:
        still = [one for one in ended if one in self._running]
        for one in still:
            self._running.discard(one)
            one.cut()
        return len(still)


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
