"""Results of functions in conversations: of which call each is, and what it so rests on.

Who asks a function repeats what the answer was made from, and what it returns may say it again. So a result is readable
where its call is.
"""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from undercroft.chat.conversations.models import NewItem
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.conversations.sealing import open_item
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Transaction
from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.keys.service import KeyRing


class ConversationCalls:
    """Finds the calls that results are of.

    Args:
        keys: Open them.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._repository = ConversationRepository()

    async def trace(
        self,
        transaction: Transaction,
        conversation_id: UUID,
        items: Sequence[NewItem],
        param: str,
    ) -> list[NewItem]:
        """New items for a locked conversation, results with what calls of their id were made from.

        All of these: models use an id again, and whoever may write can add a call by the id of another.

        Args:
            transaction: What holds the lock.
            conversation_id: The conversation.
            items: In their order.
            param: Where they stand in the request.

        Raises:
            InvalidRequestError: When a result is of no call before it, or of one that was erased: no model reads that,
                and what it says rests on nothing.
        """
        results = {
            place: item.body["call_id"]
            for place, item in enumerate(items)
            if item.kind == "function_call_output"
        }
        if not results:
            return list(items)
        made = {item.body["call_id"] for item in items if item.kind == "function_call"}
        found = await self._find(transaction, conversation_id)
        traced = list(items)
        for place, call_id in results.items():
            if call_id not in made and call_id not in found:
                raise InvalidRequestError(
                    f"There is a result of the call '{call_id}', but no such call before it.",
                    param=param,
                )
            sources = await self._repository.list_item_sources(
                transaction, conversation_id, found.get(call_id, [])
            )
            traced[place] = replace(items[place], sources=sources)
        return traced

    async def _find(self, transaction: Transaction, conversation_id: UUID) -> dict[str, list[int]]:
        """The numbers of a conversation's calls, through all of its branches, by their ids."""
        found: dict[str, list[int]] = {}
        for row in await self._repository.list_calls(transaction, conversation_id):
            key = await self._keys.open(row)
            try:
                item = open_item(
                    key, row["tenant_id"], conversation_id, row["number"], row["sealed_item"]
                )
            except DecryptionError:
                # It cannot be read by anybody else either.
                continue
            found.setdefault(item["call_id"], []).append(row["number"])
        return found
