"""The statements of batches, one method each."""

from collections.abc import Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.retrieval.collections.batches.models import FileBatch
from undercroft.retrieval.collections.models import Member, MemberStatus, Page, StatusCounts
from undercroft.retrieval.collections.repository import read_member

_QUERIES: Final = load_queries("undercroft.retrieval.collections.batches")


class FileBatchRepository:
    """Reads and writes batches of files."""

    async def insert_batch(
        self,
        transaction: Transaction,
        batch_id: UUID,
        collection_id: UUID,
        document_ids: Sequence[UUID],
    ) -> None:
        """Remember that these members were put into the collection together."""
        await _QUERIES.execute(transaction, "insert_batch", batch_id, collection_id, document_ids)

    async def find_batch(
        self, transaction: Transaction, collection_id: UUID, batch_id: UUID
    ) -> FileBatch | None:
        """A batch of a collection of the principal's."""
        row = await _QUERIES.maybe(transaction, "find_batch", collection_id, batch_id)
        if row is None:
            return None
        return FileBatch(
            id=row["id"],
            collection_id=row["collection_id"],
            created_at=row["created_at"],
            is_cancelled=row["is_cancelled"],
            counts=StatusCounts(
                row["in_progress"], row["completed"], row["failed"], row["cancelled"]
            ),
        )

    async def list_files(
        self,
        transaction: Transaction,
        collection_id: UUID,
        batch_id: UUID,
        page: Page,
        status: MemberStatus | None,
    ) -> list[Member]:
        """A page of a batch's files."""
        rows = await _QUERIES.many(
            transaction,
            "list_files",
            collection_id,
            batch_id,
            page.after,
            page.ascending,
            status,
            page.limit,
        )
        return [read_member(row) for row in rows]

    async def lock_collection_alone(
        self, transaction: Transaction, collection_id: UUID
    ) -> bytes | None:
        """Keep others from adding to a collection and from cancelling in it; its salt, or None when there is none."""
        salt = await _QUERIES.value(transaction, "lock_collection_alone", collection_id)
        return cast("bytes | None", salt)

    async def lock_documents(self, transaction: Transaction, batch_id: UUID) -> list[UUID]:
        """Lock those files of a batch that are in the collection by it."""
        rows = await _QUERIES.many(transaction, "lock_documents", batch_id)
        return [row["id"] for row in rows]

    async def lock_contents(self, transaction: Transaction, document_ids: Sequence[UUID]) -> None:
        """Keep contents of locked documents that are not indexed from being so, until the transaction ends."""
        await _QUERIES.execute(transaction, "lock_contents", document_ids)

    async def stop_files(
        self, transaction: Transaction, collection_id: UUID, document_ids: Sequence[UUID]
    ) -> list[Record]:
        """Take out of a collection those of these documents that are not indexed; what goes on record of them."""
        return await _QUERIES.many(transaction, "stop_files", collection_id, document_ids)

    async def mark_cancelled(self, transaction: Transaction, batch_id: UUID) -> None:
        """Remember that a batch was stopped."""
        await _QUERIES.execute(transaction, "mark_cancelled", batch_id)
