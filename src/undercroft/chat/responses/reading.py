"""Kept responses as they may be read now: by whom they are shared with, and without what a reader may no more see."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.chat.responses.models import RESPONSE_PREFIX, WireObject
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.sources import is_whole, may_see, redact_item
from undercroft.kit.crypto.aead import bind
from undercroft.kit.crypto.sealed_json import seal_json, unseal_json
from undercroft.kit.database import Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.sharing.models import Release
from undercroft.sharing.policy import read_ways
from undercroft.sharing.ways import join_ways
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing

_INPUT: Final = "input"
_REDACTED_ERROR: Final = (
    "[Removed: it may repeat a document that can no longer be read. 'code' says what went wrong.]"
)


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
        sources = [read_ways(source["ways"]) for source in row["sources"]]
        if not all(sources):
            return False
        if all(any(map(is_whole, ways)) for ways in sources):
            return True
        passages = await self._repository.list_passage_texts(transaction, row["id"])
        return all([await may_see(self._keys, passage) for passage in passages])


def releases_of(row: Record) -> list[Release]:
    """What a reader of a response rests on: every way to it, where it is another's, and to what it was made from.

    Args:
        row: The response, as ``find_response`` answers it.
    """
    ways = join_ways(read_ways(row["ways"]))
    return [Release(None, ways)] * bool(ways.grants) + [
        Release(
            UUID(source["document"]),
            join_ways(read_ways(source["ways"])),
            source["is_own"],
            is_searched=True,
        )
        for source in row["sources"]
    ]


def seal_resource(
    key: DataKey,
    tenant_id: UUID,
    response_id: UUID,
    resource: WireObject,
    asked: Sequence[WireObject],
) -> bytes:
    """A response under its key, with the items that it was asked with."""
    kept = {**resource, _INPUT: list(asked)}
    return seal_json(key.material, kept, _place(tenant_id, response_id))


def open_kept(
    key: DataKey, tenant_id: UUID, response_id: UUID, sealed: bytes
) -> tuple[WireObject, Sequence[WireObject]]:
    """A response from under its key, and the items that it was asked with.

    Raises:
        DecryptionError: When it is not what was kept.
    """
    resource: WireObject = unseal_json(key.material, sealed, _place(tenant_id, response_id))
    # Those of before 0.2 were kept without.
    return resource, resource.pop(_INPUT, [])


def open_resource(key: DataKey, tenant_id: UUID, response_id: UUID, sealed: bytes) -> WireObject:
    """A response alone, as :func:`open_kept`."""
    resource, _ = open_kept(key, tenant_id, response_id, sealed)
    return resource


def redact(resource: WireObject) -> WireObject:
    """A response without what was found and said. Nor how much that was: lengths tell of what is not shown.

    What went wrong is left to its code: a model server's own reason may quote the prompt.
    """
    error = resource["error"]
    return {
        **resource,
        "output": list(map(redact_item, resource["output"])),
        "error": error and {**error, "message": _REDACTED_ERROR},
        "usage": None,
    }


def redact_asked(item: WireObject) -> WireObject:
    """An item of a request without what may repeat an earlier answer. What somebody said themselves stays."""
    is_own = item["type"] == "message" and item["role"] != "assistant"
    return item if is_own else redact_item(item)


def no_response(response_id: UUID) -> NotFoundError:
    """The error for a response that the principal may not know of."""
    return NotFoundError("response", render_id(RESPONSE_PREFIX, response_id))


def _place(tenant_id: UUID, response_id: UUID) -> bytes:
    return bind(tenant_id, "responses", response_id, "resource")
