import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from tests.clocks import SetClock
from tests.conftest import MakeScope
from tests.jobs.conftest import PATIENCE, QUICK, Enqueue, RunWorker, handler_of
from tests.rows import insert_collection
from undercroft.jobs.errors import FencedError, JobFailedError
from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.models import Backoff, JobFailure, JobState, Payload
from undercroft.jobs.repository import JobRepository
from undercroft.jobs.service import JobQueue, JobService
from undercroft.jobs.worker import Worker, WorkerSettings
from undercroft.kit.database import Database, Transaction
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope


class Gate:
    """A handler that says when it is reached and waits to be let through; cancelled, it says that too."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, context: JobContext) -> None:
        del context
        self.reached.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


# The statement is the library's, known by the name of one of its parts.
END_BLOCKED_DEQUEUE: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE $1::int = ANY(pg_blocking_pids(pid)) AND query LIKE '%next_stale%'
"""

IS_BLOCKING: Final = """
SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))
"""


async def end_blocked_dequeue(database: Database, by: int) -> bool:
    """End the session that waits for ``by`` while it looks for jobs; False when none does yet."""
    # A transaction for each look: within one, pg_stat_activity shows the same picture again.
    async with database.transaction_without_scope() as transaction:
        return bool(await transaction.fetchval(END_BLOCKED_DEQUEUE, by))


