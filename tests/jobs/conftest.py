"""Workers in this process and in others, and the calls that tests of jobs share."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import pytest

from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.models import Backoff
from undercroft.jobs.service import JobQueue, JobService
from undercroft.jobs.worker import Worker, WorkerSettings
from undercroft.kit.clock import Clock, SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope

PATIENCE: Final = 30.0
"""Seconds after which a test gives up waiting for what must happen."""

QUICK: Final = WorkerSettings(poll_seconds=0.02, backoff=Backoff(0.01, 0.01))


class RunWorker(Protocol):
    """Runs a worker in this process while the context is open."""

    def __call__(
        self,
        handlers: Mapping[str, JobHandler],
        settings: WorkerSettings = QUICK,
        clock: Clock | None = None,
    ) -> AbstractAsyncContextManager[Worker]:
        """On exit the worker is stopped, so that what it did is recorded."""
        ...


class Enqueue(Protocol):
    """Queues a job in a transaction of its own."""

    def __call__(self, scope: Scope, kind: str, **options: object) -> Awaitable[UUID]:
        """Answer the job's id."""
        ...


StartProcess = Callable[[float], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
def queue() -> JobQueue:
    return JobQueue(IdSource())


@pytest.fixture
def jobs(database: Database) -> JobService:
    return JobService(database)


@pytest.fixture
def enqueue(database: Database, queue: JobQueue) -> Enqueue:
    async def enqueue(scope: Scope, kind: str, **options: object) -> UUID:
        async with database.transaction(scope) as transaction:
            return await queue.enqueue(transaction, scope, kind, {}, **options)  # pyright: ignore[reportArgumentType] - passed on

    return enqueue


@pytest.fixture
def run_worker(database_urls: DatabaseUrls) -> RunWorker:
    @asynccontextmanager
    async def run(
        handlers: Mapping[str, JobHandler],
        settings: WorkerSettings = QUICK,
        clock: Clock | None = None,
    ) -> AsyncGenerator[Worker]:
        clock = clock or SystemClock()
        async with Database(database_urls.service, clock=clock, size=4) as database:
            worker = Worker(database, handlers, clock=clock, random=lambda: 0.5, settings=settings)
            running = asyncio.create_task(worker.run())
            try:
                yield worker
            finally:
                await worker.stop()
                await running

    return run


@pytest.fixture
async def start_process(database_urls: DatabaseUrls) -> AsyncGenerator[StartProcess]:
    """Starts worker processes whose jobs are another's after that many seconds without a heartbeat."""
    script = Path(__file__).with_name("worker_process.py")
    started: list[asyncio.subprocess.Process] = []

    async def start(heartbeat_timeout: float) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            database_urls.service,
            str(heartbeat_timeout),
            stdout=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def handler_of(
    run: Callable[[JobContext], Awaitable[None]], deadline_seconds: float = PATIENCE
) -> JobHandler:
    return JobHandler(run=run, deadline_seconds=deadline_seconds)
