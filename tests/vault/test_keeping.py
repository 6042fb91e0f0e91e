"""Bytes are kept before the transaction that names them: whatever fails when, none is lost, none is left for good."""

import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope
from tests.documents import make_documents, make_versions
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import UnavailableError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.models import StagedBlob
from undercroft.vault.errors import StaleDocumentError
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.orphans import OrphanSweep
from undercroft.vault.service import DocumentService
from undercroft.vault.versions import VersionService

TEXT = b"The mill on the quay has stood empty since 1921."


@pytest.fixture
async def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())


async def put(documents: DocumentService, scope: Scope, content: bytes = TEXT) -> UUID:
    return (await documents.import_file(scope, io.BytesIO(content), "mill.txt", "user_data")).id


async def put_version(versions: VersionService, scope: Scope, document_id: UUID) -> None:
    incoming = await versions._intake.read(scope, io.BytesIO(b"It burned down."))
    try:
        await versions.add(scope, document_id, incoming, "mill.txt", {99})
    finally:
        await incoming.close()


async def read(documents: DocumentService, scope: Scope, document_id: UUID) -> bytes:
    _, blocks = await documents.read(scope, document_id)
    return b"".join([block async for block in blocks])


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "blobs").rglob("*") if path.is_file()]


async def test_no_transaction_is_open_while_bytes_travel(
    database: Database, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    class Looking(LocalBlobStore):
        """Looks who holds a transaction while it keeps."""

        seen: tuple[int, ...] = ()

        async def keep(self, staged: StagedBlob, tenant_id: UUID) -> None:
            async with database.transaction_without_scope() as transaction:
                count = await transaction.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            self.seen = (*self.seen, count)
            await super().keep(staged, tenant_id)

    ann = await make_scope()
    store = Looking(tmp_path / "blobs")
    documents = make_documents(database, tmp_path, keys, blobs=store)
    document = await put(documents, ann)
    with pytest.raises(StaleDocumentError):
        await put_version(make_versions(documents), ann, document)
    assert store.seen == (0, 0)


async def test_what_no_row_names_is_deleted_at_once(
    database: Database, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    documents = make_documents(database, tmp_path, keys)
    document = await put(documents, ann)
    kept = files(tmp_path)
    with pytest.raises(StaleDocumentError):
        await put_version(make_versions(documents), ann, document)
    assert files(tmp_path) == kept
    await put(documents, ann)  # the same content again
    assert files(tmp_path) == kept


async def test_of_a_crash_before_the_transaction_a_file_is_left_for_the_sweep(
    database: Database, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    class CrashError(BaseException):
        """Nothing runs after it that cleans up."""

    class Crashing(LocalBlobStore):
        async def keep(self, staged: StagedBlob, tenant_id: UUID) -> None:
            await super().keep(staged, tenant_id)
            raise CrashError

    class Tomorrow(SystemClock):
        def now(self) -> datetime:
            return super().now() + timedelta(days=1, seconds=1)

    ann = await make_scope()
    documents = make_documents(database, tmp_path, keys, blobs=Crashing(tmp_path / "blobs"))
    with pytest.raises(CrashError):
        await put(documents, ann)
    assert await documents.list_documents(ann, limit=10) == []
    assert len(files(tmp_path)) == 1
    store = LocalBlobStore(tmp_path / "blobs")
    assert await OrphanSweep(database, store, SystemClock()).sweep() == 0
    assert await OrphanSweep(database, store, Tomorrow()).sweep() == 1
    assert files(tmp_path) == []


async def test_a_file_stays_when_nobody_has_heard_whether_its_row_was_committed(
    database_urls: DatabaseUrls, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    class Deaf(Database):
        """Loses the connection behind a commit."""

        @asynccontextmanager
        async def transaction(self, scope: Scope) -> AsyncGenerator[Transaction]:
            async with super().transaction(scope) as transaction:
                yield transaction
            raise asyncpg.ConnectionDoesNotExistError

    ann = await make_scope()
    async with (
        Deaf(database_urls.service, clock=SystemClock(), size=2) as deaf,
        Database(database_urls.service, clock=SystemClock(), size=2) as hearing,
    ):
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await put(make_documents(deaf, tmp_path, keys), ann)
        documents = make_documents(hearing, tmp_path, keys)
        (committed,) = await documents.list_documents(ann, limit=10)
        assert await read(documents, ann, committed.id) == TEXT


async def test_a_store_that_does_not_delete_fails_no_upload(
    database: Database, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    class Keeping(LocalBlobStore):
        async def delete(self, tenant_id: UUID, name: bytes) -> None:
            raise UnavailableError(f"{tenant_id} {name!r}")

    ann = await make_scope()
    documents = make_documents(database, tmp_path, keys, blobs=Keeping(tmp_path / "blobs"))
    first, second = await put(documents, ann), await put(documents, ann)
    assert first != second
    assert await read(documents, ann, second) == TEXT
    assert len(files(tmp_path)) == 2
