"""The content of a stored blob, decrypted as it is read."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from undercroft.kit.crypto.segments import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    SegmentDecryptor,
    ciphertext_length,
)
from undercroft.vault.blobs.models import StoredBlob
from undercroft.vault.blobs.protocol import BlobStore

_RUN: Final = 8
"""Segments that are read and decrypted at once: half a MiB, so that a thread is worth its switch."""


class BlobContent:
    """A blob that is there and opens. Make it with :meth:`open`."""

    def __init__(self, store: BlobStore, blob: StoredBlob, decryptor: SegmentDecryptor) -> None:
        self._store = store
        self._blob = blob
        self._decryptor = decryptor

    @classmethod
    async def open(
        cls, store: BlobStore, blob: StoredBlob, key: bytes, start: int = 0
    ) -> "BlobContent":
        """Find out before anything is promised that the blob is there, and opens with its key where it is read from.

        Raises:
            BlobMissingError: When the store does not have it.
            DecryptionError: When it is not what was kept.
        """
        length = ciphertext_length(blob.byte_size)
        head = await store.read(blob.tenant_id, blob.name, 0, min(length, SEGMENT_BYTES))
        decryptor = SegmentDecryptor(head[:HEADER_BYTES], length, key, blob.context)
        number, _ = decryptor.locate(start)
        segment = head[HEADER_BYTES:]
        if number > 0:
            segment = await store.read(blob.tenant_id, blob.name, *decryptor.span(number, 1))
        await asyncio.to_thread(decryptor.decrypt, number, 1, segment)
        return cls(store, blob, decryptor)

    async def read(self) -> bytes:
        """All of it at once, for what must have it in memory.

        Raises:
            BlobMissingError: When the store no longer has it.
            DecryptionError: When it is not what was kept.
        """
        return b"".join([block async for block in self.blocks()])

    async def blocks(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The content from one offset up to another, block by block.

        Raises:
            BlobMissingError: When the store no longer has it.
            DecryptionError: When it is not what was kept.
        """
        left = (self._decryptor.length if end is None else end) - start
        number, skip = self._decryptor.locate(start)
        while left > 0:
            count = min(_RUN, self._decryptor.locate(start + left - 1)[0] - number + 1)
            span = self._decryptor.span(number, count)
            ciphertext = await self._store.read(self._blob.tenant_id, self._blob.name, *span)
            block = await asyncio.to_thread(self._decryptor.decrypt, number, count, ciphertext)
            piece = block[skip : skip + left]
            yield piece
            start, left, number, skip = start + len(piece), left - len(piece), number + count, 0
