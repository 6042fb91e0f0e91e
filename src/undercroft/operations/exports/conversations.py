"""A tenant's conversations, and what is said in them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.conversations.models import CONVERSATION_PREFIX
from undercroft.chat.conversations.sealing import open_item, open_metadata
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import render_time, user_reference
from undercroft.operations.exports.bundle import Bundle
from undercroft.operations.exports.repository import ExportRepository
from undercroft.vault.keys.service import KeyRing

_PAGE: Final = 500


class ConversationLines:
    """Writes conversations and their items into a bundle.

    Args:
        keys: Opens them.
        tenant_id: Whose they are.
    """

    def __init__(self, keys: KeyRing, tenant_id: UUID) -> None:
        self._keys = keys
        self._tenant_id = tenant_id
        self._repository = ExportRepository()

    async def write(self, bundle: Bundle, snapshot: Transaction) -> int:
        """Write them all; how many conversations there are."""
        count = await bundle.write_lines("conversations.jsonl", self._conversations(snapshot))
        await bundle.write_lines("conversation_items.jsonl", self._items(snapshot))
        return count

    async def _conversations(
        self, snapshot: Transaction
    ) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        last = UUID(int=0)
        while page := await self._repository.list_conversations(snapshot, last, _PAGE):
            yield [await self._render(row) for row in page]
            last = page[-1]["id"]

    async def _render(self, row: Record) -> Mapping[str, Any]:
        key = await self._keys.open(row)
        return {
            "id": render_id(CONVERSATION_PREFIX, row["id"]),
            "owner": user_reference(row["owner_id"]),
            "metadata": open_metadata(key, self._tenant_id, row["id"], row["sealed_metadata"]),
            "if_busy": row["if_busy"],
            "created_at": render_time(row["created_at"]),
        }

    async def _items(self, snapshot: Transaction) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        last = (UUID(int=0), -1)
        while page := await self._repository.list_conversation_items(snapshot, last, _PAGE):
            yield [await self._render_item(row) for row in page]
            last = (page[-1]["conversation_id"], page[-1]["number"])

    async def _render_item(self, row: Record) -> Mapping[str, Any]:
        conversation_id, number, sealed = row["conversation_id"], row["number"], row["sealed_item"]
        item = None
        if sealed is not None:
            key = await self._keys.open(row)
            item = open_item(key, self._tenant_id, conversation_id, number, sealed)
        return {
            "conversation": render_id(CONVERSATION_PREFIX, conversation_id),
            "number": number,
            "branch": {"number": row["branch"], "after": row["after_number"]},
            "item": item,
            "ending": row["ending"],
            "created_at": render_time(row["created_at"]),
        }
