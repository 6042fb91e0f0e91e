"""One content of one owner is kept once, as long as a document holds it, whoever comes and goes at the same time."""

import asyncio
import io
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import pytest

from tests.conftest import MakeScope
from tests.documents import make_documents
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.retrieval.parsing.errors import UnsupportedTypeError
from undercroft.vault.errors import EmptyFileError, TooLargeError
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import DocumentService

LIMIT = 10_000
CONTENT = b"The mill has stood empty since 1921."


@pytest.fixture
async def documents(database: Database, tmp_path: Path) -> DocumentService:
    keys = KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())
    return make_documents(database, tmp_path, keys, limit=LIMIT)


async def create(
    documents: DocumentService, scope: Scope, content: bytes = CONTENT, name: str = "mill.txt"
) -> UUID:
    return (await documents.import_file(scope, io.BytesIO(content), name, "user_data")).id


def kept_files(tmp_path: Path) -> list[Path]:
    return [
        path
        for folder in ("blobs", "staging")
        for path in (tmp_path / folder).rglob("*")
        if path.is_file()
    ]


async def test_the_same_content_is_kept_once_for_each_owner(
    documents: DocumentService, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    colleague = await make_scope(ann.tenant_id)
    first, second = await create(documents, ann), await create(documents, ann, name="again.txt")
    assert first != second
    assert len(kept_files(tmp_path)) == 1
    await create(documents, colleague)
    assert len(kept_files(tmp_path)) == 2
    await documents.delete(ann, first)
    document, blocks = await documents.read(ann, second)
    assert document.filename == "again.txt"
    assert b"".join([block async for block in blocks]) == CONTENT
    await documents.delete(ann, second)
    assert len(kept_files(tmp_path)) == 1


async def test_deletes_of_the_last_two_documents_at_once_forget_the_content_once(
    documents: DocumentService, make_scope: MakeScope, database: Database, tmp_path: Path
) -> None:
    ann = await make_scope()
    for _ in range(10):
        pair = [await create(documents, ann), await create(documents, ann)]
        await asyncio.gather(*(documents.delete(ann, document_id) for document_id in pair))
        async with database.transaction(ann) as transaction:
            assert await transaction.fetchval("SELECT count(*) FROM blobs") == 0
        assert kept_files(tmp_path) == []


async def test_an_upload_during_the_delete_of_its_content_ends_with_its_bytes(
    documents: DocumentService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    for _ in range(20):
        old = await create(documents, ann)
        new, _ = await asyncio.gather(create(documents, ann), documents.delete(ann, old))
        _, blocks = await documents.read(ann, new)
        assert b"".join([block async for block in blocks]) == CONTENT
        await documents.delete(ann, new)


async def test_what_is_refused_leaves_nothing_behind(
    documents: DocumentService, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    with pytest.raises(TooLargeError):
        await create(documents, ann, b"x" * (LIMIT + 1))
    with pytest.raises(EmptyFileError):
        await create(documents, ann, b"")
    with pytest.raises(UnsupportedTypeError):
        await create(documents, ann, b"\x89PNG\r\n\x1a\n" + bytes(64))
    assert kept_files(tmp_path) == []
    assert await documents.list_documents(ann, limit=10) == []


async def test_a_cancelled_upload_leaves_nothing_behind(
    documents: DocumentService, make_scope: MakeScope, tmp_path: Path
) -> None:
    class Stalled(io.BytesIO):
        """Tells when it is first read, and then ends only when told to."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(CONTENT)
            self.reading = asyncio.Event()
            self._loop = loop

        def read(self, size: int | None = -1, /) -> bytes:
            self._loop.call_soon_threadsafe(self.reading.set)
            return super().read(size)

    ann = await make_scope()
    source = Stalled(asyncio.get_running_loop())
    binary: BinaryIO = source
    upload = asyncio.create_task(documents.import_file(ann, binary, "mill.txt", "user_data"))
    await source.reading.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert kept_files(tmp_path) == []


async def test_a_document_is_private_to_its_owner(
    documents: DocumentService, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    colleague = await make_scope(ann.tenant_id, role="admin")
    document_id = await create(documents, ann)
    for other in (stranger, colleague):
        for attempt in (documents.get, documents.read, documents.delete):
            with pytest.raises(NotFoundError):
                await attempt(other, document_id)
        assert await documents.list_documents(other, limit=10) == []
    assert (await documents.get(ann, document_id)).id == document_id


async def test_pages_go_both_ways(documents: DocumentService, make_scope: MakeScope) -> None:
    ann = await make_scope()
    made = [await create(documents, ann, f"Number {number}.".encode()) for number in range(5)]
    made.sort()
    newest = await documents.list_documents(ann, limit=2)
    assert [document.id for document in newest] == made[:2:-1]
    older = await documents.list_documents(ann, after=newest[-1].id, limit=10)
    assert [document.id for document in older] == made[2::-1]
    oldest = await documents.list_documents(ann, ascending=True, after=made[0], limit=2)
    assert [document.id for document in oldest] == made[1:3]
