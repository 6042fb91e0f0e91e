"""Conversations under the names that clients give them, and their messages: a chat is a conversation.

The AI SDK names a chat and each message itself, before the service knows of them. A name is kept as half a SHA-256
digest; it counts for its owner, or within its conversation.
"""

import hashlib
from uuid import UUID

from undercroft.chat.conversations.access import ConversationAccess
from undercroft.chat.conversations.chats.repository import ChatRepository
from undercroft.chat.conversations.errors import ReferenceTakenError
from undercroft.chat.conversations.models import CONVERSATION_PREFIX, Parent
from undercroft.chat.conversations.service import ConversationService
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import parse_id
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import GrantAction
from undercroft.vault.keys.service import KeyRing


class ChatService:
    """Finds and begins conversations by what clients call them.

    Args:
        database: Where they are.
        keys: Open them.
        ledger: Where it is put on record who was refused.
        conversations: Begins them.
    """

    def __init__(
        self, database: Database, keys: KeyRing, ledger: Ledger, conversations: ConversationService
    ) -> None:
        self._database = database
        self._conversations = conversations
        self._access = ConversationAccess(database, keys, ledger)
        self._repository = ChatRepository()

    async def find(self, scope: Scope, chat_id: str) -> UUID | None:
        """The conversation that a chat is: the one with that id, or the one of the principal's that is called so.

        Raises:
            NotFoundError: When it looks like a conversation's id and cannot be one.
        """
        if chat_id.startswith(CONVERSATION_PREFIX):
            conversation_id = parse_id(CONVERSATION_PREFIX, chat_id)
            if conversation_id is None:
                raise NotFoundError("conversation", chat_id[:100], param="id")
            return conversation_id
        async with self._database.transaction(scope) as transaction:
            return await self._repository.find_conversation(transaction, reference_of(chat_id))

    async def begin(self, scope: Scope, chat_id: str) -> UUID:
        """The conversation of the principal's that is called so, begun unless it is there."""
        try:
            made = await self._conversations.create(scope, {}, reference=reference_of(chat_id))
        except ReferenceTakenError:
            found = await self.find(scope, chat_id)
            # It was deleted as soon as it was begun, by whoever has both open.
            return await self.begin(scope, chat_id) if found is None else found
        return made.id

    async def find_parent(
        self, scope: Scope, conversation_id: UUID, named_id: UUID | None, name: str
    ) -> Parent | None:
        """What the turn goes on from that has a message; None where the conversation has no such message.

        Args:
            scope: Who asks.
            conversation_id: The conversation.
            named_id: The message's item, or its response, if it is called by one.
            name: What a client calls it.

        Raises:
            NotFoundError: When the principal may see no such conversation.
            NotGrantedError: When they may, and not read it.
        """
        async with self._access.refusing(
            scope, "conversation.read", conversation_id
        ) as transaction:
            await self._access.find(transaction, conversation_id, (GrantAction.READ,))
            row = await self._repository.find_turn_parent(
                transaction, conversation_id, named_id, reference_of(name)
            )
        return None if row is None else Parent(row["parent_id"])


def reference_of(name: str) -> UUID:
    """What is kept of a name that a client gives."""
    return UUID(bytes=hashlib.sha256(name.encode()).digest()[:16])
