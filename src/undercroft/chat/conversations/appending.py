"""Puts items at the end of conversations: numbered, sealed, with what they were made from."""

from collections.abc import Sequence
from uuid import UUID

from undercroft.chat.conversations.calls import ConversationCalls
from undercroft.chat.conversations.errors import ItemTooLargeError, TooManyItemsError
from undercroft.chat.conversations.models import (
    LARGEST_ITEM,
    MOST_ITEMS,
    Conversation,
    NewItem,
    Source,
    WireItem,
    wire_item,
)
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.conversations.sealing import item_place
from undercroft.kit.crypto.aead import seal
from undercroft.kit.crypto.sealed_json import encode_json
from undercroft.kit.database import Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.vault.keys.service import KeyRing


class ItemAppender:
    """Adds to conversations that a transaction holds.

    Args:
        keys: Seal items.
        ids: Names them.
    """

    def __init__(self, keys: KeyRing, ids: IdSource) -> None:
        self._keys = keys
        self._ids = ids
        self._calls = ConversationCalls(keys)
        self._repository = ConversationRepository()

    async def append(
        self,
        transaction: Transaction,
        scope: Scope,
        conversation: Conversation,
        items: Sequence[NewItem],
        response_id: UUID | None = None,
        branch: int | None = None,
    ) -> list[WireItem]:
        """Put items at the end of a conversation that the transaction has locked, or has made; what was added.

        Args:
            transaction: What holds the lock.
            scope: Who adds them.
            conversation: As it is since it was locked.
            items: In their order.
            response_id: Which response they are asked or answered by.
            branch: Where they go; None: where the conversation is.

        Raises:
            InvalidRequestError: When there is a result of no call.
            ItemTooLargeError: When an item is longer than any may be.
            TooManyItemsError: When there is no room for them.
        """
        if not items:
            return []
        first = conversation.next_number
        if first + len(items) > MOST_ITEMS:
            raise TooManyItemsError(MOST_ITEMS)
        param = "items" if response_id is None else "input"
        traced = await self._calls.trace(transaction, conversation.id, items, param)
        added: list[WireItem] = []
        rows: list[tuple[UUID, str, UUID | None, bytes, UUID | None]] = []
        sources: list[tuple[int, Source]] = []
        for number, item in enumerate(traced, first):
            item_id = item.id or self._ids.new()
            wire = wire_item(item, item_id)
            plain = encode_json(wire)
            if len(plain) > LARGEST_ITEM:
                raise ItemTooLargeError(LARGEST_ITEM)
            own = await self._keys.create(transaction, scope) if item.sources else None
            key = own or conversation.key
            place = item_place(scope.tenant_id, conversation.id, number)
            sealed = seal(key.material, plain, place)
            rows.append((item_id, item.kind, own.id if own else None, sealed, item.reference))
            sources += [(number, source) for source in item.sources]
            added.append(wire)
        await self._repository.insert_items(
            transaction,
            conversation.id,
            first,
            rows,
            response_id,
            conversation.branch if branch is None else branch,
        )
        if sources:
            await self._repository.insert_passages(transaction, conversation.id, sources)
        return added
