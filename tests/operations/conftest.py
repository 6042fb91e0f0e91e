"""A tenant with something of everything, in one database, and an empty database to restore into."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.database_server import fresh_database
from tests.shelf import Shelf, open_shelf
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.aead import bind, seal
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.sequencer import Sequencer
from undercroft.operations.backups.backup import Backup, BackupSummary
from undercroft.operations.backups.restore import Restore, RestoreSummary
from undercroft.operations.examination.examiner import Examiner
from undercroft.operations.examination.findings import Finding, Findings
from undercroft.operations.examination.fsck import Examination, Fsck
from undercroft.operations.progress import Progress
from undercroft.operations.repairs.repair import Repair
from undercroft.retrieval.embedding.models import MINILM
from undercroft.retrieval.index.service import IndexService
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.keys.service import KeyRing

TEXTS = {
    "mill.txt": "The mill on the quay has stood empty since the flood of 1921.",
    "lease.txt": "The lease of the flat ends in June and is renewed in writing.",
    "boat.txt": "The boat is moored at the third pier until the ice has gone.",
}


def quiet(_: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class House:
    """An installation: its database, blobs and key file."""

    urls: DatabaseUrls
    database: Database
    folder: Path
    provider: KeyFile

    @property
    def store(self) -> LocalBlobStore:
        return LocalBlobStore(self.folder / "blobs")

    @property
    def examiner(self) -> Examiner:
        keys = KeyRing(self.provider, IdSource())
        return Examiner(self.store, self.provider, keys)

    async def sequence(self, tenant_id: UUID) -> None:
        """Number what waits in a tenant's log."""
        keys = LogKeys(self.database, self.provider, "undercroft.local")
        await Sequencer(self.database, keys).sequence(tenant_id)

    async def back_up(self, target: Path) -> BackupSummary:
        return await Backup(self.database, self.store, self.provider, SystemClock(), quiet).write(
            target
        )

    async def restore(self, source: Path, progress: Progress = quiet) -> RestoreSummary:
        ids = IdSource()
        staging = self.folder / "staging"
        staging.mkdir(parents=True, exist_ok=True)
        async with Database(
            self.urls.migration, clock=SystemClock(), size=2, statement_seconds=None
        ) as owner:
            return await Restore(
                owner,
                self.store,
                staging,
                self.provider,
                IndexService(JobQueue(ids)),
                self.examiner,
                ids,
                progress,
            ).run(source)

    async def repair(self) -> list[str]:
        """Examine and mend; what was mended."""
        told: list[str] = []
        fsck = Fsck(self.database, self.store, self.examiner, SystemClock(), quiet)
        examination = await fsck.run(Findings())
        index = IndexService(JobQueue(IdSource()))
        async with Database(self.urls.migration, clock=SystemClock(), size=2) as owner:
            repair = Repair(self.database, owner, self.store, index, fsck, told.append)
            await repair.run(examination)
        return told

    async def fsck(self) -> tuple[list[Finding], Examination]:
        found: list[Finding] = []
        fsck = Fsck(self.database, self.store, self.examiner, SystemClock(), quiet)
        examination = await fsck.run(Findings(found.append))
        return found, examination


@dataclass(frozen=True, slots=True)
class Filled:
    """A house with a tenant in it.

    Attributes:
        documents: By name.
    """

    house: House
    shelf: Shelf
    ann: Member
    collection: UUID
    documents: dict[str, UUID]


@pytest.fixture
async def filled(
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
    tmp_path: Path,
) -> AsyncGenerator[Filled]:
    """A tenant with indexed documents, a collection, a kept answer, and a log with numbered and waiting entries."""
    folder = tmp_path / "old"
    async with open_shelf(database_urls, folder) as shelf:
        provider = await KeyFile.open(tmp_path / "provider.key")
        house = House(database_urls, shelf.database, folder, provider)
        ann = await make_scope()
        collection, documents = await shelf.fill(ann, TEXTS)
        await insert_response(shelf, ann)
        await house.sequence(ann.tenant_id)
        for document_id in documents.values():
            await shelf.documents.read(ann, document_id)
        yield Filled(house, shelf, ann, collection, documents)


async def insert_response(shelf: Shelf, scope: Member) -> UUID:
    """An answer that was kept."""
    response_id = IdSource().new()
    async with shelf.database.transaction(scope) as transaction:
        key = await shelf.keys.create(transaction, scope)
        place = bind(scope.tenant_id, "responses", response_id, "resource")
        await transaction.execute(
            "INSERT INTO responses (id, tenant_id, owner_id, status, data_key_id, sealed_resource)"
            " VALUES ($1, $2, $3, 'completed', $4, $5)",
            response_id,
            scope.tenant_id,
            scope.principal_id,
            key.id,
            seal(key.material, b'{"output":[]}', place),
        )
    return response_id


@pytest.fixture
async def empty(database_server: DatabaseUrls, tmp_path: Path) -> AsyncGenerator[House]:
    """An empty house with the same key file."""
    async with (
        fresh_database(database_server) as urls,
        Database(urls.service, clock=SystemClock(), size=4) as database,
    ):
        await register_model(urls.migration, MINILM.name, MINILM.dimensions)
        provider = await KeyFile.open(tmp_path / "provider.key")
        yield House(urls, database, tmp_path / "new", provider)


@pytest.fixture
async def owner(filled: Filled) -> AsyncGenerator[AnyConnection]:
    """The filled database's owner, made to see past every policy: it stands for whoever damages the disk."""
    connection = await asyncpg.connect(filled.house.urls.migration)
    try:
        rows = await connection.fetch(
            "SELECT c.oid::regclass::text AS name FROM pg_class AS c"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relrowsecurity"
        )
        for row in rows:
            await connection.execute(f"ALTER TABLE {row['name']} NO FORCE ROW LEVEL SECURITY")
        yield connection
    finally:
        await connection.close()
