"""Uploads and deletes of one content, stepped statement by statement: its bytes live exactly as long as a document."""

import asyncio
import io
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.stepping import rolled_back, until_blocked
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.ledger.service import Ledger
from undercroft.retrieval.parsing.detection import detect_media_type
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.models import StagedBlob, blob_context
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.repository import DocumentRepository
from undercroft.vault.service import DocumentService

CONTENT = b"The mill has stood empty since 1921."
DERIVED = ("document_versions", "blobs", "chunks", "chunk_embeddings", "term_statistics")
REPOSITORY = DocumentRepository()
IDS = IdSource()


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs")


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "staging", IDS)


@pytest.fixture
async def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(await KeyFile.open(tmp_path / "provider.key"), IDS)


@pytest.fixture
def documents(
    database: Database, blobs: LocalBlobStore, staging: Staging, keys: KeyRing
) -> DocumentService:
    ledger = Ledger(database, IDS, SystemClock())
    return DocumentService(database, blobs, staging, keys, ledger, IDS, detect_media_type, 10_000)


@pytest.fixture
async def observer(database_urls: DatabaseUrls) -> AsyncGenerator[Database]:
    """Looks that never wait for the connections that a test holds."""
    async with Database(database_urls.service, clock=SystemClock(), size=2) as opened:
        yield opened


async def create(documents: DocumentService, scope: Member, content: bytes = CONTENT) -> UUID:
    return (await documents.create(scope, io.BytesIO(content), "mill.txt", "user_data")).id


class Upload:
    """What an upload of the content holds once it was received, to be taken in step by step."""

    def __init__(self, documents: DocumentService, scope: Member) -> None:
        self._documents = documents
        self._scope = scope
        self.blob_id = IDS.new()
        self._key = documents._keys.generate()
        self.staged: StagedBlob

    async def receive(self) -> None:
        context = blob_context(self._scope.tenant_id, self.blob_id)
        self.staged = await self._documents._staging.receive(
            io.BytesIO(CONTENT), 10_000, self._key.material, context
        )

    async def acquire(self, transaction: Transaction) -> UUID:
        return await self._documents._keep(
            transaction, self._scope, self.staged, self.blob_id, self._key, "text/plain"
        )

    async def insert(self, transaction: Transaction, blob_id: UUID) -> UUID:
        return await self._documents._insert(
            transaction, self._scope, blob_id, "mill.txt", "user_data"
        )

    async def discard(self) -> None:
        await self._documents._staging.discard(self.staged)


async def received(documents: DocumentService, scope: Member) -> Upload:
    upload = Upload(documents, scope)
    await upload.receive()
    return upload


async def check_whole(documents: DocumentService, scope: Member, document_id: UUID) -> None:
    _, blocks = await documents.read(scope, document_id)
    assert b"".join([block async for block in blocks]) == CONTENT


async def counts(database: Database, scope: Member) -> dict[str, int]:
    async with database.transaction(scope) as transaction:
        return {
            table: await transaction.fetchval(f"SELECT count(*) FROM {table}") for table in DERIVED
        }


def kept_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


async def test_of_two_deletes_at_once_the_later_one_forgets_the_content(
    documents: DocumentService, make_scope: MakeScope, observer: Database, tmp_path: Path
) -> None:
    ann = await make_scope()
    first, second = await create(documents, ann), await create(documents, ann)
    async with documents._database.transaction(ann) as transaction:
        (blob_id,) = await REPOSITORY.delete_document(transaction, first)
        deleting = asyncio.create_task(documents.delete(ann, second))
        await until_blocked(observer)
        assert not await REPOSITORY.delete_unused_blob(transaction, blob_id), "the other holds it"
    await deleting
    assert set((await counts(observer, ann)).values()) == {0}
    assert kept_files(tmp_path) == []


