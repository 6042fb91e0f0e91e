"""One transaction for all that one task does under one scope, so that what it did is there whole or not at all.

Services open a transaction for each unit of work, and go on to another or to a refusal that is put on record. While a
:class:`JoinedTransaction` is current, the first of those units opens it and the others take part in it; the task
commits it at its end. A unit that fails ends it, and with it all that was done: what the task does afterwards, such as
putting the refusal on record, is a transaction of its own again.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

from undercroft.kit.scope import Scope
from undercroft.kit.sql import PooledConnection

Open: TypeAlias = Callable[[], AbstractAsyncContextManager[PooledConnection]]
Begin: TypeAlias = Callable[[PooledConnection], Awaitable[None]]


class JoinedTransaction:
    """What units of work under one scope have in common, in the task that made it.

    Args:
        open_transaction: Opens it.
        scope: On whose behalf.
        begin: The first that is done in it, before the first unit.
    """

    def __init__(self, open_transaction: Open, scope: Scope, begin: Begin) -> None:
        self._open = open_transaction
        self._scope = scope
        self._begin = begin
        self._task = asyncio.current_task()
        self._context: AbstractAsyncContextManager[PooledConnection] | None = None
        self._connection: PooledConnection | None = None
        self._after: list[Callable[[], Awaitable[None]]] = []
        self.has_ended = False

    @property
    def connection(self) -> "PooledConnection | None":
        """What was opened; None when no unit has been done, or one failed."""
        return self._connection

    def takes(self, scope: Scope) -> bool:
        """Whether a unit of the running task belongs to it.

        A task that this one has started would use the connection at the same time: it has transactions of its own.
        """
        return (
            not self.has_ended
            and asyncio.current_task() is self._task
            and (scope.tenant_id, scope.principal_id, scope.purpose)
            == (self._scope.tenant_id, self._scope.principal_id, self._scope.purpose)
        )

    @asynccontextmanager
    async def join(self) -> AsyncGenerator[PooledConnection]:
        """One unit of work."""
        try:
            if self._connection is None:
                self._context = self._open()
                self._connection = await self._context.__aenter__()
                await self._begin(self._connection)
            yield self._connection
        except BaseException as error:
            await self._end(error)
            raise

    def after_commit(self, act: Callable[[], Awaitable[None]]) -> None:
        """Have something done once it has committed, and not at all if it does not."""
        self._after.append(act)

    async def commit(self) -> None:
        """All is done: commit, if anything was."""
        await self._end(None)
        after, self._after = self._after, []
        for act in after:
            await act()

    async def abandon(self) -> None:
        """Roll back, if it is still open."""
        if not self.has_ended:
            await self._end(AbandonedError())

    async def _end(self, error: BaseException | None) -> None:
        self.has_ended = True
        context, self._context, self._connection = self._context, None, None
        if context is None:
            return
        try:
            await context.__aexit__(None if error is None else type(error), error, None)
        except BaseException as raised:
            if raised is not error:
                raise


class AbandonedError(Exception):
    """Ends a transaction that nobody commits."""


JOINED: Final[ContextVar[JoinedTransaction | None]] = ContextVar("joined_transaction", default=None)
"""The one that units of this task belong to."""


async def once_committed(act: Callable[[], Awaitable[None]]) -> None:
    """Do what must not be done before a transaction that has been left has committed, such as deleting its files.

    At once, unless that transaction was part of a joined one: then when this commits, and not at all if it does not.
    """
    joined = JOINED.get()
    if joined is None or joined.connection is None:
        await act()
    else:
        joined.after_commit(act)
