"""``undercroft jobs``: the operator's view of what was given up."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from undercroft.commands.databases import open_any_database
from undercroft.jobs.models import Job
from undercroft.jobs.service import JobService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.settings import Settings


async def list_dead_jobs(settings: Settings, limit: int) -> Sequence[Job]:
    """The dead jobs of every tenant, oldest first."""
    async with _open_jobs(settings) as jobs:
        return await jobs.list_dead(limit=limit)


async def retry_job(settings: Settings, job_id: UUID) -> None:
    """Queue a dead job again."""
    async with _open_jobs(settings) as jobs:
        await jobs.retry(job_id)


@asynccontextmanager
async def _open_jobs(settings: Settings) -> AsyncGenerator[JobService]:
    async with (
        open_any_database(settings) as url,
        Database(
            url, clock=SystemClock(), size=2, statement_cache=settings.database_statement_cache
        ) as database,
    ):
        yield JobService(database)
