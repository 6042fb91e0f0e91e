"""The vault's statements, one method each."""

from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.vault.models import Document, IndexState, StagedBlob

_QUERIES: Final = load_queries("undercroft.vault")


class DocumentRepository:
    """Reads and writes documents, versions and the rows of blobs."""

    async def acquire_blob(
        self, transaction: Transaction, new_id: UUID, staged: StagedBlob, media_type: str
    ) -> UUID:
        """The owner's blob with that content: ``new_id`` when it is the first, else the one there is, locked."""
        row = await _QUERIES.one(
            transaction, "acquire_blob", new_id, staged.digest, staged.byte_size, media_type
        )
        return cast("UUID", row["id"])

    async def insert_document(
        self, transaction: Transaction, document_id: UUID, filename: str, purpose: str
    ) -> None:
        """Create a document without a version."""
        await _QUERIES.execute(transaction, "insert_document", document_id, filename, purpose)

    async def insert_document_version(
        self, transaction: Transaction, document_id: UUID, number: int, blob_id: UUID
    ) -> None:
        """Add a version to a document."""
        await _QUERIES.execute(transaction, "insert_document_version", document_id, number, blob_id)

    async def find_document(self, transaction: Transaction, document_id: UUID) -> Document | None:
        """A document of the principal's."""
        row = await _QUERIES.maybe(transaction, "find_document", document_id)
        return None if row is None else _document(row)

    async def list_documents(
        self,
        transaction: Transaction,
        *,
        after: UUID | None,
        ascending: bool,
        purpose: str | None,
        limit: int,
    ) -> list[Document]:
        """A page of the principal's documents in the order of their ids, which is that of their creation."""
        rows = await _QUERIES.many(transaction, "list_documents", after, ascending, purpose, limit)
        return [_document(row) for row in rows]

    async def delete_document(self, transaction: Transaction, document_id: UUID) -> list[UUID]:
        """Delete a document and its versions; the blobs they held, locked. Empty when there is no such document."""
        rows = await _QUERIES.many(transaction, "delete_document", document_id)
        return [row["blob_id"] for row in rows]

    async def delete_unused_blob(self, transaction: Transaction, blob_id: UUID) -> bool:
        """Delete a blob, and all that was derived from it, unless a version still holds it."""
        return await _QUERIES.value(transaction, "delete_unused_blob", blob_id) is not None


def _document(row: Record) -> Document:
    return Document(
        id=row["id"],
        filename=row["filename"],
        purpose=row["purpose"],
        version=row["current_version"],
        blob_id=row["blob_id"],
        byte_size=row["byte_size"],
        media_type=row["media_type"],
        index_state=IndexState(row["index_state"]),
        index_error=row["index_error_message"],
        created_at=row["created_at"],
    )
