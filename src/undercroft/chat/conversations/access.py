"""Conversations as rows that are found, locked and put on record."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from asyncpg import Record

from undercroft.chat.conversations.models import CONVERSATION_PREFIX, Conversation, IfBusy
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.conversations.sealing import open_metadata
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.ways import EVERY_ACTION, acts_under, read_access
from undercroft.vault.keys.service import KeyRing


class ConversationAccess:
    """Finds and locks conversations that the principal may see.

    Args:
        database: Where they are.
        keys: Open their metadata.
        ledger: Where it is put on record.
    """

    def __init__(self, database: Database, keys: KeyRing, ledger: Ledger) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._uses = GrantUses()
        self._repository = ConversationRepository()

    def refusing(
        self, scope: Scope, action: Action, conversation_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction on one conversation, whose refusal is put on record."""
        find = find_target(
            CONVERSATION_PREFIX, conversation_id, self._repository.find_conversation_owner
        )
        return recording_refusal(self._database, self._ledger, scope, action, find)

    async def find(
        self, transaction: Transaction, conversation_id: UUID, actions: Sequence[GrantAction]
    ) -> Record:
        """The row of a conversation.

        Raises:
            NotFoundError: When the principal may see no such conversation.
            NotGrantedError: When they may, and not by one of the actions.
        """
        row = await self._repository.find_conversation(transaction, conversation_id, actions)
        if row is None:
            await self.refuse(transaction, conversation_id, actions)
            raise no_conversation(conversation_id)
        return row

    async def lock(
        self, transaction: Transaction, conversation_id: UUID, actions: Sequence[GrantAction]
    ) -> Record:
        """The row of a conversation that nobody else changes before the transaction ends, under grants that last.

        Raises:
            NotFoundError: When the principal may see no such conversation.
            NotGrantedError: When they may, and not by one of the actions.
            GrantEndedError: When the grant ended meanwhile.
        """
        if not await self._repository.lock_conversation(transaction, conversation_id, actions):
            await self.refuse(transaction, conversation_id, actions)
            raise no_conversation(conversation_id)
        row = await self.find(transaction, conversation_id, actions)
        # Against a revocation that is answered before this is written.
        await self._uses.hold(transaction, read_access(row["action"], row["ways"]).way)
        return row

    async def open(self, row: Record) -> Conversation:
        """The conversation of a row that was found or locked.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
            DecryptionError: When the row or its key is damaged.
        """
        key = await self._keys.open(row)
        metadata = open_metadata(key, row["tenant_id"], row["id"], row["sealed_metadata"])
        return Conversation(
            id=row["id"],
            tenant_id=row["tenant_id"],
            owner_id=row["owner_id"],
            access=read_access(row["action"], row["ways"]),
            key=key,
            next_number=row["next_number"],
            metadata=metadata,
            created_at=row["created_at"],
            if_busy=IfBusy(row["if_busy"]),
            branch=row["current_branch"],
        )

    async def refuse(
        self, transaction: Transaction, conversation_id: UUID, wanted: Sequence[GrantAction]
    ) -> None:
        """Tell whoever may see a conversation, and not do this with it, what they lack.

        Raises:
            NotGrantedError: When it is so.
        """
        others = [action for action in EVERY_ACTION if action not in wanted]
        action = await self._repository.find_way_in(
            transaction, conversation_id, [*wanted, *others]
        )
        if action in others:
            raise NotGrantedError(*wanted)

    async def record(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        conversation_id: UUID,
        row: Record,
    ) -> None:
        """Put on record what the principal did with a conversation; the row says how they come to it."""
        access = read_access(row["action"], row["ways"])
        subject = Subject(render_id(CONVERSATION_PREFIX, conversation_id), row["salt"])
        act = Act(action, subject, row["owner_id"])
        await self._ledger.append(transaction, scope, *acts_under(scope, access.way, act))


def no_conversation(conversation_id: UUID) -> NotFoundError:
    """The error for a conversation that the principal may not know of."""
    return NotFoundError("conversation", render_id(CONVERSATION_PREFIX, conversation_id))
