"""The statements of ``queries.sql``, one method each."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.jobs.models import Claim, Job, JobCount, JobFailure, JobState, Payload
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.jobs")


class JobRepository:
    """Jobs, in transactions of their tenant; what takes no scope crosses tenants through a function."""

    async def insert_job(
        self,
        connection: AnyConnection,
        scope: Scope,
        job_id: UUID,
        kind: str,
        payload: Payload,
        dedupe_key: str | None,
        max_attempts: int,
        delay: timedelta,
    ) -> bool:
        """Queue a job; False when a live one has its dedupe key."""
        row = await _QUERIES.maybe(
            connection,
            "insert_job",
            job_id,
            scope.tenant_id,
            scope.principal_id,
            kind,
            payload,
            dedupe_key,
            max_attempts,
            delay,
        )
        return row is not None

    async def find_live_job(
        self, connection: AnyConnection, scope: Scope, kind: str, dedupe_key: str
    ) -> UUID | None:
        """The queued or running job with this key."""
        return await _QUERIES.value(connection, "find_live_job", scope.tenant_id, kind, dedupe_key)

    async def find_job(self, connection: AnyConnection, scope: Scope, job_id: UUID) -> Job | None:
        """One of the principal's own jobs."""
        row = await _QUERIES.maybe(
            connection, "find_job", scope.tenant_id, scope.principal_id, job_id
        )
        return None if row is None else _read_job(row)

    async def list_jobs(
        self,
        connection: AnyConnection,
        scope: Scope,
        state: JobState | None,
        after: UUID | None,
        limit: int,
    ) -> list[Job]:
        """The principal's own jobs, oldest first."""
        rows = await _QUERIES.many(
            connection, "list_jobs", scope.tenant_id, scope.principal_id, state, after, limit
        )
        return [_read_job(row) for row in rows]

    async def list_dead_jobs(
        self, connection: AnyConnection, after: UUID | None, limit: int
    ) -> list[Job]:
        """Every tenant's dead jobs, oldest first."""
        rows = await _QUERIES.many(connection, "list_dead_jobs", after, limit)
        return [_read_job(row) for row in rows]

    async def retry_dead_job(self, connection: AnyConnection, job_id: UUID) -> bool:
        """Queue a dead job again; False when there is none."""
        return bool(await _QUERIES.value(connection, "retry_dead_job", job_id))

    async def count_jobs(self, connection: AnyConnection) -> list[JobCount]:
        """Every tenant's queued, running and dead jobs, by kind and state."""
        rows = await _QUERIES.many(connection, "count_jobs")
        return [
            JobCount(row["kind"], JobState(row["state"]), row["job_count"], row["oldest_at"])
            for row in rows
        ]

    async def claim_job(self, connection: AnyConnection, job_id: UUID) -> Claim | None:
        """Begin the next attempt; None when the job is no longer to run."""
        row = await _QUERIES.maybe(connection, "claim_job", job_id)
        if row is None:
            return None
        return Claim(
            job_id=job_id,
            tenant_id=row["tenant_id"],
            principal_id=row["owner_id"],
            kind=row["kind"],
            payload=row["payload"],
            fence=row["fence"],
            attempts=row["attempts"],
            max_attempts=row["max_attempts"],
        )

    async def lock_job(self, connection: AnyConnection, claim: Claim) -> bool:
        """Keep the job from being claimed until the transaction ends; False when it already was."""
        return await _QUERIES.value(connection, "lock_job", *_fence(claim)) is not None

    async def update_progress(
        self, connection: AnyConnection, claim: Claim, done: int, total: int | None
    ) -> bool:
        """Record progress; False when fenced."""
        return (
            await _QUERIES.execute(connection, "update_progress", *_fence(claim), done, total) == 1
        )

    async def complete_job(self, connection: AnyConnection, claim: Claim) -> bool:
        """The job has succeeded; False when fenced."""
        return await _QUERIES.value(connection, "complete_job", *_fence(claim)) is not None

    async def requeue_job(
        self, connection: AnyConnection, claim: Claim, failure: JobFailure
    ) -> bool:
        """The attempt has failed and another will follow; False when fenced."""
        return (
            await _QUERIES.execute(
                connection, "requeue_job", *_fence(claim), failure.code, failure.message
            )
            == 1
        )

    async def release_job(self, connection: AnyConnection, claim: Claim) -> bool:
        """The attempt was given up and does not count; False when fenced."""
        return await _QUERIES.execute(connection, "release_job", *_fence(claim)) == 1

    async def bury_job(self, connection: AnyConnection, claim: Claim, failure: JobFailure) -> bool:
        """The job has failed for good; False when fenced."""
        buried = await _QUERIES.value(
            connection, "bury_job", *_fence(claim), failure.code, failure.message
        )
        return buried is not None

    async def redispatch_lost_jobs(self, connection: AnyConnection, limit: int) -> int:
        """Put live jobs that PgQueuer does not know back in line; how many there were."""
        return int(await _QUERIES.value(connection, "redispatch_lost_jobs", limit))

    async def prune_jobs(self, connection: AnyConnection, limit: int) -> int:
        """Delete finished jobs past their time; how many there were."""
        return int(await _QUERIES.value(connection, "prune_jobs", limit))

    async def delete_dispatch(
        self, connection: AnyConnection, dispatch_id: int, holder: UUID
    ) -> bool:
        """Remove one of PgQueuer's rows, if ``holder`` still holds it."""
        return await _QUERIES.execute(connection, "delete_dispatch", dispatch_id, holder) == 1

    async def requeue_dispatches(
        self, connection: AnyConnection, ids: Sequence[int], holder: UUID | None, delay: timedelta
    ) -> int:
        """Offer those of PgQueuer's rows that ``holder`` still holds to every worker."""
        return await _QUERIES.execute(connection, "requeue_dispatches", ids, holder, delay)

    async def extend_dispatches(
        self, connection: AnyConnection, ids: Sequence[int], holder: UUID | None
    ) -> int:
        """Beat the heart of those of PgQueuer's rows that ``holder`` still holds."""
        return await _QUERIES.execute(connection, "extend_dispatches", ids, holder)


def _fence(claim: Claim) -> tuple[UUID, UUID, int]:
    return claim.tenant_id, claim.job_id, claim.fence


def _read_job(row: Record) -> Job:
    code = row["error_code"]
    return Job(
        id=row["id"],
        tenant_id=row["tenant_id"],
        owner_id=row["owner_id"],
        kind=row["kind"],
        payload=row["payload"],
        dedupe_key=row["dedupe_key"],
        state=JobState(row["state"]),
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        progress_done=row["progress_done"],
        progress_total=row["progress_total"],
        failure=None if code is None else JobFailure(code, row["error_message"]),
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
