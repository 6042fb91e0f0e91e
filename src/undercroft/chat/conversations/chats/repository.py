"""The statements about what clients call conversations and messages, one method each."""

from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.chat.conversations.chats")


class ChatRepository:
    """Finds what is called so."""

    async def find_conversation(self, transaction: Transaction, reference: UUID) -> UUID | None:
        """The conversation of the caller's that their client calls so."""
        return await _QUERIES.value(transaction, "find_conversation", reference)

    async def find_turn_parent(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        named_id: UUID | None,
        reference: UUID | None,
    ) -> Record | None:
        """What a turn goes on from; None where there is no such turn."""
        return await _QUERIES.maybe(
            transaction, "find_turn_parent", conversation_id, named_id, reference
        )
