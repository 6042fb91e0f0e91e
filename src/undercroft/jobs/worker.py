"""A worker: takes jobs, runs their handlers, and records what became of them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job as Dispatch

from undercroft.jobs.dispatch import CHANNEL, DispatchQueries
from undercroft.jobs.errors import FencedError, JobFailedError
from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.models import Backoff, Claim, JobFailure
from undercroft.jobs.repository import JobRepository
from undercroft.kit.clock import Clock
from undercroft.kit.database import DATABASE_GONE, Database

_SWEEP_ROWS: Final = 1000
_CANCEL_SECONDS: Final = 10.0
_log: Final = structlog.stdlib.get_logger(__name__)

_INTERNAL: Final = JobFailure(
    "internal", "The job failed unexpectedly; the operator's log has the cause."
)
_DEADLINE: Final = JobFailure("deadline_exceeded", "The job took longer than it may.")
_EXHAUSTED: Final = JobFailure(
    "attempts_exhausted", "The job ended its worker process each time it ran and was given up."
)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker paces itself.

    Attributes:
        poll_seconds: How often it looks for jobs.
        heartbeat_timeout_seconds: After how long without a heartbeat its jobs are another's. A killed worker's jobs
            run again within this and a poll; it beats at half of it, so this is also what bounds how long an event
            loop may stall.
        grace_seconds: How long running jobs may go on after ``stop``.
        sweep_seconds: How often it looks for lost and outdated jobs.
        backoff: How long a failed job waits.
    """

    poll_seconds: float = 0.25
    heartbeat_timeout_seconds: float = 6.0
    grace_seconds: float = 20.0
    sweep_seconds: float = 30.0
    backoff: Backoff = field(default_factory=Backoff)


