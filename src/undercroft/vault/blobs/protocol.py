"""The seam: keeps immutable ciphertexts under the SHA-256 of each.

A blob is kept before the transaction that makes it visible begins, and deleted after the one that forgets it. A crash
between the two leaves at most a file that no row names, never a row without its file.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from undercroft.vault.blobs.models import StagedBlob


@dataclass(frozen=True, slots=True)
class KeptFile:
    """What a store holds, as it lists it.

    Attributes:
        byte_size: Length of the ciphertext, in bytes.
        modified_at: When it was kept.
    """

    tenant_id: UUID
    name: bytes
    byte_size: int
    modified_at: datetime


class BlobStore(Protocol):
    """Implementations pass tests/vault/blobs/test_conformance.py."""

    async def keep(self, staged: StagedBlob, tenant_id: UUID) -> None:
        """Put a staged blob in its place. Durable when this returns; the staged file may be gone then."""
        ...

    async def read(self, tenant_id: UUID, name: bytes, start: int, length: int) -> bytes:
        """Bytes of the ciphertext; fewer at its end.

        Raises:
            BlobMissingError: When it is not there.
        """
        ...

    async def delete(self, tenant_id: UUID, name: bytes) -> None:
        """Delete a blob; harmless when it is gone."""
        ...

    def list_files(self) -> AsyncIterator[KeptFile]:
        """Everything that is kept, in no order."""
        ...
