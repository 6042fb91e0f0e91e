"""The vault's statements, one method each."""

from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.vault.models import NewBlob, NewDocument

_QUERIES: Final = load_queries("undercroft.vault")


class DocumentRepository:
    """Reads and writes documents, versions and the rows of blobs."""

    async def acquire_blob(self, transaction: Transaction, blob: NewBlob) -> UUID:
        """The owner's blob with that content: the new one when it is the first, else the one there is, locked."""
        row = await _QUERIES.one(
            transaction,
            "acquire_blob",
            blob.id,
            blob.digest,
            blob.byte_size,
            blob.media_type,
            blob.data_key_id,
            blob.sealed_sha256,
            blob.stored_name,
        )
        return cast("UUID", row["id"])

    async def insert_document(self, transaction: Transaction, document: NewDocument) -> None:
        """Create a document without a version."""
        await _QUERIES.execute(
            transaction,
            "insert_document",
            document.id,
            document.purpose,
            document.data_key_id,
            document.sealed_name,
        )

    async def insert_document_version(
        self, transaction: Transaction, document_id: UUID, number: int, blob_id: UUID
    ) -> None:
        """Add a version to a document."""
        await _QUERIES.execute(transaction, "insert_document_version", document_id, number, blob_id)

    async def find_document(self, transaction: Transaction, document_id: UUID) -> Record | None:
        """A document of the principal's, with its key."""
        return await _QUERIES.maybe(transaction, "find_document", document_id)

    async def find_content(
        self, transaction: Transaction, document_id: UUID, version: int | None
    ) -> Record | None:
        """Where the bytes of a version of the principal's document are, with their key; None for the current one."""
        return await _QUERIES.maybe(transaction, "find_content", document_id, version)

    async def find_document_salt(self, transaction: Transaction, document_id: UUID) -> bytes | None:
        """The salt of the ledger's commitments to a document of the principal's."""
        salt = await _QUERIES.value(transaction, "find_document_salt", document_id)
        return cast("bytes | None", salt)

    async def find_foreign_document(
        self, transaction: Transaction, document_id: UUID
    ) -> Record | None:
        """The owner and the salt of a document that is another principal's of the same tenant."""
        return await _QUERIES.maybe(transaction, "find_foreign_document", document_id)

    async def list_documents(
        self,
        transaction: Transaction,
        *,
        after: UUID | None,
        ascending: bool,
        purpose: str | None,
        limit: int,
    ) -> list[Record]:
        """A page of the principal's documents in the order of their ids, which is that of their creation."""
        return await _QUERIES.many(transaction, "list_documents", after, ascending, purpose, limit)

    async def delete_document(self, transaction: Transaction, document_id: UUID) -> list[UUID]:
        """Delete a document and its versions; the blobs they held, locked. Empty when there is no such document."""
        rows = await _QUERIES.many(transaction, "delete_document", document_id)
        return [row["blob_id"] for row in rows]

    async def delete_unused_blob(self, transaction: Transaction, blob_id: UUID) -> bytes | None:
        """Delete a blob, its key and all that was derived from it, unless a version still holds it.

        Returns:
            The name of its bytes in the store, when it was deleted.
        """
        name = await _QUERIES.value(transaction, "delete_unused_blob", blob_id)
        return cast("bytes | None", name)
