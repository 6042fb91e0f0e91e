"""The vault's statements, one method each."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.sharing.models import GrantAction
from undercroft.sharing.ways import OWNER_ALONE
from undercroft.vault.models import ExpiredDocument, NewBlob, NewDocument

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
            blob.owner_id,
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
            document.sealed_metadata,
            document.is_sealed,
        )

    async def insert_document_version(
        self,
        transaction: Transaction,
        document_id: UUID,
        number: int,
        blob_id: UUID,
        entry_id: UUID | None,
    ) -> None:
        """Add a version to a document."""
        await _QUERIES.execute(
            transaction, "insert_document_version", document_id, number, blob_id, entry_id
        )

    async def lock_document(
        self,
        transaction: Transaction,
        document_id: UUID,
        actions: Sequence[GrantAction] = OWNER_ALONE,
        *,
        is_trashed: bool | None,
    ) -> int | None:
        """Lock a document that the principal comes to by one of the actions against any other change; its revision."""
        row = await _QUERIES.maybe(
            transaction, "lock_document", document_id, is_trashed, list(actions)
        )
        return None if row is None else row["revision"]

    async def find_document(
        self,
        transaction: Transaction,
        document_id: UUID,
        actions: Sequence[GrantAction] = OWNER_ALONE,
        *,
        is_trashed: bool | None = False,
    ) -> Record | None:
        """A document, with its key; in the trash, not in it, or, if None, either.

        The principal's own, or one that they come to by a grant of one of the actions.
        """
        return await _QUERIES.maybe(
            transaction, "find_document", document_id, is_trashed, list(actions)
        )

    async def find_content(
        self,
        transaction: Transaction,
        document_id: UUID,
        version: int | None,
        actions: Sequence[GrantAction],
    ) -> Record | None:
        """A version of a document and where its bytes are, with their key; None for the current one."""
        return await _QUERIES.maybe(
            transaction, "find_content", document_id, version, list(actions)
        )

    async def list_versions(
        self,
        transaction: Transaction,
        document_id: UUID,
        before: int | None,
        limit: int,
        actions: Sequence[GrantAction],
    ) -> list[Record]:
        """A page of the versions of a document, newest first, as ``find_content`` answers one."""
        return await _QUERIES.many(
            transaction, "list_versions", document_id, before, limit, list(actions)
        )

    async def advance_document(
        self, transaction: Transaction, document_id: UUID, version: int
    ) -> None:
        """Make a version the current one of a document that is locked."""
        await _QUERIES.execute(transaction, "advance_document", document_id, version)

    async def update_document(
        self,
        transaction: Transaction,
        document_id: UUID,
        sealed_name: bytes | None,
        sealed_metadata: bytes | None,
        is_sealed: bool | None,
    ) -> None:
        """Change a document that is locked; None leaves as is."""
        await _QUERIES.execute(
            transaction, "update_document", document_id, sealed_name, sealed_metadata, is_sealed
        )

    async def trash_document(
        self, transaction: Transaction, document_id: UUID, retention: timedelta
    ) -> None:
        """Put a document that is locked into the trash."""
        await _QUERIES.execute(transaction, "trash_document", document_id, retention)

    async def restore_document(self, transaction: Transaction, document_id: UUID) -> bool:
        """Take a document that is locked out of the trash; False when its time there is over."""
        restored = await _QUERIES.value(transaction, "restore_document", document_id)
        return restored is not None

    async def list_expired_documents(
        self, transaction: Transaction, limit: int
    ) -> list[ExpiredDocument]:
        """Documents of any tenant whose time in the trash is over."""
        rows = await _QUERIES.many(transaction, "list_expired_documents", limit)
        return [
            ExpiredDocument(row["tenant_id"], row["owner_id"], row["document_id"]) for row in rows
        ]

    async def lock_expired_document(
        self, transaction: Transaction, document_id: UUID
    ) -> Record | None:
        """Lock a document that is to be purged; None when it no longer is, or another worker has it."""
        return await _QUERIES.maybe(transaction, "lock_expired_document", document_id)

    async def lock_promised_document(
        self, transaction: Transaction, document_id: UUID
    ) -> Record | None:
        """Lock a document that was promised to be erased; None when it is held or gone, or another worker has it."""
        return await _QUERIES.maybe(transaction, "lock_promised_document", document_id)

    async def lock_tenant_document(
        self, transaction: Transaction, document_id: UUID
    ) -> Record | None:
        """Lock a document of the tenant's, whoever owns it."""
        return await _QUERIES.maybe(transaction, "lock_tenant_document", document_id)

    async def get_key_salt(self, transaction: Transaction, key_id: UUID) -> bytes:
        """The salt that belongs to a data key."""
        return cast("bytes", await _QUERIES.value(transaction, "get_key_salt", key_id))

    async def lock_tenant_key(self, transaction: Transaction) -> None:
        """Keep the tenant's keys from being destroyed until the transaction ends."""
        await _QUERIES.execute(transaction, "lock_tenant_key")

    async def hold_document(
        self, transaction: Transaction, document_id: UUID, reason: str
    ) -> datetime:
        """Put a document that is locked under legal hold; since when it is."""
        held_at = await _QUERIES.value(transaction, "hold_document", document_id, reason)
        return cast("datetime", held_at)

    async def lift_hold(self, transaction: Transaction, document_id: UUID) -> None:
        """End the legal hold of a document that is locked."""
        await _QUERIES.execute(transaction, "lift_hold", document_id)

    async def find_document_salt(self, transaction: Transaction, document_id: UUID) -> bytes | None:
        """The salt of the ledger's commitments to a document of the principal's."""
        salt = await _QUERIES.value(transaction, "find_document_salt", document_id)
        return cast("bytes | None", salt)

    async def find_way_in(
        self, transaction: Transaction, document_id: UUID, actions: Sequence[GrantAction]
    ) -> GrantAction | None:
        """The first of these actions by which the principal comes to another's document."""
        action = await _QUERIES.value(transaction, "find_way_in", document_id, actions)
        return None if action is None else GrantAction(action)

    async def find_document_owner(
        self, transaction: Transaction, document_id: UUID
    ) -> Record | None:
        """The owner and the salt of a document, whoever's of the tenant it is."""
        return await _QUERIES.maybe(transaction, "find_document_owner", document_id)

    async def list_documents(
        self,
        transaction: Transaction,
        *,
        after: UUID | None,
        ascending: bool,
        purpose: str | None,
        limit: int,
        is_trashed: bool,
    ) -> list[Record]:
        """A page of the principal's documents in the order of their ids, which is that of their creation."""
        return await _QUERIES.many(
            transaction, "list_documents", after, ascending, purpose, limit, is_trashed
        )

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

    async def forget_sealed_content(self, transaction: Transaction, blob_id: UUID) -> None:
        """Take a blob that sealed documents alone hold out of the index."""
        await _QUERIES.execute(transaction, "forget_sealed_content", blob_id)

    async def list_stored_names(
        self, transaction: Transaction, names: Sequence[bytes]
    ) -> set[bytes]:
        """Which of these names of bytes in the store the tenant's contents have."""
        rows = await _QUERIES.many(transaction, "list_stored_names", names)
        return {row["stored_name"] for row in rows}
