"""Taking records to another version of their schema: tried first if wanted, then by a job, a batch at a time."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from asyncpg import Record as Row

from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.service import JobQueue
from undercroft.kit.crypto.aead import DecryptionError, bind, seal, unseal
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import ErrorKind, NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger
from undercroft.vault.records.changes import require_object
from undercroft.vault.records.models import (
    MIGRATION_PREFIX,
    DamagedRecord,
    DryRun,
    Failure,
    Migration,
    Record,
)
from undercroft.vault.records.patches import Operation, apply_patch
from undercroft.vault.records.preconditions import check_lease
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.records.sealing import digest_version
from undercroft.vault.records.storage import RecordStorage, check_plain, check_size, subject_of
from undercroft.vault.schemas.json_text import canonical, load_canonical
from undercroft.vault.schemas.models import Schema
from undercroft.vault.schemas.pointers import read_fields
from undercroft.vault.schemas.service import SchemaService
from undercroft.vault.schemas.service import subject_of as schema_subject

MIGRATE_JOB: Final = "records.migrate"
MOST_TRIED: Final = 1_000
"""Records in a dry run."""

_BATCH: Final = 20
_MOST_FAILURES: Final = 100
_DEADLINE_SECONDS: Final = 1_800.0
_OF_THE_RECORD: Final = frozenset(
    {
        ErrorKind.INVALID_REQUEST,
        ErrorKind.UNPROCESSABLE,
        ErrorKind.TOO_LARGE,
        ErrorKind.LOCKED,
    }
)
"""What keeps one record where it is, and not the others."""


class RecordMigrations:
    """Tries, starts and runs migrations of the principal's own records."""

    def __init__(
        self,
        database: Database,
        storage: RecordStorage,
        schemas: SchemaService,
        ledger: Ledger,
        queue: JobQueue,
        ids: IdSource,
    ) -> None:
        self._database = database
        self._storage = storage
        self._schemas = schemas
        self._ledger = ledger
        self._queue = queue
        self._ids = ids
        self._repository = RecordRepository()

    def handlers(self) -> Mapping[str, JobHandler]:
        """What a worker registers."""
        return {MIGRATE_JOB: JobHandler(self.run, _DEADLINE_SECONDS)}

    async def try_out(
        self,
        scope: Scope,
        schema_id: UUID,
        to_version: int | None,
        operations: Sequence[Operation],
    ) -> DryRun:
        """What a migration would do to the first 1,000 records; nothing is changed.

        Raises:
            NotFoundError: When the tenant has no such schema, or it has no such version.
        """
        valid, failures, after = 0, list[Failure](), None
        tried = 0
        while tried < MOST_TRIED:
            async with self._database.transaction(scope) as transaction:
                schema = await self._schemas.read(transaction, schema_id, to_version)
                ids = await self._repository.list_to_migrate(
                    transaction, schema_id, schema.version, after, _BATCH
                )
                page = await self._storage.read_page(transaction, ids, _BATCH)
                acts = [
                    Act("record.read", subject_of(record), record.owner_id, record.version)
                    for record in page.records
                    if isinstance(record, Record)
                ]
                await self._ledger.append(transaction, scope, *acts)
            found = [await self._try(schema, record, operations) for record in page.records]
            failures += [failure for failure in found if failure is not None]
            valid += sum(failure is None for failure in found)
            if len(ids) < _BATCH and not page.has_more:
                return DryRun(valid, len(failures), failures[:_MOST_FAILURES], True)
            tried, after = tried + len(found), page.records[-1].id if page.records else ids[-1]
        return DryRun(valid, len(failures), failures[:_MOST_FAILURES], False)

    async def start(
        self,
        scope: Scope,
        schema_id: UUID,
        to_version: int | None,
        operations: Sequence[Operation],
    ) -> Migration:
        """Have a job migrate all of the principal's records of a schema.

        Raises:
            NotFoundError: When the tenant has no such schema, or it has no such version.
        """
        migration_id = self._ids.new()
        async with self._database.transaction(scope) as transaction:
            schema = await self._schemas.read(transaction, schema_id, to_version)
            key = await self._schemas.key(transaction, schema_id)
            sealed = seal(
                key.material, canonical(operations), patch_place(scope.tenant_id, migration_id)
            )
            await self._repository.insert_migration(
                transaction, migration_id, schema_id, schema.version, sealed
            )
            job_id = await self._queue.enqueue(
                transaction, scope, MIGRATE_JOB, {"migration_id": str(migration_id)}
            )
            act = Act("record.migration", schema_subject(schema), schema.owner_id, schema.version)
            await self._ledger.append(transaction, scope, act)
            row = await self._find(transaction, migration_id)
        return _migration(row, job_id)

    async def get(self, scope: Scope, schema_id: UUID, migration_id: UUID) -> Migration:
        """How far a migration of the principal's is.

        Raises:
            NotFoundError: When there is none.
        """
        async with self._database.transaction(scope) as transaction:
            row = await self._find(transaction, migration_id)
        if row["schema_id"] != schema_id:
            raise _no_migration(migration_id)
        return _migration(row)

    async def run(self, context: JobContext) -> None:
        """Migrate batch by batch. What a batch did and how far it came commit together: nothing is done twice."""
        migration_id = UUID(str(context.payload["migration_id"]))
        while await self._run_batch(context, migration_id):
            pass

    async def _run_batch(self, context: JobContext, migration_id: UUID) -> bool:
        """Whether there may be more."""
        scope = context.scope
        async with self._database.transaction(scope) as transaction:
            row = await self._repository.find_migration(transaction, migration_id)
            if row is None or row["finished_at"] is not None:
                return False
            place = (row["schema_id"], row["to_version"], row["last_record_id"])
            ids = await self._repository.list_to_migrate(transaction, *place, _BATCH)
            if not ids:
                await context.still_mine(transaction)
                await self._repository.finish_migration(transaction, migration_id)
                return False
            remaining = await self._repository.count_to_migrate(transaction, *place)
            schema = await self._schemas.read(transaction, row["schema_id"], row["to_version"])
            operations = await self._open_patch(transaction, scope, row)
            await self._storage.begin_write(transaction)
            failed = [
                record_id
                for record_id in ids
                if not await self._migrate(transaction, scope, schema, record_id, operations)
            ]
            await self._repository.advance_migration(
                transaction, migration_id, ids[-1], len(ids) - len(failed), failed
            )
            await context.still_mine(transaction)
        done = row["migrated"] + row["failed"]
        # Counted by a later statement than these were listed: some may have been deleted in between.
        await context.progress(done + len(ids), done + max(remaining, len(ids)))
        return True

    async def _migrate(
        self,
        transaction: Transaction,
        scope: Scope,
        schema: Schema,
        record_id: UUID,
        operations: Sequence[Operation],
    ) -> bool:
        """Whether a record is at the version now, or gone."""
        # Against an edit at the same time: it waits, and is then refused as stale, or was first and is seen here.
        locked = await self._repository.lock_record(transaction, record_id)
        if locked is None:
            return True
        try:
            check_lease(locked, None)
            record = await self._storage.read(transaction, record_id)
            if record is None or record.schema_version == schema.version:
                return True
            data = await self._convert(schema, record, operations)
        except UndercroftError as error:
            if _is_of_the_record(error):
                return False
            raise
        await self._storage.rewrite(transaction, scope, record, schema, data)
        act = Act(
            "record.migrate",
            subject_of(record),
            record.owner_id,
            record.latest + 1,
            content=digest_version(schema.id, schema.version, data),
        )
        await self._ledger.append(transaction, scope, act)
        return True

    async def _try(
        self, schema: Schema, record: Record | DamagedRecord, operations: Sequence[Operation]
    ) -> Failure | None:
        try:
            if isinstance(record, DamagedRecord):
                raise DecryptionError
            await self._convert(schema, record, operations)
        except UndercroftError as error:
            if not _is_of_the_record(error):
                raise
            return Failure(record.id, error.message)
        return None

    async def _convert(
        self, schema: Schema, record: Record, operations: Sequence[Operation]
    ) -> dict[str, Any]:
        # A large patch takes too long for the event loop.
        data = await asyncio.to_thread(lambda: require_object(apply_patch(record.data, operations)))
        check_size(data)
        check_plain(read_fields(data, schema.definition.plain_fields))
        (await self._schemas.validator(schema)).check(data)
        return data

    async def _open_patch(
        self, transaction: Transaction, scope: Scope, row: Row
    ) -> Sequence[Operation]:
        key = await self._schemas.key(transaction, row["schema_id"])
        context = patch_place(scope.tenant_id, row["id"])
        operations: Sequence[Operation] = load_canonical(
            unseal(key.material, row["sealed_patch"], context)
        )
        return operations

    async def _find(self, transaction: Transaction, migration_id: UUID) -> Row:
        row = await self._repository.find_migration(transaction, migration_id)
        if row is None:
            raise _no_migration(migration_id)
        return row


def _is_of_the_record(error: UndercroftError) -> bool:
    return error.kind in _OF_THE_RECORD or isinstance(error, DecryptionError)


def patch_place(tenant_id: UUID, migration_id: UUID) -> bytes:
    """What a migration's sealed patch is bound to."""
    return bind(tenant_id, "record_migrations", migration_id, "sealed_patch")


def _no_migration(migration_id: UUID) -> NotFoundError:
    return NotFoundError("migration", render_id(MIGRATION_PREFIX, migration_id))


def _migration(row: Row, job_id: UUID | None = None) -> Migration:
    return Migration(
        id=row["id"],
        schema_id=row["schema_id"],
        to_version=row["to_version"],
        migrated=row["migrated"],
        failed=row["failed"],
        failed_record_ids=row["failed_record_ids"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        job_id=job_id,
    )
