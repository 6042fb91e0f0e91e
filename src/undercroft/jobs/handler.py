"""What a feature module writes to have its jobs run, and what its handler is given."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from undercroft.jobs.errors import FencedError
from undercroft.jobs.models import Claim, JobFailure, Payload
from undercroft.jobs.repository import JobRepository
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.scope import Scope

_PROGRESS_SECONDS: Final = 1.0


class DeathHook(Protocol):
    """Told, in the transaction that marks a job dead, so that both commit or neither."""

    async def __call__(
        self, transaction: Transaction, scope: Scope, payload: Payload, failure: JobFailure
    ) -> None:
        """Record what the job's death means for what it was about."""
        ...


async def _leave(
    transaction: Transaction, scope: Scope, payload: Payload, failure: JobFailure
) -> None:
    """For a job whose death means nothing beyond itself."""
    del transaction, scope, payload, failure


@dataclass(frozen=True, slots=True)
class JobHandler:
    """How the jobs of one kind are run.

    Attributes:
        run: Does the work. May run again after it has succeeded (its worker can die before that is recorded), so its
            effects are such that repeating them changes nothing, or are committed with ``context.still_mine``.
        deadline_seconds: When an attempt is cancelled and counts as failed.
        concurrency: How many run at once in one worker.
        on_dead: Told when a job of this kind is given up, by a failure or because it keeps ending its workers.
    """

    run: Callable[["JobContext"], Awaitable[None]]
    deadline_seconds: float
    concurrency: int = 1
    on_dead: DeathHook = _leave


class JobContext:
    """One attempt at a job, as its handler sees it."""

    def __init__(
        self, claim: Claim, database: Database, repository: JobRepository, clock: Clock
    ) -> None:
        self._claim = claim
        self._database = database
        self._repository = repository
        self._clock = clock
        self._reported_at = float("-inf")

    @property
    def job_id(self) -> UUID:
        """The job."""
        return self._claim.job_id

    @property
    def scope(self) -> Scope:
        """The tenant and the owner of the job: everything the handler does, it does as them."""
        return self._claim

    @property
    def payload(self) -> Payload:
        """What was enqueued."""
        return self._claim.payload

    @property
    def attempt(self) -> int:
        """This attempt's number, from 1."""
        return self._claim.attempts

    async def progress(self, done: int, total: int | None) -> None:
        """Tell the owner how far the work is. Cheap to call often: written at most once a second, and at the end.

        Raises:
            FencedError: When the job was taken over.
        """
        now = self._clock.monotonic()
        if done != total and now - self._reported_at < _PROGRESS_SECONDS:
            return
        self._reported_at = now
        async with self._database.transaction(self._claim) as transaction:
            if not await self._repository.update_progress(transaction, self._claim, done, total):
                raise FencedError(self.job_id)

    async def still_mine(self, transaction: Transaction) -> None:
        """Make the handler's own transaction, opened for ``scope``, commit only while this attempt is the current one.

        A plain look at the fence would not do: between the look and the commit another worker could claim the job,
        do its work and finish, and this stale attempt's effects would land on top. The row lock makes the claim wait
        for this transaction: it commits before the other begins, or finds the fence raised. Call it late in a short
        transaction; PostgreSQL ends it when nothing is asked of it for five seconds.

        Raises:
            FencedError: When the job was taken over.
        """
        if not await self._repository.lock_job(transaction, self._claim):
            raise FencedError(self.job_id)
