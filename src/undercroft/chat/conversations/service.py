"""Keeps conversations, numbers what is said in them, and shows it as far as it may be read."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.conversations.access import ConversationAccess, no_conversation
from undercroft.chat.conversations.appending import ItemAppender
from undercroft.chat.conversations.branches.service import Branches, no_item
from undercroft.chat.conversations.errors import ReferenceTakenError
from undercroft.chat.conversations.models import (
    CONVERSATION_PREFIX,
    Conversation,
    IfBusy,
    ItemPage,
    NewItem,
    Parent,
    WireItem,
)
from undercroft.chat.conversations.reading import ItemReader, ReadItem
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.conversations.sealing import seal_metadata
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction
from undercroft.sharing.ways import EVERY_ACTION, OWN
from undercroft.vault.keys.service import KeyRing

_READ: Final = (GrantAction.READ,)
_WRITE: Final = (GrantAction.WRITE,)


class ConversationService:
    """Creates, reads, changes and deletes conversations and their items.

    Args:
        database: Where they are.
        keys: Seal and open them.
        ledger: Where it is put on record.
        ids: Names them.
    """

    def __init__(self, database: Database, keys: KeyRing, ledger: Ledger, ids: IdSource) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._ids = ids
        self._access = ConversationAccess(database, keys, ledger)
        self._appender = ItemAppender(keys, ids)
        self._reader = ItemReader(keys)
        self._branches = Branches()
        self._repository = ConversationRepository()

    async def create(
        self,
        scope: Scope,
        metadata: Mapping[str, str],
        items: Sequence[NewItem] = (),
        if_busy: IfBusy = IfBusy.ENQUEUE,
        reference: UUID | None = None,
    ) -> Conversation:
        """Begin a conversation, with these items in it; ``reference``: what its owner's client calls it.

        Raises:
            ItemTooLargeError: When an item is longer than any may be.
            ReferenceTakenError: When another conversation of theirs is called so.
        """
        conversation_id = self._ids.new()
        async with self._database.transaction(scope) as transaction:
            key = await self._keys.create(transaction, scope)
            sealed = seal_metadata(key, scope.tenant_id, conversation_id, metadata)
            created_at = await self._repository.insert_conversation(
                transaction, conversation_id, key.id, sealed, if_busy, reference
            )
            if created_at is None:
                raise ReferenceTakenError
            made = Conversation(
                conversation_id,
                scope.tenant_id,
                scope.principal_id,
                OWN,
                key,
                0,
                metadata,
                created_at,
                if_busy,
            )
            await self._appender.append(transaction, scope, made, items)
            subject = Subject(render_id(CONVERSATION_PREFIX, conversation_id), key.salt)
            act = Act("conversation.create", subject, scope.principal_id)
            await self._ledger.append(transaction, scope, act)
        return made

    async def get(self, scope: Scope, conversation_id: UUID) -> Conversation:
        """A conversation.

        Raises:
            NotFoundError: When the principal may see no such conversation.
            NotGrantedError: When they may, and not read it.
        """
        async with self._access.refusing(
            scope, "conversation.read", conversation_id
        ) as transaction:
            row = await self._access.find(transaction, conversation_id, _READ)
            await self._access.record(transaction, scope, "conversation.read", conversation_id, row)
        return await self._access.open(row)

    async def update(
        self,
        scope: Scope,
        conversation_id: UUID,
        metadata: Mapping[str, str],
        if_busy: IfBusy | None = None,
        branch: UUID | None = None,
    ) -> Conversation:
        """Replace the metadata, and the rest that is given; ``branch``: an item whose branch becomes the current one.

        Raises:
            NotFoundError: When the principal may see no such conversation, or it has no such item.
            NotGrantedError: When they may, and not write it.
            GrantEndedError: When the grant ended meanwhile.
        """
        async with self._access.refusing(
            scope, "conversation.update", conversation_id
        ) as transaction:
            row = await self._access.lock(transaction, conversation_id, _WRITE)
            key = await self._keys.open(row)
            sealed = seal_metadata(key, scope.tenant_id, conversation_id, metadata)
            await self._repository.update_conversation(
                transaction, conversation_id, sealed, if_busy
            )
            if branch is not None:
                await self._branches.switch(transaction, await self._access.open(row), branch)
            await self._access.record(
                transaction, scope, "conversation.update", conversation_id, row
            )
            changed = await self._access.find(transaction, conversation_id, _WRITE)
            return await self._access.open(changed)

    async def delete(self, scope: Scope, conversation_id: UUID) -> None:
        """Delete a conversation with all of its items.

        Raises:
            NotFoundError: When the principal may see no such conversation.
            NotGrantedError: When it is shared with them: it is its owner's to delete.
        """
        async with self._access.refusing(
            scope, "conversation.delete", conversation_id
        ) as transaction:
            row = await self._find_own(transaction, scope, conversation_id)
            # Of two who delete it at once, the second has waited, and finds nothing to delete.
            if not await self._repository.delete_conversation(transaction, conversation_id):
                raise no_conversation(conversation_id)
            await self._access.record(
                transaction, scope, "conversation.delete", conversation_id, row
            )

    async def add(
        self,
        scope: Scope,
        conversation_id: UUID,
        items: Sequence[NewItem],
        parent: Parent | None = None,
    ) -> list[WireItem]:
        """Put items at the end of a conversation's current branch, or behind an item, all or none; what was added.

        Raises:
            NotFoundError: When the principal may see no such conversation, or it has no such item.
            NotGrantedError: When they may, and not write it.
            GrantEndedError: When the grant ended meanwhile.
            ItemTooLargeError: When an item is longer than any may be.
            TooManyItemsError: When there is no room for them.
        """
        async with self._access.refusing(
            scope, "conversation.add_items", conversation_id
        ) as transaction:
            row = await self._access.lock(transaction, conversation_id, _WRITE)
            locked = await self._access.open(row)
            branch = await self._branches.find_for(transaction, locked, parent)
            added = await self._appender.append(transaction, scope, locked, items, branch=branch)
            await self._access.record(
                transaction, scope, "conversation.add_items", conversation_id, row
            )
        return added

    async def list_items(
        self, scope: Scope, conversation_id: UUID, page: ItemPage
    ) -> list[ReadItem]:
        """A page of a conversation's items, without what the principal may not or no more read of them.

        Raises:
            NotFoundError: When the principal may see no such conversation, or it has no item to come after.
            NotGrantedError: When they may, and not read it.
        """
        return await self._read(scope, conversation_id, page)

    async def list_siblings(
        self, scope: Scope, conversation_id: UUID, item_id: UUID, page: ItemPage
    ) -> list[ReadItem]:
        """A page of the items that go on from the same one as an item does, itself among them.

        Raises:
            NotFoundError: When the principal may see no such conversation, or it has no such item.
            NotGrantedError: When they may, and not read it.
        """
        return await self._read(scope, conversation_id, page, siblings_of=item_id)

    async def get_item(self, scope: Scope, conversation_id: UUID, item_id: UUID) -> WireItem:
        """One item, as :meth:`list_items` shows it.

        Raises:
            NotFoundError: When the principal may see no such conversation, or there is no such item.
            NotGrantedError: When they may, and not read it.
        """
        items = await self._read(scope, conversation_id, ItemPage(1), item_id)
        if not items:
            raise no_item(item_id.hex)
        return items[0].wire

    async def delete_item(self, scope: Scope, conversation_id: UUID, item_id: UUID) -> Conversation:
        """Forget an item; its number stays behind.

        Raises:
            NotFoundError: When the principal may see no such conversation, or there is no such item.
            NotGrantedError: When it is shared with them: what is in it is its owner's to delete.
        """
        async with self._access.refusing(
            scope, "conversation.delete_item", conversation_id
        ) as transaction:
            await self._find_own(transaction, scope, conversation_id)
            row = await self._access.lock(transaction, conversation_id, _READ)
            if not await self._repository.delete_item(transaction, conversation_id, item_id):
                raise no_item(item_id.hex)
            await self._access.record(
                transaction, scope, "conversation.delete_item", conversation_id, row
            )
        return await self._access.open(row)

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a conversation, for its owner alone; None when it is gone."""
        conversation_id = parse_id(CONVERSATION_PREFIX, reference)
        if conversation_id is None:
            return None
        row = await self._repository.find_conversation_owner(transaction, conversation_id)
        if row is None or row["owner_id"] != scope.principal_id:
            return None
        return row["salt"]

    async def _find_own(
        self, transaction: Transaction, scope: Scope, conversation_id: UUID
    ) -> Record:
        row = await self._access.find(transaction, conversation_id, EVERY_ACTION)
        if row["owner_id"] != scope.principal_id:
            raise NotGrantedError
        return row

    async def _read(
        self,
        scope: Scope,
        conversation_id: UUID,
        page: ItemPage,
        item_id: UUID | None = None,
        siblings_of: UUID | None = None,
    ) -> list[ReadItem]:
        async with self._access.refusing(
            scope, "conversation.read", conversation_id
        ) as transaction:
            numbers = siblings_of and await self._branches.list_siblings(
                transaction, conversation_id, siblings_of
            )
            rows = await self._repository.list_items(
                transaction, conversation_id, page, item_id, numbers=numbers
            )
            if not rows:
                await self._access.refuse(transaction, conversation_id, _READ)
                raise no_conversation(conversation_id)
            items = await self._reader.read(transaction, rows)
            if page.branch is not None:
                await self._require_item(transaction, conversation_id, page.branch, "branch")
            if siblings_of is not None and not numbers:
                raise no_item(siblings_of.hex, "siblings_of")
            if not items and page.after is not None:
                await self._require_item(transaction, conversation_id, page.after, "after")
            await self._access.record(
                transaction, scope, "conversation.read", conversation_id, rows[0]
            )
        return items

    async def _require_item(
        self, transaction: Transaction, conversation_id: UUID, item_id: UUID, param: str
    ) -> None:
        if not await self._branches.has_item(transaction, conversation_id, item_id):
            raise no_item(item_id.hex, param)
