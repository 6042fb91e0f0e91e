"""The statements of ``queries.sql``, one method each; all within the scope of one tenant."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.operations.examination")


class ExaminationRepository:
    """Reads all that a tenant keeps, page by page."""

    async def get_log(self, transaction: Transaction) -> Record:
        """The head of the log."""
        return await _QUERIES.one(transaction, "get_log")

    async def list_log_keys(self, transaction: Transaction) -> list[Record]:
        """Every key that has signed the log, the newest first."""
        return await _QUERIES.many(transaction, "list_log_keys")

    async def list_entries(self, transaction: Transaction, first: int, limit: int) -> list[Record]:
        """Entries from a position on."""
        return await _QUERIES.many(transaction, "list_entries", first, limit)

    async def list_tile_hashes(
        self, transaction: Transaction, places: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], bytes]:
        """Stored hashes above the leaves, by level and position."""
        rows = await _QUERIES.many(
            transaction,
            "list_tile_hashes",
            [level for level, _ in places],
            [position for _, position in places],
        )
        return {(row["level"], row["position"]): row["hash"] for row in rows}

    async def count_tile_hashes(self, transaction: Transaction) -> int:
        """How many there are."""
        return int(await _QUERIES.value(transaction, "count_tile_hashes"))

    async def list_tenant_keys(self, transaction: Transaction) -> list[Record]:
        """The tenant's keys, destroyed ones too."""
        return await _QUERIES.many(transaction, "list_tenant_keys")

    async def list_data_keys(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Data keys, each with whether anything is encrypted with it."""
        return await _QUERIES.many(transaction, "list_data_keys", after, limit)

    async def list_sealed_documents(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Names of documents."""
        return await _QUERIES.many(transaction, "list_sealed_documents", after, limit)

    async def list_sealed_collections(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Names of collections."""
        return await _QUERIES.many(transaction, "list_sealed_collections", after, limit)

    async def list_sealed_responses(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Kept answers."""
        return await _QUERIES.many(transaction, "list_sealed_responses", after, limit)

    async def list_sealed_uploads(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Names of uploads."""
        return await _QUERIES.many(transaction, "list_sealed_uploads", after, limit)

    async def list_sealed_webhooks(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Webhooks after ``after``, with their sealed targets."""
        return await _QUERIES.many(transaction, "list_sealed_webhooks", after, limit)

    async def list_sealed_metadata(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Metadata of documents."""
        return await _QUERIES.many(transaction, "list_sealed_metadata", after, limit)

    async def list_sealed_schemas(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Names of schemas."""
        return await _QUERIES.many(transaction, "list_sealed_schemas", after, limit)

    async def list_sealed_definitions(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Versions of schemas."""
        return await _QUERIES.many(transaction, "list_sealed_definitions", *after, limit)

    async def list_record_parts(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """All parts of a page of versions of records."""
        return await _QUERIES.many(transaction, "list_record_parts", *after, limit)

    async def list_blobs(self, transaction: Transaction, after: UUID, limit: int) -> list[Record]:
        """Contents."""
        return await _QUERIES.many(transaction, "list_blobs", after, limit)

    async def list_commitments(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Versions of documents, each with the entry that commits to its content."""
        return await _QUERIES.many(transaction, "list_commitments", *after, limit)

    async def list_chunks(self, transaction: Transaction, after: int, limit: int) -> list[Record]:
        """Passages."""
        return await _QUERIES.many(transaction, "list_chunks", after, limit)

    async def list_unindexed_blobs(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Contents that say they are indexed and are not, or not whole."""
        return await _QUERIES.many(transaction, "list_unindexed_blobs", after, limit)

    async def list_superseded(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Contents that are in the index and current nowhere."""
        return await _QUERIES.many(transaction, "list_superseded", after, limit)

    async def find_wrong_corpus(self, transaction: Transaction) -> Record | None:
        """How many passages are counted and how many there are, where that differs."""
        return await _QUERIES.maybe(transaction, "find_wrong_corpus")

    async def count_wrong_terms(self, transaction: Transaction) -> int:
        """How many words have a wrong count."""
        return int(await _QUERIES.value(transaction, "count_wrong_terms"))

    async def blob_exists(self, transaction: Transaction, blob_id: UUID) -> bool:
        """Whether there is such a content."""
        return bool(await _QUERIES.value(transaction, "blob_exists", blob_id))

    async def has_stored_name(self, transaction: Transaction, name: bytes) -> bool:
        """Whether a file of the store is the ciphertext of a content."""
        return bool(await _QUERIES.value(transaction, "has_stored_name", name))
