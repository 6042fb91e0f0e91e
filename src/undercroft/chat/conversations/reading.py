"""Items as they may be read now: what was made from documents needs a way to every passage, at each reading anew."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from asyncpg import Record

from undercroft.chat.conversations.models import item_prefix
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.conversations.sealing import open_item
from undercroft.chat.responses.models import WireObject
from undercroft.chat.responses.reading import REDACTED, SourceCheck, is_whole, redact_item
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.sharing.policy import read_ways
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing

_log: Final = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReadItem:
    """An item for one reader.

    Attributes:
        number: In its conversation.
        wire: As it is shown.
        is_readable: Whether that is all of it; what is not must not get into a prompt.
    """

    number: int
    wire: WireObject = field(repr=False)
    is_readable: bool


class ItemReader:
    """Opens items, and takes out what their reader may not or no more read.

    Args:
        keys: Open them.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._sources = SourceCheck(keys)
        self._repository = ConversationRepository()

    async def read(self, transaction: Transaction, rows: Sequence[Record]) -> list[ReadItem]:
        """The items of the rows that ``list_items`` answered in the transaction, in their order."""
        rows = [row for row in rows if row["number"] is not None]
        hidden = await self._hidden(transaction, rows)
        opened = [
            None if row["sealed_item"] is None else await self._keys.open(row) for row in rows
        ]
        # Items can be long: not on the event loop.
        return await asyncio.to_thread(_open_all, rows, opened, hidden)

    async def _hidden(self, transaction: Transaction, rows: Sequence[Record]) -> set[int]:
        """The numbers of those that were made from something that the caller may not read now."""
        hidden: set[int] = set()
        partly: list[int] = []
        for row in rows:
            sources = [read_ways(ways) for ways in row["source_ways"]]
            if not all(sources):
                hidden.add(row["number"])
            elif not all(any(map(is_whole, ways)) for ways in sources):
                partly.append(row["number"])
        if partly:
            conversation_id = rows[0]["conversation_id"]
            for passage in await self._repository.list_shared_passages(
                transaction, conversation_id, partly
            ):
                if not await self._sources.may_see(passage):
                    hidden.add(passage["item_number"])
        return hidden


def _open_all(
    rows: Sequence[Record], keys: Sequence[DataKey | None], hidden: set[int]
) -> list[ReadItem]:
    return [_open(row, key, row["number"] in hidden) for row, key in zip(rows, keys, strict=True)]


def _open(row: Record, key: DataKey | None, is_hidden: bool) -> ReadItem:
    number = row["number"]
    if key is None:
        return ReadItem(number, _remains(row), is_readable=False)
    try:
        wire = open_item(key, row["tenant_id"], row["conversation_id"], number, row["sealed_item"])
    except DecryptionError:
        # One that is damaged must not hide those around it.
        _log.error("item_damaged", conversation_id=str(row["conversation_id"]), number=number)
        return ReadItem(number, _remains(row), is_readable=False)
    return ReadItem(number, redact_item(wire) if is_hidden else wire, is_readable=not is_hidden)


def _remains(row: Record) -> WireObject:
    """What is shown of an item whose content is gone."""
    kind: str = row["kind"]
    item: WireObject = {
        "type": kind,
        "id": render_id(item_prefix(kind), row["id"]),
        "status": "incomplete",
    }
    if kind == "message":
        part: WireObject = {
            "type": "output_text",
            "text": REDACTED,
            "annotations": [],
            "logprobs": [],
        }
        return {**item, "role": "assistant", "content": [part]}
    if kind == "file_search_call":
        return {**item, "queries": [], "results": None}
    return item
