"""The connection pool, and the one way to open a transaction: under a tenant and a principal.

Row-level security reads ``undercroft.tenant_id`` and ``undercroft.principal_id``. They are set with the transaction's
own scope (``SET LOCAL``), so a connection that returns to the pool, ours or PgBouncer's, carries nobody's identity.
"""

import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias
from uuid import UUID

import asyncpg

from undercroft.kit.clock import Clock
from undercroft.kit.errors import UnavailableError
from undercroft.kit.joined import JOINED, JoinedTransaction
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, PooledConnection, load_queries

DATABASE_GONE: Final = (
    UnavailableError,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
"""What a statement raises when the database restarts or cannot be reached: the next try may succeed."""

Transaction: TypeAlias = PooledConnection
"""A connection with an open transaction whose tenant and principal are set."""

PURPOSE: Final = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")
"""What a purpose looks like: a code, never a free text."""

_QUERIES: Final = load_queries("undercroft.kit")
_ACQUIRE_SECONDS: Final = 10.0
_STATEMENT_SECONDS: Final = 30.0


class PoolObserver(Protocol):
    """Told how long each transaction waited for its connection."""

    def connection_acquired(self, seconds: float) -> None:
        """One connection was handed out after ``seconds``."""
        ...


class Database:
    """A pool of connections to PostgreSQL. Open it with ``async with``.

    Args:
        url: DSN of the service's login.
        clock: For measuring waits.
        size: Largest number of connections.
        statement_cache: Prepared statements kept per connection; 0 behind an old PgBouncer.
        observer: Told about waits, if given.
        statement_seconds: The longest that a statement may run; None for the commands that copy whole tables.

    Attributes:
        size: The largest number of connections.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        size: int = 16,
        statement_cache: int = 256,
        observer: PoolObserver | None = None,
        statement_seconds: float | None = _STATEMENT_SECONDS,
    ) -> None:
        self.size = size
        self._clock = clock
        self._observer = observer
        self._pool = asyncpg.create_pool(
            url,
            min_size=min(2, size),
            max_size=size,
            statement_cache_size=statement_cache,
            command_timeout=statement_seconds,
            init=_set_codecs,
            reset=_keep_session,
        )

    async def __aenter__(self) -> Self:
        await self._pool
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    def transaction(self, scope: Scope) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that sees and writes what ``scope`` may; commits on exit, rolls back on an exception.

        While the task has a joined one of that scope, it is a part of that, and commits with it.

        Raises:
            UnavailableError: When no connection becomes free in time.
        """
        joined = JOINED.get()
        if joined is None or not joined.takes(scope):
            return self._own_transaction(scope)
        return joined.join()

    @asynccontextmanager
    async def joined(
        self, scope: Scope, begin: Callable[[Transaction], Awaitable[None]]
    ) -> AsyncGenerator[JoinedTransaction]:
        """Have all that this task does under ``scope`` be one transaction, until the context ends.

        It is opened by the first that is done, and rolled back unless it is committed in the context.

        Args:
            scope: On whose behalf.
            begin: What is done first in it.
        """
        joined = JoinedTransaction(lambda: self._own_transaction(scope), scope, begin)
        token = JOINED.set(joined)
        try:
            yield joined
        finally:
            JOINED.reset(token)
            await joined.abandon()

    @asynccontextmanager
    async def _own_transaction(self, scope: Scope) -> AsyncGenerator[Transaction]:
        async with self._connection() as connection:
            try:
                await connection.execute(_begin(scope))
                yield connection
                await connection.execute("COMMIT")
            except BaseException:
                # Of a session that is gone nothing is left to undo.
                with suppress(asyncpg.InterfaceError):
                    await connection.execute("ROLLBACK")
                raise

    @asynccontextmanager
    async def transaction_without_scope(self) -> AsyncGenerator[Transaction]:
        """A transaction with no tenant: policies show it no row, so only SECURITY DEFINER functions answer it.

        Raises:
            UnavailableError: When no connection becomes free in time.
        """
        async with self._connection() as connection, connection.transaction():
            yield connection

    def statement_without_scope(self) -> AbstractAsyncContextManager[PooledConnection]:
        """As :meth:`transaction_without_scope`, for one statement: it is a transaction of its own, in one round trip.

        Raises:
            UnavailableError: When no connection becomes free in time.
        """
        return self._connection()

    def scoped_statement(self) -> AbstractAsyncContextManager[PooledConnection]:
        """One statement that brings its scope along and sets it with ``enter_scope``, in its own transaction.

        It takes part in no joined transaction: it is on disk whatever becomes of that.

        Raises:
            UnavailableError: When no connection becomes free in time.
        """
        return self._connection()

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[Transaction]:
        """A read-only transaction whose statements all see one state. It has no tenant: see :func:`set_scope`.

        Raises:
            UnavailableError: When no connection becomes free in time.
        """
        async with (
            self._connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    def _connection(self) -> AbstractAsyncContextManager[PooledConnection]:
        return _Borrowed(self._pool, self._clock, self._observer)


class _Borrowed(AbstractAsyncContextManager[PooledConnection]):
    """A connection of a pool's, which goes back to it. No generator: it is made for every statement."""

    def __init__(
        self, pool: "asyncpg.Pool[Any]", clock: Clock, observer: PoolObserver | None
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._observer = observer

    async def __aenter__(self) -> PooledConnection:
        started = self._clock.monotonic()
        try:
            self._connection = await self._pool.acquire(timeout=_ACQUIRE_SECONDS)
        except (
            TimeoutError,
            OSError,
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.TooManyConnectionsError,
        ) as error:
            raise UnavailableError("The database is busy or starting; try again.") from error
        if self._observer is not None:
            self._observer.connection_acquired(self._clock.monotonic() - started)
        return self._connection

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self._pool.release(self._connection)
        if isinstance(error, asyncpg.InternalClientError):
            # What asyncpg raises at the next statement when the server has ended the session since the last one.
            raise UnavailableError("The database ended the connection; try again.") from error


def scope_arguments(scope: Scope) -> tuple[UUID, UUID, str | None]:
    """What a statement that brings its scope along enters it with."""
    return scope.tenant_id, scope.principal_id, scope.purpose


async def set_scope(transaction: Transaction, scope: Scope) -> None:
    """Let the rest of a transaction see what ``scope`` may: for operators' commands, which go from tenant to tenant."""
    await _QUERIES.value(transaction, "set_scope", str(scope.tenant_id), str(scope.principal_id))


def _begin(scope: Scope) -> str:
    """Opens a transaction under a scope, in one round trip: a statement with parameters could not share it.

    Of an id nothing gets into the text but its 32 hexadecimal digits, of a purpose nothing but a code.

    Raises:
        ValueError: When the purpose is none.
    """
    begin = (
        "BEGIN;"
        f" SET LOCAL undercroft.tenant_id = '{scope.tenant_id.int:032x}';"
        f" SET LOCAL undercroft.principal_id = '{scope.principal_id.int:032x}'"
    )
    if scope.purpose is None:
        return begin
    if PURPOSE.fullmatch(scope.purpose) is None:
        raise ValueError("a purpose is a code, never a free text")
    return f"{begin}; SET LOCAL undercroft.purpose = '{scope.purpose}'"


async def _set_codecs(connection: AnyConnection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=_dump_json, decoder=json.loads, schema="pg_catalog"
    )


def _dump_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def _keep_session(connection: AnyConnection) -> None:
    """Nothing to reset: no session state is ever set, and asyncpg's own reset would cost a round trip each time."""
    del connection
