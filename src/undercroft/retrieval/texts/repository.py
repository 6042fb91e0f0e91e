"""The statement that reads a document's text."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.sharing.models import GrantAction

_QUERIES: Final = load_queries("undercroft.retrieval.texts")


class TextRepository:
    """Reads chunks, encrypted as they are, as far as the principal may."""

    async def list_chunks(
        self,
        transaction: Transaction,
        document_id: UUID,
        actions: Sequence[GrantAction],
        after: int,
        limit: int,
        page: int | None = None,
    ) -> list[Record]:
        """The chunks that end after an offset, perhaps on one page; nothing when the principal sees no document."""
        return await _QUERIES.many(
            transaction, "list_chunks", document_id, list(actions), after, limit, page
        )
