"""Results of functions in conversations: of which call each is, and what it so rests on.

Who asks a function repeats what the answer was made from, and what it returns may say it again. So a result is readable
where its call is.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from undercroft.chat.conversations.models import NewItem
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.conversations.sealing import open_item
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Transaction
from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.keys.service import KeyRing

MOST_TURNS: Final = 200
"""The most items of a conversation that are looked at for a prompt: the last ones."""


class ConversationCalls:
    """Finds the calls that results are of.

    Args:
        keys: Open them.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._repository = ConversationRepository()

    async def trace(
        self, transaction: Transaction, conversation_id: UUID, items: Sequence[NewItem]
    ) -> list[NewItem]:
        """New items for a locked conversation, results with what their calls were made from."""
        wanted = _earlier_calls(items)
        if not wanted:
            return list(items)
        found = await self._find(transaction, conversation_id)
        traced = list(items)
        for place, call_id in wanted.items():
            if call_id in found:
                sources = await self._repository.list_item_sources(
                    transaction, conversation_id, found[call_id]
                )
                traced[place] = replace(items[place], sources=sources)
        return traced

    async def require(
        self, transaction: Transaction, conversation_id: UUID, items: Sequence[NewItem]
    ) -> None:
        """Refuse a result whose call is nowhere before it: no model reads that.

        Raises:
            InvalidRequestError: When there is one.
        """
        wanted = _earlier_calls(items)
        found = await self._find(transaction, conversation_id) if wanted else {}
        for call_id in wanted.values():
            if call_id not in found:
                raise InvalidRequestError(
                    f"There is a result of the call '{call_id}', but no such call before it.",
                    param="input",
                )

    async def _find(self, transaction: Transaction, conversation_id: UUID) -> dict[str, int]:
        """The numbers of a conversation's calls by their ids: the last one of each."""
        found: dict[str, int] = {}
        for row in await self._repository.list_calls(transaction, conversation_id, MOST_TURNS):
            key = await self._keys.open(row)
            try:
                item = open_item(
                    key, row["tenant_id"], conversation_id, row["number"], row["sealed_item"]
                )
            except DecryptionError:
                # It cannot be read by anybody else either.
                continue
            found.setdefault(item["call_id"], row["number"])
        return found


def _earlier_calls(items: Sequence[NewItem]) -> dict[int, str]:
    """Of each result whose call does not come with it, by its place, the call's id."""
    made: set[str] = set()
    wanted: dict[int, str] = {}
    for place, item in enumerate(items):
        if item.kind == "function_call":
            made.add(item.body["call_id"])
        elif item.kind == "function_call_output" and item.body["call_id"] not in made:
            wanted[place] = item.body["call_id"]
    return wanted
