"""The statements of ``queries.sql``, one method each; all within the scope of one tenant."""

from collections.abc import Mapping
from typing import Final, cast
from uuid import UUID

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.ledger.merkle import Coordinate

_QUERIES: Final = load_queries("undercroft.operations.repairs")


class RepairRepository:
    """Derives again what was wrong. What says so needs the owner's transaction."""

    async def delete_index(self, transaction: Transaction, blob_id: UUID) -> bool:
        """Delete the passages of a content and mark it as not indexed; False when it is gone."""
        if await _QUERIES.value(transaction, "lock_blob", blob_id) is None:
            return False
        await _QUERIES.execute(transaction, "delete_chunks", blob_id)
        await _QUERIES.execute(transaction, "unmark_indexed", blob_id)
        return True

    async def find_member_owner(self, transaction: Transaction, blob_id: UUID) -> UUID | None:
        """Whose content it is, where it is in a collection."""
        owner = await _QUERIES.value(transaction, "find_member_owner", blob_id)
        return cast("UUID | None", owner)

    async def count_again(self, transaction: Transaction) -> None:
        """Count the tenant's passages and words again. The owner's."""
        await _QUERIES.execute(transaction, "lock_corpus")
        await _QUERIES.execute(transaction, "delete_terms")
        await _QUERIES.execute(transaction, "insert_terms")
        await _QUERIES.execute(transaction, "update_corpus")

    async def lock_log(self, transaction: Transaction) -> int:
        """Lock the tenant's log; its size. The owner's."""
        return int(await _QUERIES.value(transaction, "lock_log"))

    async def list_leaves(self, transaction: Transaction, first: int, limit: int) -> list[bytes]:
        """The bytes of consecutive entries."""
        rows = await _QUERIES.many(transaction, "list_leaves", first, limit)
        return [row["leaf"] for row in rows]

    async def delete_tiles(self, transaction: Transaction) -> None:
        """Delete all hashes above the entries of the tenant's log. The owner's."""
        await _QUERIES.execute(transaction, "delete_tiles")

    async def insert_tiles(
        self, transaction: Transaction, stored: Mapping[Coordinate, bytes]
    ) -> None:
        """Store hashes above the entries. The owner's."""
        await _QUERIES.execute(
            transaction,
            "insert_tiles",
            [level for level, _ in stored],
            [position for _, position in stored],
            list(stored.values()),
        )