async def test_an_upload_that_comes_after_a_delete_has_begun_gets_bytes_of_its_own(
    documents: DocumentService, make_scope: MakeScope, observer: Database, tmp_path: Path
) -> None:
    ann = await make_scope()
    old = await create(documents, ann)
    (old_file,) = kept_files(tmp_path)
    async with documents._database.transaction(ann) as transaction:
        (blob_id,) = await REPOSITORY.delete_document(transaction, old)
        uploading = asyncio.create_task(create(documents, ann))
        await until_blocked(observer)
        name = await REPOSITORY.delete_unused_blob(transaction, blob_id)
    assert name is not None
    new = await uploading
    await documents._blobs.delete(ann.tenant_id, name)  # as the delete does after its commit
    await check_whole(documents, ann, new)
    (new_file,) = kept_files(tmp_path)
    assert new_file != old_file


async def test_an_upload_that_comes_before_a_delete_keeps_the_bytes(
    documents: DocumentService, make_scope: MakeScope, observer: Database, tmp_path: Path
) -> None:
    ann = await make_scope()
    old = await create(documents, ann)
    upload = await received(documents, ann)
    async with documents._database.transaction(ann) as transaction:
        blob_id = await upload.acquire(transaction)
        deleting = asyncio.create_task(documents.delete(ann, old))
        await until_blocked(observer)
        new = await upload.insert(transaction, blob_id)
    await deleting
    await upload.discard()
    await check_whole(documents, ann, new)
    assert len(kept_files(tmp_path)) == 1


async def test_two_first_uploads_at_once_keep_the_content_once(
    documents: DocumentService,
    blobs: LocalBlobStore,
    make_scope: MakeScope,
    observer: Database,
    tmp_path: Path,
) -> None:
    ann = await make_scope()
    upload = await received(documents, ann)
    async with documents._database.transaction(ann) as transaction:
        assert await upload.acquire(transaction) == upload.blob_id
        uploading = asyncio.create_task(create(documents, ann))
        await until_blocked(observer)
        await blobs.keep(upload.staged, ann.tenant_id)
        await upload.insert(transaction, upload.blob_id)
    second = await documents.get(ann, await uploading)
    assert second.blob_id == upload.blob_id
    assert [path.name for path in kept_files(tmp_path)] == [upload.staged.name.hex()]


async def test_a_first_upload_that_fails_leaves_its_content_to_the_other(
    documents: DocumentService, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    upload = await received(documents, ann)
    async with rolled_back(documents._database, ann) as transaction:
        await upload.acquire(transaction)
        uploading = asyncio.create_task(create(documents, ann))
        await until_blocked(observer)
    await check_whole(documents, ann, await uploading)


async def test_no_row_names_a_file_before_the_file_is_there(
    database: Database, staging: Staging, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    class Full(LocalBlobStore):
        """A disk that fills up between staging and keeping."""

        async def keep(self, staged: StagedBlob, tenant_id: UUID) -> None:
            del staged, tenant_id
            raise OSError(28, "No space left on device")

    ann = await make_scope()
    documents = DocumentService(
        database,
        Full(tmp_path / "blobs"),
        staging,
        keys,
        Ledger(database, IDS, SystemClock()),
        IDS,
        detect_media_type,
        10_000,
    )
    with pytest.raises(OSError, match="No space"):
        await create(documents, ann)
    assert await documents.list_documents(ann, limit=10) == []
    assert (await counts(database, ann))["blobs"] == 0
    assert kept_files(tmp_path) == []


async def test_the_pages_meet_without_a_gap_and_keep_to_one_purpose(
    documents: DocumentService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = [await create(documents, ann, f"Number {number}.".encode()) for number in range(7)]
    other = await documents.create(ann, io.BytesIO(b"Another."), "other.txt", "assistants")
    for ascending in (True, False):
        seen: list[UUID] = []
        while page := await documents.list_documents(
            ann,
            after=seen[-1] if seen else None,
            ascending=ascending,
            purpose="user_data",
            limit=3,
        ):
            seen += [document.id for document in page]
        assert seen == sorted(made, reverse=not ascending)
    (found,) = await documents.list_documents(ann, purpose="assistants", limit=3)
    assert found == other
