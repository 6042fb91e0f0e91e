"""Kept responses as they may be read now: by whom they are shared with, and without what a reader may no more see.

A response repeats the documents that it was made from. So whoever reads it needs both: the response, and a way to every
passage that was shown to the model. It was their right when it was made; each reading asks again (invariant 2).
"""

import json
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.responses.models import RESPONSE_PREFIX, WireObject
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.kit.crypto.aead import DecryptionError, bind, seal, unseal
from undercroft.kit.database import Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.retrieval.passages import PassagePlace, open_passage, place_of
from undercroft.sharing.models import Way
from undercroft.sharing.policy import read_ways, ways_to_place
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing

REDACTED: Final = "[Removed: a document that this answer was made from can no longer be read.]"


class SourceCheck:
    """Asks whether what a response was made from may be read."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._repository = ResponseRepository()

    async def may_read(self, transaction: Transaction, row: Record) -> bool:
        """Whether the caller may read every passage that a response was made from.

        Args:
            transaction: In which the response was read.
            row: The response, as ``find_response`` answers it.
        """
        sources = [read_ways(ways) for ways in row["source_ways"]]
        if not all(sources):
            return False
        if all(any(map(is_whole, ways)) for ways in sources):
            return True
        passages = await self._repository.list_shared_passages(transaction, row["id"])
        return all([await self.may_see(passage) for passage in passages])

    async def may_see(self, row: Record, accepts: Callable[[Way], bool] = lambda _: True) -> bool:
        """Whether a passage, with the caller's ways to its document and its text, is theirs to see.

        Where it stands is not known of what is no more indexed, or does not open.

        Args:
            row: The passage.
            accepts: Which of the ways count.
        """
        ways = [way for way in read_ways(row["ways"]) if accepts(way)]
        if any(map(is_whole, ways)):
            return True
        if row["sealed_text"] is None:
            return False
        key = await self._keys.open(row)
        place = PassagePlace(row["tenant_id"], row["blob_id"], row["ordinal"])
        try:
            passage = open_passage(key.material, place, row["sealed_text"])
        except DecryptionError:
            return False
        return bool(ways_to_place(ways, place_of(passage, row["page_start"], row["page_end"])))


def is_whole(way: Way) -> bool:
    """Whether it shows all of a document."""
    return all(grant.parts is None for grant in way.grants)


def seal_resource(key: DataKey, tenant_id: UUID, response_id: UUID, resource: WireObject) -> bytes:
    """A response under its key."""
    plain = json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
    return seal(key.material, plain.encode(), _place(tenant_id, response_id))


def open_resource(key: DataKey, tenant_id: UUID, response_id: UUID, sealed: bytes) -> WireObject:
    """A response from under its key.

    Raises:
        DecryptionError: When it is not what was kept.
    """
    resource: WireObject = json.loads(unseal(key.material, sealed, _place(tenant_id, response_id)))
    return resource


def redact(resource: WireObject) -> WireObject:
    """A response without what was found and said. Nor how much that was: lengths tell of what is not shown."""
    return {**resource, "output": list(map(redact_item, resource["output"])), "usage": None}


def redact_item(item: WireObject) -> WireObject:
    """An item of an answer without what was found and said."""
    if item["type"] == "file_search_call":
        return {**item, "results": None}
    if item["type"] == "function_call":
        return {**item, "arguments": "{}"}
    if item["type"] == "function_call_output":
        return {**item, "output": REDACTED}
    parts: Sequence[WireObject] = item["content"]
    content = [{**part, "text": REDACTED, "annotations": list[WireObject]()} for part in parts]
    return {**item, "content": content}


def no_response(response_id: UUID) -> NotFoundError:
    """The error for a response that the principal may not know of."""
    return NotFoundError("response", render_id(RESPONSE_PREFIX, response_id))


def _place(tenant_id: UUID, response_id: UUID) -> bytes:
    return bind(tenant_id, "responses", response_id, "resource")
