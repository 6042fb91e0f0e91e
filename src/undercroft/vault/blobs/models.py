"""Blobs on their way into a store, and in it."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from undercroft.kit.crypto.aead import bind


@dataclass(frozen=True, slots=True)
class StagedBlob:
    """Bytes that were received and encrypted, are durable, and that no document holds yet.

    Attributes:
        path: The ciphertext.
        name: SHA-256 of the ciphertext: its name in a store.
        sha256: SHA-256 of the content.
        byte_size: Length of the content, in bytes.
    """

    path: Path
    name: bytes
    sha256: bytes = field(repr=False)
    byte_size: int


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Where a blob is, and what its ciphertext is bound to.

    Attributes:
        name: SHA-256 of the ciphertext.
        byte_size: Length of the content, in bytes.
    """

    tenant_id: UUID
    blob_id: UUID
    name: bytes
    byte_size: int

    @property
    def context(self) -> bytes:
        """What its stream is bound to."""
        return blob_context(self.tenant_id, self.blob_id)


def blob_context(tenant_id: UUID, blob_id: UUID) -> bytes:
    """What a blob's stream is bound to: the bytes of one blob cannot stand in for another's."""
    return bind(tenant_id, "blobs", blob_id, "content")
