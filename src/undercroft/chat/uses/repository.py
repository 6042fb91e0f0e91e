"""The statements about used documents, one method each."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.chat.uses")


class UseRepository:
    """Reads what the ledger has to know of documents."""

    async def list_documents(
        self, transaction: Transaction, document_ids: Sequence[UUID]
    ) -> list[Record]:
        """The owner and the salt of each."""
        return await _QUERIES.many(transaction, "list_documents", list(document_ids))
