"""``undercroft jobs``: the operator's view of what was given up."""

from collections.abc import Sequence
from uuid import UUID

from undercroft.commands.databases import connect_any_database
from undercroft.jobs.models import Job
from undercroft.jobs.service import JobService
from undercroft.kit.settings import Settings


async def list_dead_jobs(settings: Settings, limit: int) -> Sequence[Job]:
    """The dead jobs of every tenant, oldest first."""
    async with connect_any_database(settings) as database:
        return await JobService(database).list_dead(limit=limit)


async def retry_job(settings: Settings, job_id: UUID) -> None:
    """Queue a dead job again."""
    async with connect_any_database(settings) as database:
        await JobService(database).retry(job_id)
