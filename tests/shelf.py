"""Documents, collections and their index over one test's database, with every real part and no worker: jobs run when
the test says so, in its own process.
"""

import io
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.documents import make_documents, make_versions
from tests.loaded_once import loaded_model, shared_sandbox
from tests.stepping import PATIENCE, PausingEmbedder, SteppedDatabase
from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.models import Claim
from undercroft.jobs.repository import JobRepository
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.batches.service import FileBatchService
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.embedding.models import MINILM
from undercroft.retrieval.index.service import IndexService
from undercroft.retrieval.index.tasks import IndexTasks
from undercroft.retrieval.search.service import SearchService
from undercroft.retrieval.texts.service import TextService
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import DocumentService
from undercroft.vault.versions import VersionService

UPLOAD_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Shelf:
    """The services, and what they run on.

    Attributes:
        database: For the test's own looks.
        stepped: What the services use; can be stopped between two transactions.
        folder: Where blobs are.
    """

    database: Database
    stepped: SteppedDatabase
    folder: Path
    embedder: PausingEmbedder
    documents: DocumentService
    collections: CollectionService
    batches: FileBatchService
    tasks: IndexTasks
    search: SearchService
    texts: TextService
    keys: KeyRing
    ledger: Ledger

    async def put(self, scope: Scope, filename: str, content: str | bytes) -> UUID:
        """Take a document in."""
        source = io.BytesIO(content.encode() if isinstance(content, str) else content)
        return (await self.documents.import_file(scope, source, filename, "user_data")).id

    async def fill(self, scope: Scope, texts: Mapping[str, str]) -> tuple[UUID, dict[str, UUID]]:
        """A collection of these documents, indexed; and the documents by name."""
        made = {name: await self.put(scope, name, text) for name, text in texts.items()}
        collection = await self.collections.create(scope, "papers", {}, list(made.values()))
        await self.run_jobs(scope)
        return collection.id, made

    @property
    def versions(self) -> VersionService:
        """The versions of the documents; the index follows them."""
        return make_versions(self.documents, IndexService(JobQueue(IdSource())).follow)

    async def put_version(
        self, scope: Scope, document_id: UUID, content: str, filename: str = "lease.txt"
    ) -> None:
        """Take in another version of a document."""
        incoming = await self.versions._intake.read(scope, io.BytesIO(content.encode()))
        try:
            await self.versions.add(scope, document_id, incoming, filename, None)
        finally:
            await incoming.close()

    async def run_jobs(self, scope: Scope) -> None:
        """Run what is queued in the tenant, and what that queues, one after the other."""
        while (claim := await self.claim(scope)) is not None:
            await self.handler(claim).run(self.context(claim))
            async with self.database.transaction(claim) as transaction:
                assert await JobRepository().complete_job(transaction, claim)

    async def claim(self, scope: Scope, state: str = "queued") -> Claim | None:
        """Begin an attempt at the tenant's oldest job in that state."""
        async with self.database.transaction(scope) as transaction:
            job_id = await transaction.fetchval(
                "SELECT id FROM jobs WHERE state = $1 ORDER BY id LIMIT 1", state
            )
        if job_id is None:
            return None
        async with self.database.transaction_without_scope() as transaction:
            return await JobRepository().claim_job(transaction, job_id)

    def context(self, claim: Claim) -> JobContext:
        """What the worker would give the handler."""
        return JobContext(claim, self.database, JobRepository(), SystemClock())

    def handler(self, claim: Claim) -> JobHandler:
        """How jobs of that kind are run."""
        handler = self.tasks.handlers(1)[claim.kind]
        assert handler.deadline_seconds > PATIENCE
        return handler

    def files(self) -> list[Path]:
        """Every file below the blobs' folder."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@asynccontextmanager
async def open_shelf(urls: DatabaseUrls, folder: Path) -> AsyncGenerator[Shelf]:
    """An empty shelf on a migrated database."""
    await register_model(urls.migration, MINILM.name, MINILM.dimensions)
    clock, ids, model = SystemClock(), IdSource(), loaded_model()
    async with (
        Database(urls.service, clock=clock, size=8) as database,
        SteppedDatabase(urls.service, clock=clock, size=8) as stepped,
    ):
        embedder = PausingEmbedder(model.embedder())
        try:
            blobs = LocalBlobStore(folder / "blobs")
            keys = KeyRing(await KeyFile.open(folder.parent / "provider.key"), ids)
            ledger = Ledger(stepped, ids, clock)
            yield Shelf(
                database=database,
                stepped=stepped,
                folder=folder,
                embedder=embedder,
                documents=make_documents(stepped, folder, keys, limit=UPLOAD_LIMIT),
                collections=CollectionService(
                    stepped, keys, ledger, ids, IndexService(JobQueue(ids))
                ),
                batches=FileBatchService(stepped, ledger, ids, IndexService(JobQueue(ids))),
                tasks=IndexTasks(
                    stepped,
                    blobs,
                    keys,
                    shared_sandbox(),
                    model.measuring,
                    embedder,
                    JobQueue(ids),
                ),
                search=SearchService(stepped, keys, ledger, embedder),
                texts=TextService(stepped, keys, ledger),
                keys=keys,
                ledger=ledger,
            )
        finally:
            await embedder.close()
