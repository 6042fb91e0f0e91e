"""The statements of ``queries.sql``, one method each; all within the scope of one tenant."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.operations.exports")


class ExportRepository:
    """Reads all that a tenant keeps, page by page."""

    async def list_users(self, transaction: Transaction, after: UUID, limit: int) -> list[Record]:
        """Users, without their secrets."""
        return await _QUERIES.many(transaction, "list_users", after, limit)

    async def list_versions(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Versions of documents, each with its keys and the entry that commits to its content."""
        return await _QUERIES.many(transaction, "list_versions", *after, limit)

    async def list_comments(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Comments on documents."""
        return await _QUERIES.many(transaction, "list_comments", after, limit)

    async def list_collections(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Collections."""
        return await _QUERIES.many(transaction, "list_collections", after, limit)

    async def list_members(
        self, transaction: Transaction, after: tuple[UUID, UUID], limit: int
    ) -> list[Record]:
        """Which documents are in which collections."""
        return await _QUERIES.many(transaction, "list_members", *after, limit)

    async def list_schema_versions(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Versions of schemas."""
        return await _QUERIES.many(transaction, "list_schema_versions", *after, limit)

    async def list_record_parts(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """All parts of a page of versions of records."""
        return await _QUERIES.many(transaction, "list_record_parts", *after, limit)

    async def list_conversations(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """A page of conversations, with their keys."""
        return await _QUERIES.many(transaction, "list_conversations", after, limit)

    async def list_conversation_items(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """A page of the items of conversations, with their keys."""
        return await _QUERIES.many(transaction, "list_conversation_items", *after, limit)

    async def list_responses(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[Record]:
        """Kept answers."""
        return await _QUERIES.many(transaction, "list_responses", after, limit)

    async def get_log(self, transaction: Transaction) -> Record:
        """The head of the log."""
        return await _QUERIES.one(transaction, "get_log")

    async def list_entries(self, transaction: Transaction, first: int, limit: int) -> list[Record]:
        """Entries from a position on, each with the salts of the people in it."""
        return await _QUERIES.many(transaction, "list_entries", first, limit)

    async def list_salts(self, transaction: Transaction, ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """The salts of those things, people and keys that there still are."""
        rows = await _QUERIES.many(transaction, "list_salts", ids)
        return {row["id"]: row["salt"] for row in rows}

    async def blob_exists(self, transaction: Transaction, blob_id: UUID) -> bool:
        """Whether the tenant still has a content."""
        return bool(await _QUERIES.value(transaction, "blob_exists", blob_id))
