"""Where uploads are received: encrypted as they arrive, so that no byte of them is on a disk in the clear."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from undercroft.kit.crypto.segments import SegmentReader, SegmentWriter
from undercroft.kit.ids import IdSource
from undercroft.vault.blobs.models import StagedBlob
from undercroft.vault.errors import EmptyFileError, TooLargeError

_Result = TypeVar("_Result")
_BLOCK: Final = 256 * 1024
_ABANDONED_AFTER: Final = timedelta(days=1)
"""No upload takes this long."""


class Staging:
    """A folder of blobs that are being received.

    Args:
        folder: Created with mode 0700 when missing.
        ids: Names the files.
    """

    def __init__(self, folder: Path, ids: IdSource) -> None:
        self._folder = folder
        self._ids = ids
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def receive(self, source: BinaryIO, limit: int, key: bytes, context: bytes) -> StagedBlob:
        """Encrypt a stream into durable storage.

        Args:
            source: Read from its current position to its end, in a thread.
            limit: The most bytes that are taken.
            key: 32 bytes, for this stream alone.
            context: What the stream is bound to.

        Raises:
            TooLargeError: When the stream has more than ``limit`` bytes.
            EmptyFileError: When it has none.
        """
        path = self._folder / self._ids.new().hex
        try:
            return await asyncio.to_thread(_encrypt, source, path, limit, key, context)
        except BaseException:
            # Also when the client left: a cancelled upload must not fill the disk.
            await asyncio.shield(asyncio.to_thread(path.unlink, missing_ok=True))
            raise

    async def inspect(
        self, staged: StagedBlob, key: bytes, context: bytes, look: Callable[[BinaryIO], _Result]
    ) -> _Result:
        """Run a function over the content of a staged blob, in a thread."""
        return await asyncio.to_thread(_inspect, staged.path, key, context, look)

    async def discard(self, staged: StagedBlob) -> None:
        """Forget a staged blob that turned out not to be needed; harmless when it was kept."""
        await asyncio.to_thread(staged.path.unlink, missing_ok=True)

    async def sweep(self, now: datetime) -> None:
        """Delete what uploads left behind that a crash cut off. Recent files may belong to another process."""
        await asyncio.to_thread(_delete_older, self._folder, now - _ABANDONED_AFTER)


class _HashedFile:
    """A file that is hashed as it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, block: bytes, /) -> None:
        self._file.write(block)
        self._digest.update(block)

    def digest(self) -> bytes:
        return self._digest.digest()


def _encrypt(source: BinaryIO, path: Path, limit: int, key: bytes, context: bytes) -> StagedBlob:
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        target = _HashedFile(file)
        writer = SegmentWriter(target, key, context)
        while block := source.read(_BLOCK):
            size += len(block)
            if size > limit:
                raise TooLargeError(limit)
            digest.update(block)
            writer.write(block)
        if size == 0:
            raise EmptyFileError
        writer.finish()
        file.flush()
        os.fsync(file.fileno())
    return StagedBlob(path, target.digest(), digest.digest(), size)


def _inspect(
    path: Path, key: bytes, context: bytes, look: Callable[[BinaryIO], _Result]
) -> _Result:
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        length = os.fstat(descriptor).st_size

        def read_at(start: int, count: int) -> bytes:
            return os.pread(descriptor, count, start)

        return look(BufferedReader(SegmentReader(read_at, length, key, context)))


def _delete_older(folder: Path, oldest: datetime) -> None:
    for path in folder.iterdir():
        if path.stat().st_mtime < oldest.timestamp():
            path.unlink(missing_ok=True)
