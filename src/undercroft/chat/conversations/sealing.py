"""Conversations and their items, as they are stored."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from undercroft.chat.conversations.models import WireItem
from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.vault.keys.models import DataKey


def metadata_place(tenant_id: UUID, conversation_id: UUID) -> bytes:
    """What a conversation's metadata is bound to."""
    return bind(tenant_id, "conversations", conversation_id, "metadata")


def item_place(tenant_id: UUID, conversation_id: UUID, number: int) -> bytes:
    """What an item is bound to."""
    return bind(tenant_id, "conversation_items", conversation_id, "item", number)


def seal_metadata(
    key: DataKey, tenant_id: UUID, conversation_id: UUID, metadata: Mapping[str, str]
) -> bytes:
    """A conversation's metadata under its key."""
    return seal(key.material, encode(dict(metadata)), metadata_place(tenant_id, conversation_id))


def open_metadata(
    key: DataKey, tenant_id: UUID, conversation_id: UUID, sealed: bytes
) -> Mapping[str, str]:
    """A conversation's metadata from under its key.

    Raises:
        DecryptionError: When it is not what was kept.
    """
    place = metadata_place(tenant_id, conversation_id)
    opened: dict[str, str] = json.loads(unseal(key.material, sealed, place))
    return opened


def open_item(
    key: DataKey, tenant_id: UUID, conversation_id: UUID, number: int, sealed: bytes
) -> WireItem:
    """An item from under its key.

    Raises:
        DecryptionError: When it is not what was kept.
    """
    place = item_place(tenant_id, conversation_id, number)
    item: WireItem = json.loads(unseal(key.material, sealed, place))
    return item


def encode(value: Mapping[str, Any]) -> bytes:
    """A JSON object as it is sealed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
