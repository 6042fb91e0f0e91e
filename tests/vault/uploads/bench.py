"""The services of uploads, and what the tests do with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.conftest import Member
from undercroft.jobs.handler import JobContext
from undercroft.jobs.repository import JobRepository
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.intake import Intake
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import DocumentService
from undercroft.vault.uploads.models import Upload
from undercroft.vault.uploads.parts import PartStore
from undercroft.vault.uploads.service import UploadService
from undercroft.vault.uploads.tasks import UploadTasks
from undercroft.vault.usage.models import Quotas
from undercroft.vault.usage.service import UsageService

LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Bench:
    """The services, and where their files are."""

    database: Database
    folder: Path
    documents: DocumentService
    uploads: UploadService
    usage: UsageService
    tasks: UploadTasks

    async def begin(self, scope: Member, parts: Sequence[bytes]) -> tuple[Upload, list[UUID]]:
        """An upload with these parts; their ids."""
        size = sum(map(len, parts))
        upload = await self.uploads.create(scope, "mill.txt", "user_data", size)
        return upload, [await self.add(scope, upload.id, part) for part in parts]

    async def add(self, scope: Member, upload_id: UUID, content: bytes) -> UUID:
        """Add a part."""
        incoming = await self.uploads.begin_part(scope, upload_id)
        try:
            await incoming.write(content)
            return (await self.uploads.add_part(scope, upload_id, incoming)).id
        finally:
            await incoming.close()

    async def read(self, scope: Member, document_id: UUID) -> bytes:
        """The bytes of a document."""
        _, blocks = await self.documents.read(scope, document_id)
        return b"".join([block async for block in blocks])

    async def run_expiry(self, scope: Member, database: Database) -> None:
        """Run the tenant's only job now, as a worker would."""
        async with database.transaction(scope) as transaction:
            job_id = await transaction.fetchval("SELECT id FROM jobs WHERE state = 'queued'")
        repository = JobRepository()
        async with database.transaction_without_scope() as transaction:
            claim = await repository.claim_job(transaction, job_id)
        assert claim is not None
        (handler,) = self.tasks.handlers().values()
        await handler.run(JobContext(claim, self.database, repository, SystemClock()))

    async def value(self, scope: Member, sql: str, *arguments: object) -> Any:  # noqa: ANN401 - a column's type is the database's
        """One value out of the database."""
        async with self.database.transaction(scope) as transaction:
            return await transaction.fetchval(sql, *arguments)

    async def actions(self, scope: Member) -> list[str]:
        """What the ledger has, in order."""
        async with self.database.transaction(scope) as transaction:
            rows = await transaction.fetch(
                "SELECT action, outcome FROM ledger_pending ORDER BY xid, ordinal"
            )
        return [f"{row['action']} {row['outcome']}" for row in rows]

    def files(self) -> list[Path]:
        """Every file of the store, and of what is being received."""
        return sorted(
            path
            for folder in ("blobs", "staging")
            for path in (self.folder / folder).rglob("*")
            if path.is_file()
        )


async def make_bench(
    database: Database,
    folder: Path,
    quotas: Quotas | None = None,
    provider: KeyProvider | None = None,
) -> Bench:
    """The services over a database and a folder; again over the same, as after a restart."""
    ids = IdSource()
    blobs, staging = LocalBlobStore(folder / "blobs"), Staging(folder / "staging", ids)
    keys = KeyRing(provider or await KeyFile.open(folder / "provider.key"), ids)
    ledger = Ledger(database, ids, SystemClock())
    usage = UsageService(database, quotas or Quotas())
    intake = Intake(blobs, staging, keys, usage, ids, detect_media_type, LIMIT)
    documents = DocumentService(database, blobs, intake, keys, ledger, ids)
    uploads = UploadService(
        database,
        PartStore(blobs, staging, keys, ids),
        intake,
        documents,
        keys,
        usage,
        ledger,
        JobQueue(ids),
        ids,
        LIMIT,
    )
    tasks = UploadTasks(database, blobs, ledger)
    return Bench(database, folder, documents, uploads, usage, tasks)
