"""The statements about used documents, one method each."""

from collections.abc import Sequence
from typing import Final, TypeAlias
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

PassageOf: TypeAlias = tuple[UUID, int, int, int]
"""Where a passage stands: its document, which version of that, and from where to where."""

_QUERIES: Final = load_queries("undercroft.chat.uses")


class UseRepository:
    """Reads what the ledger has to know of documents, and forgets what was read before."""

    async def forget_inherited(self, transaction: Transaction, response_id: UUID) -> None:
        """Forget what a response rests on through the turns before it."""
        await _QUERIES.execute(transaction, "forget_inherited", response_id)

    async def insert_inherited(
        self, transaction: Transaction, response_id: UUID, passages: Sequence[PassageOf]
    ) -> None:
        """Record what a response rests on through them, if it is still there."""
        await _QUERIES.execute(
            transaction,
            "insert_inherited",
            response_id,
            *([passage[part] for passage in passages] for part in range(4)),
        )

    async def list_documents(
        self, transaction: Transaction, document_ids: Sequence[UUID]
    ) -> list[Record]:
        """The owner and the salt of each."""
        return await _QUERIES.many(transaction, "list_documents", list(document_ids))
