"""Documents: taken in once for each content, private to whoever brought them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias
from uuid import UUID

from undercroft.kit.database import Database, Scope
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.vault.blobs import BlobStore
from undercroft.vault.models import Document, StagedBlob
from undercroft.vault.repository import DocumentRepository

DetectMediaType: TypeAlias = Callable[[BinaryIO, str], str]
"""Tells what a file is by its bytes; its name only decides between kinds of text. Raises for what is not served."""

DOCUMENT_PREFIX: Final = "file-"


class DocumentService:
    """Takes documents in, lists them, gives them back and deletes them."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        ids: IdSource,
        detect_media_type: DetectMediaType,
        max_bytes: int,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._ids = ids
        self._detect_media_type = detect_media_type
        self._max_bytes = max_bytes
        self._repository = DocumentRepository()

    async def create(self, scope: Scope, source: BinaryIO, filename: str, purpose: str) -> Document:
        """Take a document in.

        The same content a second time makes a second document over the same blob, so that it is neither stored nor
        indexed again.

        Raises:
            TooLargeError: When the file is over the limit.
            EmptyFileError: When it has no bytes.
            UndercroftError: Of kind UNSUPPORTED_MEDIA_TYPE, when its content is of no type that can be read.
        """
        staged = await self._blobs.stage(source, self._max_bytes)
        try:
            media_type = await asyncio.to_thread(self._detect, staged.path, filename)
            return await self._insert(scope, staged, media_type, filename, purpose)
        finally:
            await self._blobs.discard(staged)

    def _detect(self, path: Path, filename: str) -> str:
        with path.open("rb") as file:
            return self._detect_media_type(file, filename)

    async def _insert(
        self, scope: Scope, staged: StagedBlob, media_type: str, filename: str, purpose: str
    ) -> Document:
        document_id, new_blob_id = self._ids.new(), self._ids.new()
        async with self._database.transaction(scope) as transaction:
            blob_id = await self._repository.acquire_blob(
                transaction, new_blob_id, staged, media_type
            )
            await self._repository.insert_document(transaction, document_id, filename, purpose)
            await self._repository.insert_document_version(transaction, document_id, 1, blob_id)
            document = await self._repository.find_document(transaction, document_id)
            if blob_id == new_blob_id:
                # Last, so that a refused row leaves no file; before the commit, so that no row names a missing one.
                await self._blobs.keep(staged, scope.tenant_id, blob_id)
        return _found(document, document_id)

    async def get(self, scope: Scope, document_id: UUID) -> Document:
        """One document.

        Raises:
            NotFoundError: When the principal may see no such document.
        """
        async with self._database.transaction(scope) as transaction:
            document = await self._repository.find_document(transaction, document_id)
        return _found(document, document_id)

    async def list_documents(
        self,
        scope: Scope,
        *,
        after: UUID | None = None,
        ascending: bool = False,
        purpose: str | None = None,
        limit: int,
    ) -> list[Document]:
        """A page of the principal's documents, newest first unless ``ascending``."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.list_documents(
                transaction, after=after, ascending=ascending, purpose=purpose, limit=limit
            )

    async def read(self, scope: Scope, document_id: UUID) -> tuple[Document, AsyncIterator[bytes]]:
        """A document and its bytes.

        Raises:
            NotFoundError: When the principal may see no such document.
        """
        document = await self.get(scope, document_id)
        return document, self._blobs.read(scope.tenant_id, document.blob_id)

    async def delete(self, scope: Scope, document_id: UUID) -> None:
        """Delete a document, its memberships and, where it was the last of its content, all that was derived from it.

        Raises:
            NotFoundError: When the principal may see no such document.
        """
        async with self._database.transaction(scope) as transaction:
            blob_ids = await self._repository.delete_document(transaction, document_id)
            if not blob_ids:
                raise NotFoundError("file", render_id(DOCUMENT_PREFIX, document_id))
            unused = [
                blob_id
                for blob_id in blob_ids
                if await self._repository.delete_unused_blob(transaction, blob_id)
            ]
        for blob_id in unused:
            await self._blobs.delete(scope.tenant_id, blob_id)


def _found(document: Document | None, document_id: UUID) -> Document:
    if document is None:
        raise NotFoundError("file", render_id(DOCUMENT_PREFIX, document_id))
    return document
