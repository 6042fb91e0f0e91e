"""Where uploads are received: encrypted as they arrive, so that no byte of them is on a disk in the clear."""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from undercroft.kit.crypto.segments import SegmentReader, SegmentWriter
from undercroft.kit.ids import IdSource
from undercroft.vault.blobs.models import StagedBlob
from undercroft.vault.errors import EmptyFileError, TooLargeError

_Result = TypeVar("_Result")
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

    def begin(self, limit: int, key: bytes, context: bytes) -> "StagedWriter":
        """Where a stream is written to, piece by piece.

        Args:
            limit: The most bytes that are taken.
            key: 32 bytes, for this stream alone.
            context: What the stream is bound to.
        """
        return StagedWriter(self._folder / self._ids.new().hex, limit, key, context)

    async def inspect(
        self, staged: StagedBlob, key: bytes, context: bytes, look: Callable[[BinaryIO], _Result]
    ) -> _Result:
        """Run a function over the content of a staged blob, in a thread."""
        return await asyncio.to_thread(_inspect, staged.path, key, context, look)

    async def sweep(self, now: datetime) -> None:
        """Delete what uploads left behind that a crash cut off. Recent files may belong to another process."""
        await asyncio.to_thread(_delete_older, self._folder, now - _ABANDONED_AFTER)


class StagedWriter:
    """A blob that is being received: encrypted as it is written. Its methods are for a thread: they wait for the disk.

    One of them at a time; :meth:`close` alone may be called while another thread writes, and then waits for it.
    """

    def __init__(self, path: Path, limit: int, key: bytes, context: bytes) -> None:
        self._path = path
        self._limit = limit
        self._key = key
        self._context = context
        self._digest = hashlib.sha256()
        self._size = 0
        self._file: BinaryIO | None = None
        self._is_closed = False
        # Whoever gives up may do so while a thread that nobody waits for any more still writes: without this, it would
        # make the file anew after it was deleted.
        self._lock = threading.Lock()

    def write(self, block: bytes, /) -> None:
        """Take the next bytes.

        Raises:
            TooLargeError: When they are more than the limit.
            OSError: When the disk takes no more.
        """
        with self._lock:
            if self._is_closed:
                return
            self._size += len(block)
            if self._size > self._limit:
                raise TooLargeError(self._limit)
            if self._file is None:
                self._begin()
            self._digest.update(block)
            self._writer.write(block)

    def digest(self) -> bytes:
        """SHA-256 of what was written so far."""
        return self._digest.copy().digest()

    def finish(self) -> StagedBlob:
        """All was written: make it durable.

        Raises:
            EmptyFileError: When nothing was.
        """
        with self._lock:
            if self._file is None or self._size == 0:
                raise EmptyFileError
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            return StagedBlob(self._path, self._target.digest(), self._digest.digest(), self._size)

    def close(self) -> None:
        """Forget what was written, unless a store has it by now; harmless when there is nothing."""
        with self._lock:
            self._is_closed = True
            if self._file is not None:
                self._file.close()
                self._path.unlink(missing_ok=True)

    def _begin(self) -> None:
        self._file = self._path.open("xb")
        self._target = _HashedFile(self._file)
        self._writer = SegmentWriter(self._target, self._key, self._context)


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
        # Uploads of other processes are kept or given up meanwhile, and so their files are gone.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest.timestamp():
                path.unlink()
