"""The search's statement."""

from typing import Final
from uuid import UUID

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.chat.conversations.searching")


class SearchingRepository:
    """Says where to look."""

    async def list_readable(
        self, transaction: Transaction, after: UUID | None, limit: int
    ) -> list[UUID]:
        """The conversations that the principal may read, the newest first, from after one."""
        rows = await _QUERIES.many(transaction, "list_readable", after, limit)
        return [row["id"] for row in rows]
