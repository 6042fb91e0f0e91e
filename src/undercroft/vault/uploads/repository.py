"""The statements of uploads, one method each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.vault.uploads.models import MOST_PARTS, NewPart, NewUpload

_QUERIES: Final = load_queries("undercroft.vault.uploads")


class UploadRepository:
    """Reads and writes uploads and the rows of their parts."""

    async def insert_upload(self, transaction: Transaction, upload: NewUpload) -> None:
        """Begin an upload."""
        await _QUERIES.execute(
            transaction,
            "insert_upload",
            upload.id,
            upload.purpose,
            upload.byte_size,
            upload.data_key_id,
            upload.sealed_name,
        )

    async def find_upload(self, transaction: Transaction, upload_id: UUID) -> Record | None:
        """An upload of the principal's, with its key."""
        return await _QUERIES.maybe(transaction, "find_upload", upload_id)

    async def lock_upload(self, transaction: Transaction, upload_id: UUID) -> None:
        """Wait for whoever changes an upload of the principal's, and keep others from it until this ends."""
        await _QUERIES.execute(transaction, "lock_upload", upload_id)

    async def find_upload_owner(self, transaction: Transaction, upload_id: UUID) -> Record | None:
        """The owner and the salt of an upload, whoever's of the tenant it is."""
        return await _QUERIES.maybe(transaction, "find_upload_owner", upload_id)

    async def find_upload_salt(self, transaction: Transaction, upload_id: UUID) -> bytes | None:
        """The salt of the ledger's commitments to an upload of the principal's."""
        salt = await _QUERIES.value(transaction, "find_upload_salt", upload_id)
        return cast("bytes | None", salt)

    async def take_part(self, transaction: Transaction, upload_id: UUID, byte_size: int) -> bool:
        """Count a part; False when the upload has all that it may have."""
        return (
            await _QUERIES.value(transaction, "take_part", upload_id, byte_size, MOST_PARTS)
            is not None
        )

    async def insert_part(self, transaction: Transaction, part: NewPart) -> datetime:
        """Keep a part; when that was."""
        created_at = await _QUERIES.value(
            transaction,
            "insert_part",
            part.id,
            part.upload_id,
            part.byte_size,
            part.data_key_id,
            part.stored_name,
        )
        return cast("datetime", created_at)

    async def list_parts(
        self, transaction: Transaction, upload_id: UUID, part_ids: Sequence[UUID]
    ) -> dict[UUID, Record]:
        """Those of the given parts that are the upload's, with their keys."""
        rows = await _QUERIES.many(transaction, "list_parts", upload_id, part_ids)
        return {row["id"]: row for row in rows}

    async def delete_parts(self, transaction: Transaction, upload_id: UUID) -> list[bytes]:
        """Forget all parts of an upload; the names of their bytes in the store."""
        rows = await _QUERIES.many(transaction, "delete_parts", upload_id)
        return [row["stored_name"] for row in rows]

    async def complete_upload(
        self, transaction: Transaction, upload_id: UUID, document_id: UUID
    ) -> None:
        """Note what an upload was made into."""
        await _QUERIES.execute(transaction, "complete_upload", upload_id, document_id)

    async def cancel_upload(self, transaction: Transaction, upload_id: UUID) -> None:
        """Note that an upload was given up."""
        await _QUERIES.execute(transaction, "cancel_upload", upload_id)

    async def delete_upload(self, transaction: Transaction, upload_id: UUID) -> None:
        """Forget an upload."""
        await _QUERIES.execute(transaction, "delete_upload", upload_id)
