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
    """Bytes of a blob that is there, and opens where they begin. Make it with :meth:`open`, and read it once.

    Args:
        store: Has the blob.
        blob: Which one.
        decryptor: Of its segments.
        span: From which offset of the content up to which other.
        first: The plaintext of the run of segments in which that begins.
    """

    def __init__(
        self,
        store: BlobStore,
        blob: StoredBlob,
        decryptor: SegmentDecryptor,
        span: tuple[int, int],
        first: bytes,
    ) -> None:
        self._store = store
        self._blob = blob
        self._decryptor = decryptor
        self._span = span
        self._first = first

    @classmethod
    async def open(
        cls, store: BlobStore, blob: StoredBlob, key: bytes, span: tuple[int, int] | None = None
    ) -> "BlobContent":
        """Read and decrypt where it begins, half a MiB at the most, before anything of it is promised.

        Args:
            store: Has the blob.
            blob: Which one.
            key: What it is encrypted with.
            span: From which offset up to which other it is wanted; None for all of it.

        Raises:
            BlobMissingError: When the store does not have it.
            DecryptionError: When there it is not what was kept.
        """
        start, end = span = span or (0, blob.byte_size)
        number, count = _run_at(SegmentDecryptor.locate(start)[0], end)
        length = ciphertext_length(blob.byte_size)
        # Where the beginning is wanted the header comes along with it: of a store elsewhere each read is a request.
        ahead = HEADER_BYTES if number else min(count * SEGMENT_BYTES, length)
        head = await store.read(blob.tenant_id, blob.name, 0, ahead)
        decryptor = SegmentDecryptor(head[:HEADER_BYTES], length, key, blob.context)
        ciphertext = head[HEADER_BYTES:]
        if number:
            place = decryptor.span(number, count)
            ciphertext = await store.read(blob.tenant_id, blob.name, *place)
        first = await asyncio.to_thread(decryptor.decrypt, number, count, ciphertext)
        return cls(store, blob, decryptor, span, first)

    async def read(self) -> bytes:
        """All of it at once, for what must have it in memory.

        Raises:
            BlobMissingError: When the store no longer has it.
            DecryptionError: When it is not what was kept.
        """
        return b"".join([block async for block in self.blocks()])

    async def blocks(self) -> AsyncIterator[bytes]:
        """Block by block.

        Raises:
            BlobMissingError: When the store no longer has it.
            DecryptionError: When it is not what was kept.
        """
        start, end = self._span
        number, skip = SegmentDecryptor.locate(start)
        # Not kept while the others are sent: a thousand downloads would keep a thousand of them.
        block, self._first = self._first, b""
        while start < end:
            piece = block[skip : skip + end - start]
            yield piece
            start, number, skip = start + len(piece), number + _RUN, 0
            if start < end:
                block = await self._decrypt(*_run_at(number, end))

    async def _decrypt(self, number: int, count: int) -> bytes:
        place = self._decryptor.span(number, count)
        ciphertext = await self._store.read(self._blob.tenant_id, self._blob.name, *place)
        return await asyncio.to_thread(self._decryptor.decrypt, number, count, ciphertext)


def _run_at(number: int, end: int) -> tuple[int, int]:
    """A segment, and how many are read with it of those that lie before an offset of the content."""
    last, _ = SegmentDecryptor.locate(max(end - 1, 0))
    return number, min(_RUN, last - number + 1)
