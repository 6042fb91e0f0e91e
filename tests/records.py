"""Records and schemas over a database, wired as the application wires them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.conftest import Member
from undercroft.jobs.handler import JobContext
from undercroft.jobs.models import Claim
from undercroft.jobs.repository import JobRepository
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.records.changes import Change
from undercroft.vault.records.locks import RecordLocks
from undercroft.vault.records.migrations import RecordMigrations
from undercroft.vault.records.models import DamagedRecord, Precondition, Record
from undercroft.vault.records.service import RecordService
from undercroft.vault.records.storage import RecordStorage
from undercroft.vault.schemas.models import Definition, Schema
from undercroft.vault.schemas.service import SchemaService

ANY = Precondition(None)

PERSON = Definition(
    schema={
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 100},
            "city": {"type": "string"},
            "email": {"type": "string", "format": "email"},
            "health": {"type": "object"},
            "age": {"type": "integer", "minimum": 0},
        },
        "required": ["name"],
        "additionalProperties": False,
    },
    plain_fields=("/city",),
    sensitive_fields=("/email", "/health"),
    indexed_fields=("/email", "/name"),
)
ANN: Mapping[str, Any] = {
    "name": "Ann",
    "city": "Ulm",
    "email": "ann@example.org",
    "health": {"allergies": ["nuts"]},
    "age": 40,
}


@dataclass(frozen=True, slots=True)
class Cabinet:
    """The services, and what they run on."""

    database: Database
    keys: KeyRing
    ledger: Ledger
    storage: RecordStorage
    schemas: SchemaService
    records: RecordService
    locks: RecordLocks
    migrations: RecordMigrations

    async def person_schema(self, scope: Member) -> Schema:
        """The schema of persons."""
        return await self.schemas.create(scope, "person", PERSON)

    async def ann(self, scope: Member) -> Record:
        """A record under a schema of its own."""
        schema = await self.person_schema(scope)
        return await self.records.create(scope, schema.id, ANN)

    async def claim(self, scope: Member, job_id: UUID) -> JobContext:
        """Begin an attempt at a job, as a worker does."""
        async with self.database.transaction_without_scope() as transaction:
            claim: Claim | None = await JobRepository().claim_job(transaction, job_id)
        assert claim is not None
        assert claim.tenant_id == scope.tenant_id
        return JobContext(claim, self.database, JobRepository(), SystemClock())

    async def actions(self, scope: Member) -> list[tuple[str, str]]:
        """What the ledger holds of the tenant: actions with their outcomes."""
        async with self.database.transaction(scope) as transaction:
            rows = await transaction.fetch(
                "SELECT action, outcome FROM ledger_pending ORDER BY xid, ordinal"
            )
        return [(row["action"], row["outcome"]) for row in rows]

    async def count(self, scope: Member, table: str) -> int:
        """How many rows of the tenant's a table has."""
        async with self.database.transaction(scope) as transaction:
            return int(await transaction.fetchval(f"SELECT count(*) FROM {table}"))


async def open_cabinet(database: Database, folder: Path) -> Cabinet:
    """An empty cabinet on a migrated database."""
    ids, clock = IdSource(), SystemClock()
    keys = KeyRing(await KeyFile.open(folder / "provider.key"), ids)
    ledger = Ledger(database, ids, clock)
    storage = RecordStorage(keys, ids)
    schemas = SchemaService(database, keys, ledger, ids)
    records = RecordService(database, storage, schemas, ledger)
    locks = RecordLocks(records, ledger)
    migrations = RecordMigrations(database, storage, schemas, ledger, JobQueue(ids), ids)
    return Cabinet(database, keys, ledger, storage, schemas, records, locks, migrations)


def made_from(record: Record) -> Precondition:
    """What holds for a change made from that version."""
    return Precondition(frozenset({record.version}))


def changed(**members: object) -> Change:
    """A change that sets members."""

    def change(data: Mapping[str, Any]) -> object:
        return {**data, **members}

    return change


def ids_of(records: Sequence[Record | DamagedRecord]) -> list[UUID]:
    """In their order."""
    return [record.id for record in records]
