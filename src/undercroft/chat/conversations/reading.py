"""Items as they may be read now: what was made from documents needs a way to every passage, at each reading anew."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.chat.conversations.models import WireItem, item_prefix
from undercroft.chat.conversations.repository import ConversationRepository
from undercroft.chat.conversations.sealing import open_item
from undercroft.chat.sources import (
    REDACTED,
    is_whole,
    may_see,
    redact_item,
    releases_through,
)
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.sharing.models import Release, Way
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
        releases: What it was made from, and how the reader comes to that.
        response_id: By which response it was asked or answered.
        ends_page: Whether the next one is too much for the page that it was read for.
    """

    number: int
    wire: WireItem = field(repr=False)
    is_readable: bool
    releases: Sequence[Release] = ()
    response_id: UUID | None = None
    ends_page: bool = False


def is_followed(items: Sequence[ReadItem], limit: int) -> bool:
    """Whether more follows a page of at most so many items, for which one more was asked for."""
    return len(items) > limit or bool(items and items[-1].ends_page)


class ItemReader:
    """Opens items, and takes out what their reader may not or no more read.

    Args:
        keys: Open them.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._repository = ConversationRepository()

    async def read(
        self,
        transaction: Transaction,
        rows: Sequence[Record],
        accepts: Callable[[Way], bool] = lambda _: True,
    ) -> list[ReadItem]:
        """The items of the rows that ``list_items`` answered in the transaction, in their order.

        Args:
            transaction: Where they were read.
            rows: The answer.
            accepts: Which ways to what an item was made from count.
        """
        rows = [row for row in rows if row["number"] is not None]
        releases = await self._releases(transaction, rows, accepts)
        opened = [
            None if row["sealed_item"] is None else await self._keys.open(row) for row in rows
        ]
        # Items can be long: not on the event loop.
        return await asyncio.to_thread(_open_all, rows, opened, releases)

    async def _releases(
        self, transaction: Transaction, rows: Sequence[Record], accepts: Callable[[Way], bool]
    ) -> list[Sequence[Release] | None]:
        """Of each item what it was made from; None where there is no way to some of it."""
        found: dict[int, Sequence[Release] | None] = {}
        partly: list[int] = []
        for row in rows:
            ways = [list(filter(accepts, read_ways(each["ways"]))) for each in row["sources"]]
            found[row["number"]] = None if not all(ways) else releases_through(row["sources"], ways)
            if all(ways) and not all(any(map(is_whole, each)) for each in ways):
                partly.append(row["number"])
        if partly:
            conversation_id = rows[0]["conversation_id"]
            for passage in await self._repository.list_passage_texts(
                transaction, conversation_id, partly
            ):
                if not await may_see(self._keys, passage, accepts):
                    found[passage["item_number"]] = None
        return [found[row["number"]] for row in rows]


def _open_all(
    rows: Sequence[Record],
    keys: Sequence[DataKey | None],
    releases: Sequence[Sequence[Release] | None],
) -> list[ReadItem]:
    return [
        replace(_open(row, key, each), ends_page=row["ends_page"])
        for row, key, each in zip(rows, keys, releases, strict=True)
    ]


def _open(row: Record, key: DataKey | None, releases: Sequence[Release] | None) -> ReadItem:
    number, response_id = row["number"], row["response_id"]
    if key is None:
        return ReadItem(number, _remains(row), is_readable=False, response_id=response_id)
    try:
        wire = open_item(key, row["tenant_id"], row["conversation_id"], number, row["sealed_item"])
    except DecryptionError:
        # One that is damaged must not hide those around it.
        _log.error("item_damaged", conversation_id=str(row["conversation_id"]), number=number)
        return ReadItem(number, _remains(row), is_readable=False, response_id=response_id)
    if releases is None:
        return ReadItem(number, redact_item(wire), is_readable=False, response_id=response_id)
    return ReadItem(number, wire, is_readable=True, releases=releases, response_id=response_id)


def _remains(row: Record) -> WireItem:
    """What is shown of an item whose content is gone."""
    kind: str = row["kind"]
    item: WireItem = {
        "type": kind,
        "id": render_id(item_prefix(kind), row["id"]),
        "status": "incomplete",
    }
    if kind == "message":
        part: WireItem = {
            "type": "output_text",
            "text": REDACTED,
            "annotations": [],
            "logprobs": [],
        }
        return {**item, "role": "assistant", "content": [part]}
    if kind == "file_search_call":
        return {**item, "queries": [], "results": None}
    if kind == "reasoning":
        return {**item, "summary": []}
    return item
