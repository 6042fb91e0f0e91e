"""Where the bytes of documents are: a seam, and its implementation on a local folder.

A blob is written once, before the transaction that makes it visible commits, and deleted after the one that forgets it.
A crash between the two leaves at most a file that no row names, never a row without its file.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, Protocol
from uuid import UUID

from undercroft.kit.files import sync_folder
from undercroft.kit.ids import IdSource
from undercroft.vault.errors import EmptyFileError, TooLargeError
from undercroft.vault.models import StagedBlob

_BLOCK: Final = 256 * 1024
_ABANDONED_AFTER: Final = timedelta(days=1)
"""No upload takes this long."""


class BlobStore(Protocol):
    """Keeps immutable byte strings under the ids of their blobs."""

    async def stage(self, source: BinaryIO, limit: int) -> StagedBlob:
        """Copy a stream to durable storage, hashing it on the way.

        Args:
            source: Read from its current position to its end, in a thread.
            limit: The most bytes that are taken.

        Raises:
            TooLargeError: When the stream has more than ``limit`` bytes.
            EmptyFileError: When it has none.
        """
        ...

    async def keep(self, staged: StagedBlob, tenant_id: UUID, blob_id: UUID) -> None:
        """Give a staged blob its final place. Durable when this returns."""
        ...

    async def discard(self, staged: StagedBlob) -> None:
        """Forget a staged blob that turned out not to be needed; harmless when it was kept."""
        ...

    async def delete(self, tenant_id: UUID, blob_id: UUID) -> None:
        """Delete a blob; harmless when it is gone."""
        ...

    def local_path(self, tenant_id: UUID, blob_id: UUID) -> Path:
        """A file with the blob's bytes, for a parser that runs in another process."""
        ...

    def read(self, tenant_id: UUID, blob_id: UUID) -> AsyncIterator[bytes]:
        """The blob's bytes, block by block.

        Raises:
            FileNotFoundError: When there is no such blob.
        """
        ...


class LocalBlobStore:
    """Blobs as files below one folder.

    Args:
        folder: Created with mode 0700 when missing.
        ids: Names the files that are being received.
    """

    def __init__(self, folder: Path, ids: IdSource) -> None:
        self._folder = folder
        self._staging = folder / "staging"
        self._ids = ids
        # One by one: `parents` would give the folders above the default mode.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._staging.mkdir(mode=0o700, exist_ok=True)

    async def stage(self, source: BinaryIO, limit: int) -> StagedBlob:
        """See :class:`BlobStore`."""
        path = self._staging / self._ids.new().hex
        try:
            return await asyncio.to_thread(_copy, source, path, limit)
        except BaseException:
            # Also when the client left: a cancelled upload must not fill the disk.
            await asyncio.shield(asyncio.to_thread(path.unlink, missing_ok=True))
            raise

    async def sweep(self, now: datetime) -> None:
        """Delete what uploads left behind that a crash cut off. Recent files may belong to another process."""
        await asyncio.to_thread(_delete_older, self._staging, now - _ABANDONED_AFTER)

    async def keep(self, staged: StagedBlob, tenant_id: UUID, blob_id: UUID) -> None:
        """See :class:`BlobStore`."""
        await asyncio.to_thread(_move, staged.path, self.local_path(tenant_id, blob_id))

    async def discard(self, staged: StagedBlob) -> None:
        """See :class:`BlobStore`."""
        await asyncio.to_thread(staged.path.unlink, missing_ok=True)

    async def delete(self, tenant_id: UUID, blob_id: UUID) -> None:
        """See :class:`BlobStore`."""
        path = self.local_path(tenant_id, blob_id)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    def local_path(self, tenant_id: UUID, blob_id: UUID) -> Path:
        """See :class:`BlobStore`."""
        # The last digits of a UUIDv7 are random, so they spread blobs evenly over 256 folders.
        return self._folder / tenant_id.hex / blob_id.hex[-2:] / blob_id.hex

    async def read(self, tenant_id: UUID, blob_id: UUID) -> AsyncIterator[bytes]:
        """See :class:`BlobStore`."""
        path = self.local_path(tenant_id, blob_id)
        file = await asyncio.to_thread(path.open, "rb")
        try:
            while block := await asyncio.to_thread(file.read, _BLOCK):
                yield block
        finally:
            file.close()


def _copy(source: BinaryIO, path: Path, limit: int) -> StagedBlob:
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as target:
        while block := source.read(_BLOCK):
            size += len(block)
            if size > limit:
                raise TooLargeError(limit)
            digest.update(block)
            target.write(block)
        if size == 0:
            raise EmptyFileError
        target.flush()
        os.fsync(target.fileno())
    return StagedBlob(path, digest.digest(), size)


def _move(source: Path, target: Path) -> None:
    folders = target.parents[:3]
    for folder in reversed(folders):
        folder.mkdir(mode=0o700, exist_ok=True)
    source.rename(target)
    # All three: any of them may just have got its first entry.
    for folder in folders:
        sync_folder(folder)


def _delete_older(folder: Path, oldest: datetime) -> None:
    for path in folder.iterdir():
        if path.stat().st_mtime < oldest.timestamp():
            path.unlink(missing_ok=True)