async def seen(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


async def dispatch_count(database: Database) -> int:
    async with database.transaction_without_scope() as transaction:
        return await transaction.fetchval("SELECT count(*) FROM pgqueuer")


async def take_over(database: Database, job_id: UUID) -> None:
    """What another worker does that finds the job's heartbeat lapsed."""
    async with database.transaction_without_scope() as transaction:
        assert await JobRepository().claim_job(transaction, job_id) is not None


async def test_a_handler_runs_with_its_jobs_payload_and_scope(
    database: Database,
    queue: JobQueue,
    jobs: JobService,
    make_scope: MakeScope,
    run_worker: RunWorker,
) -> None:
    scope = await make_scope()
    given: list[object] = []
    ran = asyncio.Event()

    async def handle(context: JobContext) -> None:
        given.extend([context.scope.tenant_id, context.scope.principal_id, context.payload])
        ran.set()

    async with database.transaction(scope) as transaction:
        job_id = await queue.enqueue(transaction, scope, "index", {"blob": "b1"})
    async with run_worker({"index": handler_of(handle)}):
        await seen(ran)
    job = await jobs.get_job(scope, job_id)
    assert given == [scope.tenant_id, scope.principal_id, {"blob": "b1"}]
    assert (job.state, job.attempts, job.failure) == (JobState.SUCCEEDED, 1, None)
    assert await dispatch_count(database) == 0


async def test_what_fails_is_tried_again_and_its_cause_stays_inside(
    database: Database,
    jobs: JobService,
    enqueue: Enqueue,
    make_scope: MakeScope,
    run_worker: RunWorker,
) -> None:
    scope = await make_scope()
    attempts: list[int] = []
    between: list[tuple[JobState, JobFailure | None]] = []
    done = asyncio.Event()

    async def handle(context: JobContext) -> None:
        attempts.append(context.attempt)
        job = await jobs.get_job(scope, context.job_id)
        between.append((job.state, job.failure))
        if context.attempt == 1:
            raise RuntimeError("password of the database: hunter2")
        if context.attempt == 2:
            raise JobFailedError("model_busy", "The model is busy.")
        done.set()

    job_id = await enqueue(scope, "index")
    async with run_worker({"index": handler_of(handle)}):
        await seen(done)
    job = await jobs.get_job(scope, job_id)
    internal = JobFailure(
        "internal", "The job failed unexpectedly; the operator's log has the cause."
    )
    assert attempts == [1, 2, 3]
    assert between == [
        (JobState.RUNNING, None),
        (JobState.RUNNING, internal),
        (JobState.RUNNING, JobFailure("model_busy", "The model is busy.")),
    ]
    assert (job.state, job.failure) == (JobState.SUCCEEDED, None)
    assert await dispatch_count(database) == 0


async def test_a_retry_waits_for_its_backoff(
    database: Database, enqueue: Enqueue, make_scope: MakeScope, run_worker: RunWorker
) -> None:
    scope = await make_scope()
    failed = asyncio.Event()

    async def handle(context: JobContext) -> None:
        del context
        failed.set()
        raise JobFailedError("model_busy", "The model is busy.")

    await enqueue(scope, "index")
    settings = WorkerSettings(poll_seconds=0.02, backoff=Backoff(3600, 7200))
    async with run_worker({"index": handler_of(handle)}, settings):
        await seen(failed)
    async with database.transaction_without_scope() as transaction:
        row = await transaction.fetchrow(
            "SELECT status, queue_manager_id, execute_after - updated AS wait FROM pgqueuer"
        )
    assert row is not None
    assert (row["status"], row["queue_manager_id"]) == ("queued", None)
    assert row["wait"] == timedelta(seconds=2700)  # three quarters of the first wait: random is 0.5


@pytest.mark.parametrize(
    ("attempts", "random", "seconds"),
    [(1, 0.0, 1.0), (1, 0.5, 1.5), (2, 0.0, 2.0), (5, 0.0, 16.0), (9, 0.0, 50.0), (99, 0.5, 75.0)],
)
def test_backoff_doubles_up_to_its_cap(attempts: int, random: float, seconds: float) -> None:
    assert Backoff(2.0, 100.0).delay(attempts, random) == seconds


@pytest.mark.parametrize("permanent", [True, False])
async def test_a_job_that_is_out_of_attempts_or_hopeless_is_dead_and_says_so(
    permanent: bool,
    database: Database,
    jobs: JobService,
    enqueue: Enqueue,
    make_scope: MakeScope,
    run_worker: RunWorker,
) -> None:
    scope = await make_scope()
    attempts: list[int] = []
    dead = asyncio.Event()
    told: list[tuple[Scope, JobFailure]] = []

    async def handle(context: JobContext) -> None:
        attempts.append(context.attempt)
        raise JobFailedError("not_a_pdf", "Upload a PDF.", permanent=permanent)

    async def on_dead(
        transaction: Transaction, scope: Scope, payload: Payload, failure: JobFailure
    ) -> None:
        del payload
        assert await transaction.fetchval("SELECT count(*) FROM jobs WHERE state = 'dead'") == 1
        told.append((scope, failure))
        dead.set()

    job_id = await enqueue(scope, "index", max_attempts=2)
    async with run_worker({"index": JobHandler(handle, 30, on_dead=on_dead)}):
        await seen(dead)
    job = await jobs.get_job(scope, job_id)
    failure = JobFailure("not_a_pdf", "Upload a PDF.")
    assert attempts == ([1] if permanent else [1, 2])
    assert (job.state, job.attempts, job.failure) == (JobState.DEAD, len(attempts), failure)
    assert [(who.principal_id, why) for who, why in told] == [(scope.principal_id, failure)]
    assert await dispatch_count(database) == 0


async def test_a_retried_dead_job_runs_with_all_its_attempts(
    jobs: JobService, enqueue: Enqueue, make_scope: MakeScope, run_worker: RunWorker
) -> None:
    scope = await make_scope()
    attempts: list[int] = []
    dead, done = asyncio.Event(), asyncio.Event()

    async def handle(context: JobContext) -> None:
        attempts.append(context.attempt)
        if len(attempts) < 4:
            raise JobFailedError("model_gone", "The model is gone.")
        done.set()

    async def on_dead(
        transaction: Transaction, scope: Scope, payload: Payload, failure: JobFailure
    ) -> None:
        del transaction, scope, payload, failure
        dead.set()

    job_id = await enqueue(scope, "index", max_attempts=2)
    handlers = {"index": JobHandler(handle, 30, on_dead=on_dead)}
    async with run_worker(handlers):
        await seen(dead)
    assert [job.id for job in await jobs.list_dead()] == [job_id]
    async with run_worker(handlers):
        await jobs.retry(job_id)
        await seen(done)
    assert attempts == [1, 2, 1, 2]
    assert (await jobs.get_job(scope, job_id)).state is JobState.SUCCEEDED
    assert await jobs.list_dead() == []


async def test_a_job_past_its_deadline_is_cancelled_and_has_failed(
    jobs: JobService, enqueue: Enqueue, make_scope: MakeScope, run_worker: RunWorker
) -> None:
    scope = await make_scope()
    gate = Gate()
    job_id = await enqueue(scope, "index", max_attempts=1)
    async with run_worker({"index": handler_of(gate, deadline_seconds=0.05)}):
        await seen(gate.cancelled)
    job = await jobs.get_job(scope, job_id)
    assert job.state is JobState.DEAD
    assert job.failure == JobFailure("deadline_exceeded", "The job took longer than it may.")


async def test_progress_is_visible_while_the_job_runs_and_is_not_written_too_often(
    jobs: JobService, enqueue: Enqueue, make_scope: MakeScope, run_worker: RunWorker
) -> None:
    scope = await make_scope()
    clock = SetClock()
    read: list[tuple[int, int | None]] = []
    done = asyncio.Event()

    async def handle(context: JobContext) -> None:
        for seconds, finished, total in [
            (0.0, 1, None),
            (0.5, 2, 9),
            (1.0, 3, 9),
            (1.1, 4, 9),
            (1.2, 9, 9),
        ]:
            clock.seconds = seconds
            await context.progress(finished, total)
            job = await jobs.get_job(scope, context.job_id)
            read.append((job.progress_done, job.progress_total))
        done.set()

    await enqueue(scope, "index")
    async with run_worker({"index": handler_of(handle)}, clock=clock):
        await seen(done)
    assert read == [(1, None), (1, None), (3, 9), (3, 9), (9, 9)]


async def test_a_stale_attempt_commits_nothing(
    database: Database,
    jobs: JobService,
    enqueue: Enqueue,
    make_scope: MakeScope,
    run_worker: RunWorker,
) -> None:
    scope = await make_scope()
    gate = Gate()
    refused: list[str] = []

    async def handle(context: JobContext) -> None:
        await gate(context)
        with pytest.raises(FencedError):
            await context.progress(1, 2)
        refused.append("progress")
        async with database.transaction(context.scope) as transaction:
            await insert_collection(transaction, scope, context.job_id)
            try:
                await context.still_mine(transaction)
            except FencedError:
                refused.append("commit")
                raise

    job_id = await enqueue(scope, "index")
    async with run_worker({"index": handler_of(handle)}):
        await seen(gate.reached)
        await take_over(database, job_id)
        gate.opened.set()
    assert refused == ["progress", "commit"]
    async with database.transaction(scope) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM collections") == 0
    job = await jobs.get_job(scope, job_id)
    assert (job.state, job.attempts, job.progress_done) == (JobState.RUNNING, 2, 0)


@pytest.mark.parametrize("outcome", ["succeeds", "fails", "fails_for_good"])
async def test_a_stale_attempt_records_no_outcome(
    outcome: str,
    database: Database,
    jobs: JobService,
    enqueue: Enqueue,
    make_scope: MakeScope,
    run_worker: RunWorker,
) -> None:
    scope = await make_scope()
    gate = Gate()

    async def handle(context: JobContext) -> None:
        await gate(context)
        if outcome != "succeeds":
            raise JobFailedError("late", "Too late.", permanent=outcome == "fails_for_good")

    job_id = await enqueue(scope, "index")
    async with run_worker({"index": handler_of(handle)}):
        await seen(gate.reached)
        await take_over(database, job_id)
        gate.opened.set()
    job = await jobs.get_job(scope, job_id)
    assert (job.state, job.attempts, job.failure) == (JobState.RUNNING, 2, None)


async def test_a_job_cannot_be_taken_over_between_the_check_and_the_commit(
    database: Database, enqueue: Enqueue, make_scope: MakeScope, run_worker: RunWorker
) -> None:
    scope = await make_scope()
    done = asyncio.Event()

    async def handle(context: JobContext) -> None:
        async with database.transaction(context.scope) as transaction:
            await context.still_mine(transaction)
            async with database.transaction_without_scope() as other:
                await other.execute("SET LOCAL lock_timeout = '50ms'")
                with pytest.raises(asyncpg.LockNotAvailableError):
                    async with other.transaction():
                        await JobRepository().claim_job(other, context.job_id)
        done.set()

    await enqueue(scope, "index")
    async with run_worker({"index": handler_of(handle)}):
        await seen(done)


async def test_a_stopping_worker_finishes_what_runs_and_starts_nothing(
    jobs: JobService, enqueue: Enqueue, make_scope: MakeScope, run_worker: RunWorker
) -> None:
    scope = await make_scope()
    gate = Gate()
    first = await enqueue(scope, "index")
    async with run_worker({"index": handler_of(gate)}) as worker:
        await seen(gate.reached)
        stopping = asyncio.create_task(worker.stop())
        second = await enqueue(scope, "index")
        gate.opened.set()
        await stopping
    assert (await jobs.get_job(scope, first)).state is JobState.SUCCEEDED
    assert (await jobs.get_job(scope, second)).state is JobState.QUEUED


async def test_a_job_that_outlasts_the_grace_period_is_anothers_at_once_and_loses_no_attempt(
    jobs: JobService, enqueue: Enqueue, make_scope: MakeScope, run_worker: RunWorker
) -> None:
    scope = await make_scope()
    gate, successor = Gate(), Gate()
    successor.opened.set()
    job_id = await enqueue(scope, "index", max_attempts=1)
    impatient = WorkerSettings(poll_seconds=0.02, grace_seconds=0.05)
    async with run_worker({"index": handler_of(gate)}, impatient):
        await seen(gate.reached)
    assert gate.cancelled.is_set()
    job = await jobs.get_job(scope, job_id)
    assert (job.state, job.attempts, job.failure) == (JobState.QUEUED, 0, None)
    async with run_worker({"index": handler_of(successor)}):
        await seen(successor.reached)
    assert (await jobs.get_job(scope, job_id)).state is JobState.SUCCEEDED


async def test_stopping_leaves_alone_what_is_only_being_recorded(
    database: Database,
    jobs: JobService,
    enqueue: Enqueue,
    make_scope: MakeScope,
    run_worker: RunWorker,
) -> None:
    scope = await make_scope()
    gate = Gate()
    job_id = await enqueue(scope, "index")
    async with run_worker({"index": handler_of(gate)}, replace(QUICK, grace_seconds=0)) as worker:
        await seen(gate.reached)
        async with database.transaction(scope) as transaction, asyncio.timeout(PATIENCE):
            await transaction.execute("SELECT FROM jobs FOR UPDATE")
            gate.opened.set()
            while not await transaction.fetchval(IS_BLOCKING):
                pass
            stopping = asyncio.create_task(worker.stop())
        await stopping
    assert (await jobs.get_job(scope, job_id)).state is JobState.SUCCEEDED


async def test_a_worker_that_never_ran_stops_at_once(database: Database) -> None:
    async with asyncio.timeout(30):
        await Worker(database, {}, clock=SetClock(), random=lambda: 0.5).stop()


async def test_no_more_jobs_of_a_kind_run_at_once_than_it_may(
    enqueue: Enqueue, make_scope: MakeScope, run_worker: RunWorker
) -> None:
    scope = await make_scope()
    running = {"embed": 0, "parse": 0}
    most = {"embed": 0, "parse": 0}
    left = {"embed": 12, "parse": 12}
    # Each waits for as many as may run: fewer at once would never be done.
    full = {"embed": asyncio.Barrier(1), "parse": asyncio.Barrier(3)}
    done = asyncio.Event()

    def count(kind: str) -> JobHandler:
        async def handle(context: JobContext) -> None:
            running[kind] += 1
            most[kind] = max(most[kind], running[kind])
            await full[kind].wait()
            await context.progress(0, 1)
            running[kind] -= 1
            left[kind] -= 1
            if not any(left.values()):
                done.set()

        return JobHandler(handle, PATIENCE, concurrency={"embed": 1, "parse": 3}[kind])

    for _ in range(12):
        await enqueue(scope, "embed")
        await enqueue(scope, "parse")
    async with run_worker({kind: count(kind) for kind in left}, QUICK):
        await seen(done)
    assert most == {"embed": 1, "parse": 3}


async def test_a_worker_outlives_a_connection_lost_while_it_looks_for_jobs(
    database: Database,
    database_urls: DatabaseUrls,
    enqueue: Enqueue,
    make_scope: MakeScope,
    run_worker: RunWorker,
) -> None:
    scope = await make_scope()
    gate = Gate()
    gate.opened.set()
    async with (
        Database(database_urls.migration, clock=SetClock(), size=1) as owner,
        run_worker({"index": handler_of(gate)}),
    ):
        async with owner.transaction_without_scope() as transaction:
            await transaction.execute("LOCK TABLE pgqueuer")
            own = await transaction.fetchval("SELECT pg_backend_pid()")
            async with asyncio.timeout(PATIENCE):
                while not await end_blocked_dequeue(database, own):
                    pass
        await enqueue(scope, "index")
        await seen(gate.reached)
