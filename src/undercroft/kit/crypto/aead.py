"""Single values, encrypted and bound to the place where they are stored (AES-256-GCM, NIST SP 800-38D)."""

import os
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from undercroft.kit.errors import ErrorKind, UndercroftError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16


class DecryptionError(UndercroftError):
    """A ciphertext is not what was stored in that place under that key: cut short, altered, moved, or another's."""

    def __init__(self) -> None:
        super().__init__(
            "A stored value cannot be decrypted: it was altered, moved or cut short. Its operator should restore it "
            "from a backup.",
            kind=ErrorKind.INTERNAL,
            code="content_damaged",
        )


def bind(tenant_id: UUID, table: str, row_id: UUID, column: str, version: int = 0) -> bytes:
    """The context of a stored value: a ciphertext that is moved to any other place no longer decrypts.

    Every part has a fixed length or its length before it, so that no two places share a context.

    Args:
        tenant_id: Whose value it is.
        table: The table of its row.
        row_id: The row.
        column: The column, or the part of a column.
        version: The row's version, or the value's number in its row.
    """
    table_name, column_name = table.encode(), column.encode()
    return b"".join(
        (
            *(tenant_id.bytes, row_id.bytes, version.to_bytes(8)),
            *(len(table_name).to_bytes(2), table_name),
            *(len(column_name).to_bytes(2), column_name),
        )
    )


def seal(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Encrypt a value: a random nonce of 12 bytes, the ciphertext, and its tag of 16 bytes.

    Nonces are random, so one key must not seal more than 2^32 values; ours seal the few values of one row, or, a
    tenant's key, the keys of its rows.
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Decrypt a value.

    Raises:
        DecryptionError: When it was not sealed with that key in that context, or is not whole.
    """
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise DecryptionError
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except InvalidTag as error:
        raise DecryptionError from error