class Worker:
    """Runs jobs until it is stopped.

    Args:
        database: For the worker's own short statements. Not the handlers' pool: heartbeats must not wait behind them.
        handlers: For each kind of job this worker takes, how it is run.
        clock: For pacing progress.
        random: Draws from [0, 1), for spreading retries.
        settings: Its pace.
    """

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, JobHandler],
        *,
        clock: Clock,
        random: Callable[[], float],
        settings: WorkerSettings | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._random = random
        self._settings = settings or WorkerSettings()
        self._repository = JobRepository()
        limits = {kind: handler.concurrency for kind, handler in handlers.items()}
        self._manager = QueueManager(DispatchQueries(database, limits), channel=CHANNEL)
        for kind, handler in handlers.items():
            execute = partial(self._execute, handler)
            self._manager.entrypoint(kind, accepts_context=False)(execute)
        self._deadlines: set[asyncio.Timeout] = set()
        self._is_cancelling = False
        self._has_ended = asyncio.Event()
        self._has_ended.set()

    async def run(self) -> None:
        """Take and run jobs until ``stop``.

        Cancelling this instead is like a crash: its jobs run again at once, and the attempt counts.

        Raises:
            RuntimeError: When the database lacks PgQueuer's tables.
        """
        settings = self._settings
        self._has_ended.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sweep_until_stopped())
                await self._manager.run(
                    dequeue_timeout=timedelta(seconds=settings.poll_seconds),
                    # How many outcomes the library gathers, for up to 0.1 s, before it makes room for more: with
                    # two, a kind that runs one job at a time would run ten a second. How many jobs are picked at
                    # once is DispatchQueries' to say.
                    batch_size=1,
                    heartbeat_timeout=timedelta(seconds=settings.heartbeat_timeout_seconds),
                    # The library's statistics repeat what `jobs` says.
                    log_aggregation_interval=timedelta(0),
                )
        finally:
            self._has_ended.set()

    async def stop(self) -> None:
        """Take no more jobs, wait for the running ones, then give those up that take longer than the grace period.

        A job given up so is queued for another worker at once, and the attempt does not count: a long job must
        survive any number of deployments.

        Raises:
            TimeoutError: When a handler goes on in spite of being cancelled; ``run`` can then only be cancelled.
        """
        self._manager.shutdown.set()
        try:
            async with asyncio.timeout(self._settings.grace_seconds):
                await self._has_ended.wait()
        except TimeoutError:
            self._is_cancelling = True
            now = asyncio.get_running_loop().time()
            for deadline in self._deadlines:
                if not deadline.expired():
                    deadline.reschedule(now)
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._has_ended.wait()

    async def _execute(self, handler: JobHandler, dispatch: Dispatch) -> None:
        """Deal with one of PgQueuer's rows: what ends a job removes it, RetryRequested puts it back in line."""
        async with self._database.transaction_without_scope() as transaction:
            claim = await self._repository.claim_job(transaction, UUID(bytes=dispatch.payload))
            if claim is None:
                await self._repository.delete_dispatch(
                    transaction, dispatch.id, self._manager.queue_manager_id
                )
                return
        try:
            wait = await self._attempt(handler, claim)
        except FencedError:
            _log.warning("job_fenced", job_id=str(claim.job_id), kind=claim.kind)
            return
        if wait is not None:
            raise RetryRequested(delay=wait)

    async def _attempt(self, handler: JobHandler, claim: Claim) -> timedelta | None:
        """Run one attempt and record its outcome.

        Returns:
            After how long the job is to run again, or None when it is not to.

        Raises:
            FencedError: When the job was taken over.
        """
        if claim.is_exhausted:
            return await self._bury(handler, claim, _EXHAUSTED)
        deadline = asyncio.timeout(0 if self._is_cancelling else handler.deadline_seconds)
        try:
            await self._run_within(deadline, handler, claim)
        except FencedError:
            raise
        except JobFailedError as error:
            failure = JobFailure(error.code, error.message)
            if error.permanent:
                return await self._bury(handler, claim, failure)
        # A handler may raise anything: it is logged and costs an attempt, never the worker.
        except Exception as error:  # noqa: BLE001
            if deadline.expired() and self._is_cancelling:
                return await self._release(claim)
            failure = _DEADLINE if deadline.expired() else _INTERNAL
            _log.error(
                "job_attempt_failed",
                job_id=str(claim.job_id),
                kind=claim.kind,
                attempt=claim.attempts,
                code=failure.code,
                exc_info=error,
            )
        else:
            return await self._complete(claim)
        if claim.is_last:
            return await self._bury(handler, claim, failure)
        return await self._retry_later(claim, failure)

    async def _run_within(
        self, deadline: asyncio.Timeout, handler: JobHandler, claim: Claim
    ) -> None:
        """Run the handler until it ends, its time is up, or the worker's is: ``stop`` moves the deadline."""
        context = JobContext(claim, self._database, self._repository, self._clock)
        self._deadlines.add(deadline)
        try:
            async with deadline:
                await handler.run(context)
        finally:
            self._deadlines.discard(deadline)

    async def _complete(self, claim: Claim) -> None:
        async with self._database.transaction(claim) as transaction:
            if not await self._repository.complete_job(transaction, claim):
                raise FencedError(claim.job_id)

    async def _release(self, claim: Claim) -> timedelta:
        async with self._database.transaction(claim) as transaction:
            if not await self._repository.release_job(transaction, claim):
                raise FencedError(claim.job_id)
        return timedelta(0)

    async def _retry_later(self, claim: Claim, failure: JobFailure) -> timedelta:
        async with self._database.transaction(claim) as transaction:
            if not await self._repository.requeue_job(transaction, claim, failure):
                raise FencedError(claim.job_id)
        seconds = self._settings.backoff.delay(claim.attempts, self._random())
        return timedelta(seconds=seconds)

    async def _bury(self, handler: JobHandler, claim: Claim, failure: JobFailure) -> None:
        _log.error("job_dead", job_id=str(claim.job_id), kind=claim.kind, code=failure.code)
        async with self._database.transaction(claim) as transaction:
            if not await self._repository.bury_job(transaction, claim, failure):
                raise FencedError(claim.job_id)
            await handler.on_dead(transaction, claim, claim.payload, failure)

    async def _sweep_until_stopped(self) -> None:
        while not self._manager.shutdown.is_set():
            try:
                await self._sweep()
            except DATABASE_GONE as error:
                _log.warning("jobs_sweep_failed", error=repr(error))
            try:
                async with asyncio.timeout(self._settings.sweep_seconds):
                    await self._manager.shutdown.wait()
            except TimeoutError:
                continue

    async def _sweep(self) -> None:
        async with self._database.transaction_without_scope() as transaction:
            lost = await self._repository.redispatch_lost_jobs(transaction, _SWEEP_ROWS)
        async with self._database.transaction_without_scope() as transaction:
            await self._repository.prune_jobs(transaction, _SWEEP_ROWS)
        if lost:
            _log.warning("jobs_redispatched", count=lost)
