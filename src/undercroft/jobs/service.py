"""Enqueueing jobs, and reading and retrying them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import UniqueViolationError

from undercroft.jobs.errors import DuplicateJobError
from undercroft.jobs.models import Job, JobCount, JobState, Payload
from undercroft.jobs.repository import JobRepository
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError, UnavailableError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope

JOB_PREFIX: Final = "job_"

_LARGEST_PAGE: Final = 1000
_DEDUPE_TRIES: Final = 5


class JobQueue:
    """Puts jobs in line."""

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids
        self._repository = JobRepository()

    async def enqueue(
        self,
        transaction: Transaction,
        scope: Scope,
        kind: str,
        payload: Payload,
        *,
        dedupe_key: str | None = None,
        max_attempts: int = 5,
        delay: timedelta = timedelta(0),
    ) -> UUID:
        """Queue a job in the caller's own transaction: it exists if and only if that commits.

        Args:
            transaction: Opened for ``scope``.
            scope: Whose job it is, and with whose rights its handler runs.
            kind: Which handler runs it: lower case letters, digits, dots and underscores.
            payload: Ids and small numbers, at most 8 KiB as JSON.
            dedupe_key: While a job of this tenant and kind with this key is queued or running, no other is made. One
                that is running may have read its input already, so the key names a piece of work that repeating
                would not change. At most 200 characters.
            max_attempts: After how many failed or crashed attempts it is dead, 1 to 100.
            delay: How long to wait before its first attempt.

        Returns:
            The new job's id, or the live one's with the same key.

        Raises:
            UnavailableError: When jobs with this key came and went as often as it tried.
        """
        # A job with the key may finish between the refused insert and the look for its id: then the way is free, and
        # the insert is tried again.
        for _ in range(_DEDUPE_TRIES):
            job_id = self._ids.new()
            if await self._repository.insert_job(
                transaction, scope, job_id, kind, payload, dedupe_key, max_attempts, delay
            ):
                return job_id
            if dedupe_key is not None:
                live = await self._repository.find_live_job(transaction, scope, kind, dedupe_key)
                if live is not None:
                    return live
        raise UnavailableError("The queue is busy with this very task; try again.")


class JobService:
    """Reads jobs for their owners; lists, counts and retries every tenant's for the operator."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = JobRepository()

    async def get_job(self, scope: Scope, job_id: UUID) -> Job:
        """One of the principal's own jobs.

        Raises:
            NotFoundError: When there is none, or it is another's.
        """
        async with self._database.transaction(scope) as transaction:
            job = await self._repository.find_job(transaction, scope, job_id)
        if job is None:
            raise NotFoundError("job", render_id(JOB_PREFIX, job_id))
        return job

    async def list_jobs(
        self,
        scope: Scope,
        *,
        state: JobState | None = None,
        after: UUID | None = None,
        limit: int = 100,
    ) -> Sequence[Job]:
        """The principal's own jobs, oldest first, from after the given one; at most 1,000."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.list_jobs(
                transaction, scope, state, after, min(limit, _LARGEST_PAGE)
            )

    async def list_dead(self, *, limit: int = 100, after: UUID | None = None) -> Sequence[Job]:
        """For the operator: every tenant's dead jobs, oldest first, from after the given one; at most 1,000."""
        async with self._database.transaction_without_scope() as transaction:
            return await self._repository.list_dead_jobs(
                transaction, after, min(limit, _LARGEST_PAGE)
            )

    async def retry(self, job_id: UUID) -> None:
        """For the operator: queue a dead job again, with all its attempts.

        Raises:
            NotFoundError: When no dead job has this id.
            DuplicateJobError: When a live job has its dedupe key.
        """
        try:
            async with self._database.transaction_without_scope() as transaction:
                found = await self._repository.retry_dead_job(transaction, job_id)
        except UniqueViolationError as error:
            raise DuplicateJobError(job_id) from error
        if not found:
            raise NotFoundError("dead job", render_id(JOB_PREFIX, job_id))

    async def count(self) -> Sequence[JobCount]:
        """For metrics: every tenant's queued, running and dead jobs, by kind and state."""
        async with self._database.transaction_without_scope() as transaction:
            return await self._repository.count_jobs(transaction)
