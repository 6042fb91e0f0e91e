"""Real worker processes, really killed."""

import asyncio
import time

from tests.conftest import MakeScope
from tests.jobs.conftest import PATIENCE, Enqueue, StartProcess
from undercroft.jobs.models import JobFailure, JobState
from undercroft.jobs.service import JobService
from undercroft.jobs.worker import WorkerSettings


async def next_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode().strip()


async def test_a_killed_workers_job_runs_again_long_before_the_sweep_would_find_it(
    jobs: JobService, enqueue: Enqueue, make_scope: MakeScope, start_process: StartProcess
) -> None:
    scope = await make_scope()
    as_shipped = WorkerSettings().heartbeat_timeout_seconds
    first = await start_process(as_shipped)
    assert await next_line(first) == "ready"
    job_id = await enqueue(scope, "hang")
    assert await next_line(first) == "attempt 1"
    second = await start_process(as_shipped)
    assert await next_line(second) == "ready"

    killed_at = time.monotonic()
    first.kill()
    assert await next_line(second) == "attempt 2"
    # Six seconds after its last heartbeat, and some for a loaded machine; the sweep that finds what else was lost comes
    # after thirty.
    assert as_shipped <= 6
    assert time.monotonic() - killed_at < 25
    assert (await jobs.get_job(scope, job_id)).attempts == 2


async def test_a_job_that_kills_its_worker_each_time_ends_dead(
    jobs: JobService, enqueue: Enqueue, make_scope: MakeScope, start_process: StartProcess
) -> None:
    scope = await make_scope()
    job_id = await enqueue(scope, "kill", max_attempts=2)
    for attempt in (1, 2):
        process = await start_process(0.5)
        assert await next_line(process) == "ready"
        assert await next_line(process) == f"attempt {attempt}"
        assert await process.wait() == -9

    survivor = await start_process(0.5)
    assert await next_line(survivor) == "ready"
    assert await next_line(survivor) == "dead attempts_exhausted"
    survivor.terminate()
    assert await survivor.wait() == 0
    job = await jobs.get_job(scope, job_id)
    assert (job.state, job.attempts) == (JobState.DEAD, 2)
    assert job.failure == JobFailure(
        "attempts_exhausted",
        "The job ended its worker process each time it ran and was given up.",
    )
    assert [dead.id for dead in await jobs.list_dead()] == [job_id]


async def test_a_terminated_worker_hands_its_job_to_the_next(
    jobs: JobService, enqueue: Enqueue, make_scope: MakeScope, start_process: StartProcess
) -> None:
    scope = await make_scope()
    first = await start_process(PATIENCE)
    assert await next_line(first) == "ready"
    job_id = await enqueue(scope, "hang")
    assert await next_line(first) == "attempt 1"
    first.terminate()
    assert await first.wait() == 0
    assert (await jobs.get_job(scope, job_id)).state is JobState.QUEUED
    second = await start_process(PATIENCE)
    assert await next_line(second) == "ready"
    assert await next_line(second) == "attempt 1"
