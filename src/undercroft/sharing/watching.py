"""Cuts what is under way when a grant that it rests on ends: one question for all of it, twice a second."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, cast

from undercroft.kit.database import Database, Transaction
from undercroft.kit.scope import Scope
from undercroft.sharing.errors import AccessRevokedError, SecondFactorOwedError
from undercroft.sharing.models import Dependency, Release
from undercroft.sharing.repository import GrantRepository
from undercroft.sharing.ways import grant_ids

WATCH_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 0.75
"""For one look, whatever it meets: a database that hangs must not keep open what was revoked just before."""
_RETRY_SECONDS: Final = 0.25
"""The pause before asking again: with the round's own, still within the second in which a revocation has to cut."""

Cut: TypeAlias = Callable[[AccessRevokedError], None]
"""Told why something is cut."""
_Event = TypeVar("_Event")


_Lost: TypeAlias = Mapping[Dependency, bool]
"""What is lost, and whether it is for want of a second factor."""


@dataclass(frozen=True, slots=True)
class _Running:
    """Something that rests on grants."""

    dependencies: frozenset[Dependency]
    cut: Cut
    is_of_others: bool


class WatchedGrants:
    """What runs in this process under grants: downloads and answers.

    Args:
        database: Where grants are. Its connections should be of its own: a cut must not wait behind requests.
        patience: How many seconds one look may take.
    """

    def __init__(self, database: Database, patience: float = PATIENCE_SECONDS) -> None:
        self._database = database
        self._patience = patience
        self._repository = GrantRepository()
        self._running: set[_Running] = set()
        self._late: set[asyncio.Task[_Lost]] = set()

    @contextmanager
    def register(self, scope: Scope, releases: Iterable[Release], cut: Cut) -> Generator[None]:
        """Have ``cut`` called, once, when one of the releases is lost while this is open."""
        end = self.begin(scope, releases, cut)
        try:
            yield
        finally:
            end()

    def begin(self, scope: Scope, releases: Iterable[Release], cut: Cut) -> Callable[[], None]:
        """As :meth:`register`, until what this returns is called."""
        releases = list(releases)
        is_of_others = not all(release.is_own for release in releases)
        running = _Running(frozenset(_dependencies(scope, releases)), cut, is_of_others)
        self._running.add(running)
        return partial(self._running.discard, running)

    @asynccontextmanager
    async def cutting(self, scope: Scope, releases: Iterable[Release]) -> AsyncGenerator[None]:
        """Cut this task's work when one of the releases is lost, whatever it is waiting for.

        Raises:
            AccessRevokedError: When it was cut.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        reason: AccessRevokedError | None = None

        def cut(error: AccessRevokedError) -> None:
            nonlocal reason
            reason = error
            task.cancel()

        try:
            with self.register(scope, releases, cut):
                yield
        except asyncio.CancelledError:
            # Cancelled by others as well, it ends as they want it to.
            if reason is not None and task.uncancel() == 0:
                raise reason from None
            raise

    async def guard(
        self, scope: Scope, releases: Iterable[Release], events: AsyncGenerator[_Event]
    ) -> AsyncGenerator[_Event]:
        """The events for as long as the scope's principal may read all that they rest on.

        Raises:
            AccessRevokedError: When they may not any more. What makes the events is cancelled then.
        """
        releases = list(releases)
        async with aclosing(events):
            guarded = _GuardedEvents()
            with self.register(scope, releases, guarded.cut):
                while True:
                    try:
                        event = await guarded.take(events)
                    except StopAsyncIteration:
                        return
                    yield event

    async def is_lost(
        self, transaction: Transaction, scope: Scope, releases: Iterable[Release]
    ) -> bool:
        """Whether one of the releases is lost, as the transaction sees it now."""
        dependencies = list(set(_dependencies(scope, releases)))
        return bool(dependencies and await self._repository.list_lost(transaction, dependencies))

    async def check(self) -> int:
        """Cut what is lost; how much that was.

        What cannot be asked about twice, or in time, is cut, too: nobody would learn of a revocation. Not what is made
        of the reader's own alone, which they may read whatever is answered.
        """
        running = list(self._running)
        dependencies = list({each for one in running for each in one.dependencies})
        if not dependencies:
            return 0
        try:
            lost = await self._ask_in_time(dependencies)
        except BaseException:
            self._cut({one: AccessRevokedError() for one in running if one.is_of_others})
            raise
        ended: dict[_Running, AccessRevokedError] = {}
        for one in running:
            reasons = [lost[each] for each in one.dependencies if each in lost]
            if reasons:
                ended[one] = SecondFactorOwedError() if any(reasons) else AccessRevokedError()
        return self._cut(ended)

    async def _ask_in_time(self, dependencies: Sequence[Dependency]) -> _Lost:
        asking = asyncio.create_task(self._ask_twice(dependencies))
        self._late.add(asking)
        asking.add_done_callback(self._forget)
        try:
            await asyncio.wait({asking}, timeout=self._patience)
            if asking.done():
                return asking.result()
            raise TimeoutError("the database does not say which grants have ended")
        finally:
            # Not waited for: to give back a connection that hangs takes as long again as to get one.
            asking.cancel()

    def _forget(self, asking: asyncio.Task[_Lost]) -> None:
        self._late.discard(asking)
        # Looked at, so that what it raised after its time is not told as never retrieved.
        if not asking.cancelled():
            asking.exception()

    async def _ask_twice(self, dependencies: Sequence[Dependency]) -> _Lost:
        try:
            return await self._ask(dependencies)
        # Whatever it was, a session that was ended or a restart: the second failure is told.
        except Exception:  # noqa: BLE001
            await asyncio.sleep(_RETRY_SECONDS)
        return await self._ask(dependencies)

    async def _ask(self, dependencies: Sequence[Dependency]) -> _Lost:
        async with self._database.statement_without_scope() as connection:
            return await self._repository.list_lost(connection, dependencies)

    def _cut(self, ended: Mapping[_Running, AccessRevokedError]) -> int:
        still = [one for one in ended if one in self._running]
        for one in still:
            self._running.discard(one)
            one.cut(ended[one])
        return len(still)


def _dependencies(scope: Scope, releases: Iterable[Release]) -> Iterator[Dependency]:
    # Whatever else it rests on, it ends with whoever has it made.
    yield Dependency(scope.principal_id, scope.actor_id, None, None, is_searched=False)
    for release in releases:
        for grant_id in grant_ids(release.way) or [None]:
            yield Dependency(
                scope.principal_id,
                scope.actor_id,
                release.document_id,
                grant_id,
                release.is_searched,
            )


class _GuardedEvents:
    """The events of one guarded work, each waited for in the task that asks for it, which is cut there alone."""

    def __init__(self) -> None:
        self._reason: AccessRevokedError | None = None
        self._asking: asyncio.Task[Any] | None = None

    def cut(self, reason: AccessRevokedError) -> None:
        """Have nothing more of it seen; whoever waits for the next event is woken."""
        self._reason = reason
        if self._asking is not None:
            self._asking.cancel()

    async def take(self, events: AsyncGenerator[_Event]) -> _Event:
        """The next event.

        Raises:
            AccessRevokedError: When it was cut.
            StopAsyncIteration: When there is none.
        """
        if self._reason is not None:
            raise self._reason
        task = self._asking = cast("asyncio.Task[Any]", asyncio.current_task())
        try:
            event = await anext(events)
        except asyncio.CancelledError:
            # Cancelled by others as well, it ends as they want it to.
            if self._reason is not None and task.uncancel() == 0:
                raise self._reason from None
            raise
        finally:
            self._asking = None
        if self._reason is not None:
            # What made the event has swallowed the cancellation.
            task.uncancel()
            raise self._reason
        return event
