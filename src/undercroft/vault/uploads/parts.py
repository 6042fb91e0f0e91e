"""The bytes of parts: received, kept until the upload ends, put together."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from uuid import UUID

from asyncpg import Record

from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.vault.blobs.contents import BlobContent
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.blobs.staging import Staging
from undercroft.vault.intake import Incoming
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.uploads.models import LARGEST_PART, StoredPart, part_context


class PartStore:
    """Parts as files.

    Args:
        blobs: Where they are kept.
        staging: Where they are received.
        keys: Makes and opens the key of each.
        ids: Names them.
    """

    def __init__(self, blobs: BlobStore, staging: Staging, keys: KeyRing, ids: IdSource) -> None:
        self._blobs = blobs
        self._staging = staging
        self._keys = keys
        self._ids = ids

    def begin(self, scope: Scope) -> Incoming:
        """Where a part of the principal's is written to."""
        part_id, key = self._ids.new(), self._keys.generate()
        context = part_context(scope.tenant_id, part_id)
        writer = self._staging.begin(LARGEST_PART, key.material, context)
        return Incoming(part_id, key, context, writer)

    async def put_together(self, rows: Sequence[Record], target: Incoming) -> None:
        """Write parts, as ``list_parts`` answers them, one after the other.

        Raises:
            BlobMissingError: When the bytes of one are missing.
            DecryptionError: When they are not what was kept.
            TooLargeError: When they are more than the target takes.
        """
        async for block in self._blocks(rows):
            await target.write(block)

    async def digest(self, rows: Sequence[Record]) -> bytes:
        """The MD5 of parts, one after the other: a checksum that clients send, and no more.

        Raises:
            BlobMissingError: When the bytes of one are missing.
            DecryptionError: When they are not what was kept.
        """
        digest = hashlib.md5(usedforsecurity=False)
        async for block in self._blocks(rows):
            await asyncio.to_thread(digest.update, block)
        return digest.digest()

    async def delete(self, tenant_id: UUID, names: Iterable[bytes]) -> None:
        """Delete what no row names any more."""
        for name in names:
            await self._blobs.delete(tenant_id, name)

    async def _blocks(self, rows: Sequence[Record]) -> AsyncIterator[bytes]:
        for row in rows:
            key = await self._keys.open(row)
            part = StoredPart(row["tenant_id"], row["id"], row["stored_name"], row["byte_size"])
            content = await BlobContent.open(self._blobs, part, key.material)
            async for block in content.blocks():
                yield block
