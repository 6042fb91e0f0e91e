"""A conversation and its items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias
from uuid import UUID

from undercroft.kit.ids import parse_id, render_id
from undercroft.sharing.models import Release
from undercroft.sharing.ways import Access
from undercroft.vault.keys.models import DataKey

WireItem: TypeAlias = dict[str, Any]
"""An item as it is on the wire."""

CONVERSATION_PREFIX: Final = "conv_"
MOST_ITEMS: Final = 10_000
"""The most items that a conversation can have had, the deleted ones among them."""
DEEPEST_BRANCH: Final = 100
"""How many branches go on from each other at most: each listing follows them one by one."""
MOST_ADDED: Final = 20
"""The most items of one request."""
LARGEST_ITEM: Final = 1_048_576
"""The most bytes of an item, as JSON."""

_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg_",
    "file_search_call": "fs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "reasoning": "rs_",
    "compaction": "cmp_",
    "mcp_list_tools": "mcpl_",
    "mcp_call": "mcp_",
    "mcp_approval_request": "mcpr_",
    "mcp_approval_response": "mcpa_",
}


def item_prefix(kind: str) -> str:
    """What stands before the id of an item of that type."""
    return _PREFIXES.get(kind, "item_")


def parse_item_id(text: str) -> UUID | None:
    """The id of an item of whatever type; None when it cannot be one."""
    prefix = f"{text.rpartition('_')[0]}_"
    return parse_id(prefix, text) if prefix in {*_PREFIXES.values(), item_prefix("")} else None


class IfBusy(StrEnum):
    """What becomes of a response that is sent while another one of its conversation is made."""

    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"


@dataclass(frozen=True, slots=True)
class Source:
    """A passage that an item was made from."""

    document_id: UUID
    version: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that is to be kept.

    Attributes:
        kind: Its ``type`` on the wire.
        body: The rest of it, without ``type`` and ``id``.
        id: Its id; None for a new one.
        sources: What it was made from, itself or through the turns that it answers.
        reference: What a client calls it, if that names its messages itself.
    """

    kind: str
    body: WireItem = field(repr=False)
    id: UUID | None = None
    sources: Sequence[Source] = ()
    reference: UUID | None = None


def wire_item(item: NewItem, item_id: UUID) -> WireItem:
    """An item as it is kept and shown, under this id."""
    return {"type": item.kind, "id": render_id(item_prefix(item.kind), item_id), **item.body}


@dataclass(frozen=True, slots=True)
class Parent:
    """What something new goes on from; None: from nothing, it begins the conversation anew."""

    item_id: UUID | None


@dataclass(frozen=True, slots=True)
class SumUp:
    """The beginning of a conversation's branch, which is to be summed up.

    Attributes:
        through: The number of its last item.
        following: The item after that, which is left as it is.
    """

    conversation_id: UUID
    through: int
    following: UUID


@dataclass(frozen=True, slots=True)
class Summary:
    """What stands for the beginning of a conversation, as its reader may use it now.

    Attributes:
        response_id: Which response it is.
        through: The number of the last item that it stands for.
        releases: What it rests on.
        is_untraced: Whether it says something of which nobody here knows what that was made from.
    """

    response_id: UUID
    text: str = field(repr=False)
    through: int
    releases: Sequence[Release]
    sources: Sequence[Source]
    is_untraced: bool


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Which items are wanted.

    Attributes:
        after: The last one of the page before.
        is_ascending: From the first to the last.
        branch: An item whose branch is meant; None: the current one.
    """

    limit: int
    after: UUID | None = None
    is_ascending: bool = False
    branch: UUID | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as somebody comes to it.

    Attributes:
        access: By which grants, if it is not theirs.
        key: Opens its metadata and those of its items that have none of their own.
        next_number: Of the item that is added next.
        branch: Its current one.
        if_busy: What becomes of a response that is sent while another one is made, unless it says so itself.
    """

    id: UUID
    tenant_id: UUID
    owner_id: UUID
    access: Access
    key: DataKey = field(repr=False)
    next_number: int
    metadata: Mapping[str, str] = field(repr=False)
    created_at: datetime
    if_busy: IfBusy = IfBusy.ENQUEUE
    branch: int = 0
