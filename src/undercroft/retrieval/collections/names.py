"""Names of collections, as they are stored."""

from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, bind, seal, unseal
from undercroft.vault.access import UNREADABLE
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing

_log: Final = structlog.stdlib.get_logger(__name__)


def seal_name(key: DataKey, tenant_id: UUID, collection_id: UUID, name: str) -> bytes:
    """A collection's name under its key."""
    return seal(key.material, name.encode(), _place(tenant_id, collection_id))


async def open_name(keys: KeyRing, row: Record) -> str:
    """The name in a row; one that does not open must neither hide a page of others nor be undeletable."""
    try:
        key = await keys.open(row)
        place = _place(row["tenant_id"], row["id"])
        return unseal(key.material, row["sealed_name"], place).decode()
    except KeyDestroyedError:
        return UNREADABLE
    except DecryptionError:
        _log.error("collection_damaged", collection_id=str(row["id"]))
        return UNREADABLE


def _place(tenant_id: UUID, collection_id: UUID) -> bytes:
    return bind(tenant_id, "collections", collection_id, "name")
