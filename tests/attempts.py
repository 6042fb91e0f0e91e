"""Attempts at jobs, one at a time and when the test says so, in its own process: no worker, no waiting."""

from collections.abc import Mapping
from dataclasses import dataclass

from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.models import Claim
from undercroft.jobs.repository import JobRepository
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.scope import Scope


@dataclass(frozen=True, slots=True)
class Attempts:
    """Runs the tenant's jobs by these handlers."""

    database: Database
    handlers: Mapping[str, JobHandler]

    async def claim(self, scope: Scope, state: str = "queued") -> Claim | None:
        """Begin an attempt at the tenant's oldest job in that state, whether its time has come or not."""
        async with self.database.transaction(scope) as transaction:
            job_id = await transaction.fetchval(
                "SELECT id FROM jobs WHERE state = $1 ORDER BY id LIMIT 1", state
            )
        if job_id is None:
            return None
        async with self.database.transaction_without_scope() as transaction:
            return await JobRepository().claim_job(transaction, job_id)

    async def run(self, claim: Claim) -> None:
        """Run an attempt, and record its success."""
        context = JobContext(claim, self.database, JobRepository(), SystemClock())
        await self.handlers[claim.kind].run(context)
        async with self.database.transaction(claim) as transaction:
            assert await JobRepository().complete_job(transaction, claim)

    async def run_next(self, scope: Scope) -> bool:
        """Run the oldest queued job; whether there was one."""
        claim = await self.claim(scope)
        if claim is None:
            return False
        await self.run(claim)
        return True
