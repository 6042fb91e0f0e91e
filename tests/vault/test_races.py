"""Uploads and deletes of one content, stepped statement by statement: its bytes live exactly as long as a document."""

import asyncio
import io
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.documents import make_documents
from tests.stepping import rolled_back, until_blocked
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.blobs.models import StagedBlob
from undercroft.vault.intake import Received
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.repository import DocumentRepository
from undercroft.vault.service import DocumentService

CONTENT = b"The mill has stood empty since 1921."
DERIVED = ("document_versions", "blobs", "chunks", "chunk_embeddings", "term_statistics")
REPOSITORY = DocumentRepository()
IDS = IdSource()


@pytest.fixture
async def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(await KeyFile.open(tmp_path / "provider.key"), IDS)


@pytest.fixture
def documents(database: Database, keys: KeyRing, tmp_path: Path) -> DocumentService:
    return make_documents(database, tmp_path, keys)


@pytest.fixture
async def observer(database_urls: DatabaseUrls) -> AsyncGenerator[Database]:
    """Looks that never wait for the connections that a test holds."""
    async with Database(database_urls.service, clock=SystemClock(), size=2) as opened:
        yield opened


async def create(documents: DocumentService, scope: Member, content: bytes = CONTENT) -> UUID:
    return (await documents.import_file(scope, io.BytesIO(content), "mill.txt", "user_data")).id


class Upload:
    """An upload of the content that has arrived, to be taken in step by step."""

    def __init__(self, documents: DocumentService, scope: Member, received: Received) -> None:
        self._documents = documents
        self._scope = scope
        self.received = received

    async def acquire(self, transaction: Transaction) -> UUID:
        return await self._documents._intake.record(transaction, self._scope, self.received)

    async def insert(self, transaction: Transaction, blob_id: UUID) -> UUID:
        return await self._documents._insert(
            transaction,
            self._scope,
            blob_id,
            "mill.txt",
            "user_data",
            metadata={},
            is_sealed=False,
            sha256=self.received.staged.sha256,
        )


async def received(documents: DocumentService, scope: Member) -> Upload:
    incoming = await documents._intake.read(scope, io.BytesIO(CONTENT))
    return Upload(documents, scope, await documents._intake.receive(incoming, "mill.txt"))


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
    await check_whole(documents, ann, new)
    assert len(kept_files(tmp_path)) == 1


async def test_two_first_uploads_at_once_keep_the_content_once(
    documents: DocumentService,
    make_scope: MakeScope,
    observer: Database,
    tmp_path: Path,
) -> None:
    ann = await make_scope()
    upload = await received(documents, ann)
    intake, staged = documents._intake, upload.received.staged
    async with (
        intake.keep(ann, staged) as kept,
        documents._database.transaction(ann) as transaction,
    ):
        assert await upload.acquire(transaction) == upload.received.blob_id
        uploading = asyncio.create_task(create(documents, ann))
        await until_blocked(observer)
        await upload.insert(transaction, upload.received.blob_id)
        await intake.settle_row(transaction, kept)
    second = await documents.get(ann, await uploading)
    assert second.blob_id == upload.received.blob_id
    assert [path.name for path in kept_files(tmp_path)] == [upload.received.staged.name.hex()]


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
    database: Database, keys: KeyRing, make_scope: MakeScope, tmp_path: Path
) -> None:
    class Full(LocalBlobStore):
        """A disk that fills up between staging and keeping."""

        async def keep(self, staged: StagedBlob, tenant_id: UUID) -> None:
            del staged, tenant_id
            raise OSError(28, "No space left on device")

    ann = await make_scope()
    documents = make_documents(database, tmp_path, keys, blobs=Full(tmp_path / "blobs"))
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
    other = await documents.import_file(ann, io.BytesIO(b"Another."), "other.txt", "assistants")
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
