"""Conversations and their items, as they are stored."""

from collections.abc import Mapping
from uuid import UUID

from undercroft.chat.conversations.models import WireItem
from undercroft.kit.crypto.aead import bind
from undercroft.kit.crypto.sealed_json import seal_json, unseal_json
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
    return seal_json(key.material, dict(metadata), metadata_place(tenant_id, conversation_id))


def open_metadata(
    key: DataKey, tenant_id: UUID, conversation_id: UUID, sealed: bytes
) -> Mapping[str, str]:
    """A conversation's metadata from under its key.

    Raises:
        DecryptionError: When it is not what was kept.
    """
    place = metadata_place(tenant_id, conversation_id)
    opened: dict[str, str] = unseal_json(key.material, sealed, place)
    return opened


def open_item(
    key: DataKey, tenant_id: UUID, conversation_id: UUID, number: int, sealed: bytes
) -> WireItem:
    """An item from under its key.

    Raises:
        DecryptionError: When it is not what was kept.
    """
    place = item_place(tenant_id, conversation_id, number)
    item: WireItem = unseal_json(key.material, sealed, place)
    return item
