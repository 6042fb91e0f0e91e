"""The statements of ``queries.sql``, one method each. Those of one tenant run in its scope."""

from collections.abc import Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.operations.backups")


class BackupRepository:
    """What is read for a backup, and what is put right after a restore."""

    async def list_columns(self, transaction: Transaction) -> list[tuple[str, str]]:
        """Table and column of every column that can be written."""
        rows = await _QUERIES.many(transaction, "list_columns")
        return [(row["table_name"], row["column_name"]) for row in rows]

    async def list_references(self, transaction: Transaction) -> list[tuple[str, str]]:
        """Which table refers to which."""
        rows = await _QUERIES.many(transaction, "list_references")
        return [(row["table_name"], row["referenced"]) for row in rows]

    async def list_applied_migrations(self, transaction: Transaction) -> dict[int, str]:
        """The checksum of each migration that was applied, by its version."""
        rows = await _QUERIES.many(transaction, "list_applied_migrations")
        return {row["version"]: row["checksum"] for row in rows}

    async def list_blobs(self, transaction: Transaction, after: UUID, limit: int) -> list[Record]:
        """A page of the tenant's contents, in the order of their ids."""
        return await _QUERIES.many(transaction, "list_blobs", after, limit)

    async def blob_exists(self, transaction: Transaction, blob_id: UUID) -> bool:
        """Whether the tenant still has a content."""
        return bool(await _QUERIES.value(transaction, "blob_exists", blob_id))

    async def find_log(self, transaction: Transaction) -> Record | None:
        """The head of the tenant's log."""
        return await _QUERIES.maybe(transaction, "find_log")

    async def find_filled_table(self, transaction: Transaction) -> str | None:
        """A table with rows, where there should be none."""
        return cast("str | None", await _QUERIES.value(transaction, "find_filled_table"))

    async def renumber_pending_entries(self, transaction: Transaction) -> None:
        """Give the entries that wait for a number this server's order, which is the one they had."""
        await _QUERIES.execute(transaction, "renumber_pending_entries")

    async def forget_index(self, transaction: Transaction) -> None:
        """Mark the tenant's contents as not indexed."""
        await _QUERIES.execute(transaction, "forget_index")

    async def forget_uploads(self, transaction: Transaction) -> None:
        """Take back what is in parts: their bytes are not in a backup."""
        await _QUERIES.execute(transaction, "delete_parts")
        await _QUERIES.execute(transaction, "delete_uploads")

    async def count_usage(self, transaction: Transaction) -> None:
        """Count what the tenant and its users keep."""
        await _QUERIES.execute(transaction, "count_user_usage")
        await _QUERIES.execute(transaction, "count_tenant_usage")

    async def list_unindexed_members(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """A page of contents that are in a collection and not indexed, each with its owner."""
        return await _QUERIES.many(transaction, "list_unindexed_members", after, limit)

    async def delete_erased(self, transaction: Transaction, blob_ids: Sequence[UUID]) -> int:
        """Delete the documents of contents that were being erased; how many there were."""
        deleted = await _QUERIES.execute(transaction, "delete_holders", blob_ids)
        await _QUERIES.execute(transaction, "delete_unused_blobs")
        return deleted

    async def has_stored_name(self, transaction: Transaction, tenant_id: UUID, name: bytes) -> bool:
        """Whether a file of the blob store is the ciphertext of a content."""
        return bool(await _QUERIES.value(transaction, "has_stored_name", tenant_id, name))
