"""What waits to be indexed: what is less urgent gives way to it."""

from undercroft.jobs.models import JobState
from undercroft.jobs.service import JobService
from undercroft.kit.database import Database
from undercroft.retrieval.index.models import INDEX_JOB


class IndexBacklog:
    """Of every tenant."""

    def __init__(self, database: Database) -> None:
        self._jobs = JobService(database)

    async def exists(self) -> bool:
        """Whether a content waits to be indexed, or is being indexed."""
        live = (JobState.QUEUED, JobState.RUNNING)
        return any(
            counted.kind == INDEX_JOB and counted.state in live
            for counted in await self._jobs.count()
        )
