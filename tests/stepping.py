"""Steps for tests of races: what waits is seen in PostgreSQL, what must not go on yet is held by an event."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from undercroft.kit.database import Database, Transaction
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, PooledConnection
from undercroft.retrieval.embedding.models import EmbeddingModel
from undercroft.retrieval.embedding.protocol import Embedder, Embeddings, Vectors

PATIENCE = 60.0
"""Seconds after which a test gives up waiting for what must happen."""


async def until_blocked(database: Database, sessions: int = 1) -> None:
    """Return once that many sessions of the service's login wait for another one's lock."""
    async with asyncio.timeout(PATIENCE):
        while await count_blocked(database) < sessions:
            pass


async def until_waiting_for(database: Database, holder: AnyConnection) -> None:
    """Return once a session waits for a lock of that transaction's: what waited for another one's has moved on."""
    backend = await holder.fetchval("SELECT pg_backend_pid()")
    async with asyncio.timeout(PATIENCE):
        while not await _is_waited_for(database, backend):
            pass


async def _is_waited_for(database: Database, backend: int) -> bool:
    async with database.transaction_without_scope() as transaction:
        return bool(
            await transaction.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity"
                " WHERE datname = current_database() AND $1 = ANY (pg_blocking_pids(pid)))",
                backend,
            )
        )


async def until_blocked_or_done(
    database: Database, task: asyncio.Task[object], sessions: int = 1
) -> bool:
    """Return once that many wait, or a task has ended that was to be among them; whether they wait."""
    blocked = asyncio.create_task(until_blocked(database, sessions))
    try:
        await asyncio.wait({task, blocked}, return_when=asyncio.FIRST_COMPLETED)
        if blocked.done():
            blocked.result()
        return blocked.done()
    finally:
        blocked.cancel()
        await asyncio.wait({blocked})


async def count_blocked(database: Database) -> int:
    """How many sessions wait for another one's lock."""
    # Each look is a transaction of its own: within one, PostgreSQL shows the same activity for ever.
    async with database.transaction_without_scope() as transaction:
        return int(
            await transaction.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )


class _RollbackError(Exception):
    """Ends a transaction without effect."""


@asynccontextmanager
async def rolled_back(database: Database, scope: Scope) -> AsyncGenerator[Transaction]:
    """A transaction that comes to nothing, as when its process dies."""
    with suppress(_RollbackError):
        async with database.transaction(scope) as transaction:
            yield transaction
            raise _RollbackError


class Gate:
    """Where something stops until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def wait_until_reached(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.reached.wait()

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    def open(self) -> None:
        self._opened.set()

    async def pass_through(self) -> None:
        self.reached.set()
        async with asyncio.timeout(PATIENCE):
            await self._opened.wait()


class SteppedDatabase(Database):
    """A database that stops before its nth scoped transaction, of one statement or several, counted from 1."""

    gate: Gate | None = None
    stop_before = 0
    _count = 0

    def step(self, stop_before: int) -> Gate:
        """Count from now on, and stop before that transaction."""
        self.gate, self.stop_before, self._count = Gate(), stop_before, 0
        return self.gate

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncGenerator[Transaction]:
        await self._take_step()
        async with super().transaction(scope) as transaction:
            yield transaction

    @asynccontextmanager
    async def scoped_statement(self) -> AsyncGenerator[PooledConnection]:
        await self._take_step()
        async with super().scoped_statement() as connection:
            yield connection

    async def _take_step(self) -> None:
        self._count += 1
        if self.gate is not None and self._count == self.stop_before:
            await self.gate.pass_through()


class PausingEmbedder:
    """A real embedder that stops before each call while it has a gate, and remembers what it was asked."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.asked: list[str] = []
        self.gate: Gate | None = None

    @property
    def model(self) -> EmbeddingModel:
        return self._embedder.model

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return (await self.embed_counted(texts)).vectors

    async def embed_counted(self, texts: Sequence[str]) -> Embeddings:
        if self.gate is not None:
            await self.gate.pass_through()
        self.asked += texts
        return await self._embedder.embed_counted(texts)

    async def close(self) -> None:
        await self._embedder.close()
