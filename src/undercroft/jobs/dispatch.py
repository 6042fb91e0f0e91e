"""PgQueuer, fitted in: it polls through our pool, holds each kind to its limit, and touches only what it still holds.

The library decides which worker runs a job next; ``jobs`` says what became of it (``migrations/0003_jobs.sql``).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.tm import TaskManager
from pgqueuer.domain.models import Job, TableChangedEvent, TracebackRecord
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import (
    JOB_STATUS,
    Channel,
    JobId,
    QueueEntrypoint,
    QueueManagerId,
)
from pgqueuer.ports.driver import Driver, NotifyCallback
from pgqueuer.ports.repository import EntrypointExecutionParameter

from undercroft.jobs.repository import JobRepository
from undercroft.kit.database import DATABASE_GONE, Database

CHANNEL: Final = Channel("ch_pgqueuer")
_BROKEN_SECONDS: Final = 2.0
_log: Final = structlog.stdlib.get_logger(__name__)


def pgqueuer_settings() -> DBSettings:
    """The names in ``migrations/0003_jobs.sql``.

    Spelled out, because the library would read each from the environment, from variables as common as ``CHANNEL``.
    """
    return DBSettings(
        prefix="",
        db_schema=None,
        channel=CHANNEL,
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.balanced,
    )


class PollingDriver(Driver):
    """Runs the library's statements, each a transaction of its own, and its notifications within this process.

    Nothing is LISTENed for: no session state, so PgBouncer in transaction mode may stand in between.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._callbacks: list[NotifyCallback] = []
        self._shutdown = asyncio.Event()
        self._tasks = TaskManager()

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Run a statement that answers rows."""
        async with self._database.statement_without_scope() as connection:
            return [dict(row) for row in await connection.fetch(query, *args)]

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement that answers none."""
        async with self._database.statement_without_scope() as connection:
            return await connection.execute(query, *args)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Remember whom to tell."""
        del channel
        self._callbacks.append(callback)

    async def notify(self, channel: str, payload: str) -> None:
        """Tell everybody in this process."""
        del channel
        for callback in self._callbacks:
            callback(payload)

    async def wake(self) -> None:
        """Have the library look for jobs now."""
        event = TableChangedEvent(
            channel=CHANNEL,
            sent_at=datetime.now(UTC),
            type="table_changed_event",
            operation="update",
            table="pgqueuer",
        )
        await self.notify(CHANNEL, event.model_dump_json())

    @property
    def shutdown(self) -> asyncio.Event:
        """Unused: the worker stops the library's loop itself."""
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        """Tasks of the driver: none."""
        return self._tasks

    async def __aenter__(self) -> "PollingDriver":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._callbacks.clear()


class DispatchQueries(Queries):
    """The library's statements, with the changes that one worker needs.

    - Each kind has a limit for this worker; the library's own limits are for all workers together.
    - A row is removed in the transaction that ends its job, and requeued or kept alive only by its holder. The library
      goes by the row's id alone: a worker that stalled, lost a job to another and then woke up would remove the row
      under the other, and if that one died the job would be lost.
    - A database that is away for a moment means no jobs for a moment, not the worker's end.

    Args:
        database: Where to run them.
        limits: For each kind, how many of its jobs this worker holds at most.
    """

    def __init__(self, database: Database, limits: Mapping[str, int]) -> None:
        settings = pgqueuer_settings()
        self._polling = PollingDriver(database)
        super().__init__(
            driver=self._polling,
            qbe=QueryBuilderEnvironment(settings),
            qbq=QueryQueueBuilder(settings),
            qbs=QuerySchedulerBuilder(settings),
        )
        self._database = database
        self._limits = limits
        self._repository = JobRepository()
        self._held: dict[JobId, str] = {}
        self._holder: UUID | None = None
        self._is_reachable = True

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        """Pick jobs, of each kind as many as it has room for."""
        del batch_size
        self._holder = queue_manager_id
        picked: list[Job] = []
        ask = super().dequeue

        async def pick(
            most: int, kinds: dict[QueueEntrypoint, EntrypointExecutionParameter]
        ) -> bool:
            found = await ask(
                most, kinds, queue_manager_id, global_concurrency_limit, heartbeat_timeout
            )
            picked.extend(found)
            self._held.update((job.id, job.entrypoint) for job in found)
            return bool(found)

        try:
            with_room = {kind: each for kind, each in entrypoints.items() if self._room(kind) > 0}
            # One of any kind first: mostly there is none, and a statement for each kind would find out nothing else.
            if with_room and await pick(1, with_room):
                for kind, parameters in with_room.items():
                    room = self._room(kind)
                    if room > 0:
                        await pick(room, {kind: parameters})
        except DATABASE_GONE as error:
            # What was picked before is returned: it is this worker's to run.
            self._note_reachable(reachable=False, error=error)
        else:
            self._note_reachable(reachable=True)
        return picked

    def _room(self, kind: str) -> int:
        """How many more jobs of a kind may be held."""
        return self._limits[kind] - Counter(self._held.values())[kind]

    async def eligible_queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """Zero: this and the next two only shorten the library's wait, which is a short poll here."""
        del entrypoints
        return 0

    async def next_deferred_eta(self, entrypoints: list[QueueEntrypoint]) -> timedelta | None:
        """None, as above."""
        del entrypoints

    async def queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """Zero, as above."""
        del entrypoints
        return 0

    async def log_jobs(
        self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]
    ) -> None:
        """Make room. What was dealt with has no row any more; what broke off is for another try.

        Broken off is what the worker could not record: its connection was lost, or it was cancelled itself.
        """
        broken = [job.id for job, status, _ in job_status if status != "successful"]
        if broken:
            await self._requeue(broken, timedelta(seconds=_BROKEN_SECONDS))
        await self._let_go([job.id for job, _, _ in job_status])

    async def retry_job(
        self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None
    ) -> None:
        """Offer a job again after a delay."""
        del traceback_record
        await self._requeue([job.id], delay)
        await self._let_go([job.id])

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        """Keep jobs from being taken over."""
        async with self._database.transaction_without_scope() as transaction:
            await self._repository.extend_dispatches(transaction, job_ids, self._holder)

    async def _requeue(self, ids: list[JobId], delay: timedelta) -> None:
        async with self._database.transaction_without_scope() as transaction:
            await self._repository.requeue_dispatches(transaction, ids, self._holder, delay)

    async def _let_go(self, ids: list[JobId]) -> None:
        for job_id in ids:
            self._held.pop(job_id, None)
        await self._polling.wake()

    def _note_reachable(self, *, reachable: bool, error: Exception | None = None) -> None:
        """Log a change once, not every poll."""
        if reachable != self._is_reachable:
            self._is_reachable = reachable
            if reachable:
                _log.info("jobs_database_back")
            else:
                _log.warning("jobs_database_gone", error=repr(error))
