"""JSON values, encrypted and bound to the place where they are stored."""

import json
from typing import Any

from pydantic_core import to_json

from undercroft.kit.crypto.aead import seal, unseal


def encode_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """A value as it is sealed: without spaces, in UTF-8."""
    return to_json(value)


def seal_json(key: bytes, value: Any, context: bytes) -> bytes:  # noqa: ANN401 - any JSON value
    """Encrypt a value for a place: see :func:`undercroft.kit.crypto.aead.bind`."""
    return seal(key, encode_json(value), context)


def unseal_json(key: bytes, sealed: bytes, context: bytes) -> Any:  # noqa: ANN401 - whatever was sealed
    """Decrypt a value.

    Raises:
        DecryptionError: When it was not sealed with that key in that context, or is not whole.
    """
    return json.loads(unseal(key, sealed, context))
