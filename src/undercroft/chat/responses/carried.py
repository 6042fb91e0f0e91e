"""What clients carry from one request to the next without being able to read it. Pure.

It is sealed under the key of the response that it comes from. So it opens only while that is kept, and what it was made
from with it: an erased document takes the key along, wherever copies of the text are by then.
"""

import base64
import binascii
from typing import Any, Final
from uuid import UUID

from undercroft.chat.responses.models import WireObject
from undercroft.kit.crypto.aead import DecryptionError, bind
from undercroft.kit.crypto.sealed_json import seal_json, unseal_json
from undercroft.vault.keys.models import DataKey

SEALED: Final = "encrypted_content"
_ID_BYTES: Final = 16


def seal_carried(key: DataKey, tenant_id: UUID, response_id: UUID, value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value for a client to carry: the response whose key it is under, and the value under it."""
    sealed = seal_json(key.material, value, carried_place(tenant_id, response_id))
    return base64.urlsafe_b64encode(response_id.bytes + sealed).decode()


def find_response_id(carried: str) -> UUID | None:
    """Which response's key opens it; None when it is nothing that was carried."""
    try:
        head = base64.b64decode(carried[:24], altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return UUID(bytes=head[:_ID_BYTES]) if len(head) >= _ID_BYTES else None


def open_carried(key: DataKey, tenant_id: UUID, response_id: UUID, carried: str) -> Any:  # noqa: ANN401 - whatever was sealed
    """What was sealed.

    Raises:
        DecryptionError: When it was not sealed so, or is not whole.
    """
    try:
        sealed = base64.b64decode(carried, altchars=b"-_", validate=True)[_ID_BYTES:]
    except (binascii.Error, ValueError) as error:
        raise DecryptionError from error
    return unseal_json(key.material, sealed, carried_place(tenant_id, response_id))


def carried_place(tenant_id: UUID, response_id: UUID) -> bytes:
    """What is carried is bound to its tenant and its response."""
    return bind(tenant_id, "responses", response_id, "carried")


def without_sealed(item: WireObject) -> WireObject:
    """An item as it is shown to who has not asked for what is sealed of it."""
    if item["type"] != "reasoning":
        return item
    return {name: value for name, value in item.items() if name != SEALED}


def all_without_sealed(resource: WireObject) -> WireObject:
    """A response, its items as :func:`without_sealed`."""
    return {**resource, "output": list(map(without_sealed, resource["output"]))}
