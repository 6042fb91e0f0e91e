"""The statements of ``queries.sql``, one method each; all within the scope of one tenant."""

from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.operations.examination.values")


class ValueRepository:
    """Reads sealed values, page by page; each with its row's id and number, which is 0 where rows have none."""

    async def list_sealed_mail(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Mail that is still to be sent."""
        return await _QUERIES.many(transaction, "list_sealed_mail", *after, limit)

    async def list_sealed_answers(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Answers that are kept under idempotency keys: their outer layer."""
        return await _QUERIES.many(transaction, "list_sealed_answers", *after, limit)

    async def list_sealed_factors(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Secrets of second factors."""
        return await _QUERIES.many(transaction, "list_sealed_factors", *after, limit)

    async def list_sealed_links(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Addresses that share links are sent to."""
        return await _QUERIES.many(transaction, "list_sealed_links", *after, limit)

    async def list_sealed_requests(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """What is asked for and not yet answered."""
        return await _QUERIES.many(transaction, "list_sealed_requests", *after, limit)

    async def list_sealed_comments(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Comments on documents."""
        return await _QUERIES.many(transaction, "list_sealed_comments", *after, limit)

    async def list_sealed_notices(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Versions of notices."""
        return await _QUERIES.many(transaction, "list_sealed_notices", *after, limit)

    async def list_sealed_statements(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Statements of the passages of answers."""
        return await _QUERIES.many(transaction, "list_sealed_statements", *after, limit)

    async def list_sealed_events(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Runs of the events of answers, by the number of their first event."""
        return await _QUERIES.many(transaction, "list_sealed_events", *after, limit)

    async def list_sealed_questions(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """What was asked for answers that are still being made."""
        return await _QUERIES.many(transaction, "list_sealed_questions", *after, limit)

    async def list_sealed_conversations(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Metadata of conversations."""
        return await _QUERIES.many(transaction, "list_sealed_conversations", *after, limit)

    async def list_sealed_items(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Items of conversations."""
        return await _QUERIES.many(transaction, "list_sealed_items", *after, limit)

    async def list_sealed_patches(
        self, transaction: Transaction, after: tuple[UUID, int], limit: int
    ) -> list[Record]:
        """Patches of migrations."""
        return await _QUERIES.many(transaction, "list_sealed_patches", *after, limit)
