"""Where files are read from: a folder or a tar archive, both written by nobody in particular."""

import errno
import os
import stat
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

from undercroft.ledger.verification.archive import Extent, index_archive
from undercroft.ledger.verification.findings import Fault, VerificationError, quote

MAX_FILES: Final = 1_000_000
_PIECE: Final = 1 << 20


class Files(Protocol):
    """Files by their path, with ``/`` between names."""

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes.

        Raises:
            VerificationError: When it is missing, longer than ``limit`` or no plain file.
        """
        ...

    def piece(self, path: str, start: int, length: int) -> bytes:
        """A file's bytes from an offset on; fewer at its end.

        Raises:
            VerificationError: When it is missing or no plain file.
        """
        ...

    def digest(self, path: str) -> tuple[int, str]:
        """A file's size and its SHA-256 in hexadecimal, read in pieces.

        Raises:
            VerificationError: When it is missing or no plain file.
        """
        ...

    def names(self) -> Iterable[str]:
        """The path of every file.

        Raises:
            VerificationError: When there are too many, or one is neither a plain file nor a folder.
        """
        ...


class FolderFiles:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return (self._root / path).is_file()

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes, as :meth:`Files.read`."""
        return read_file(self._root / path, limit, path)

    def piece(self, path: str, start: int, length: int) -> bytes:
        """A file's bytes from an offset on, as :meth:`Files.piece`."""
        with open_plain(self._root / path, path) as file:
            file.seek(start)
            return file.read(length)

    def digest(self, path: str) -> tuple[int, str]:
        """A file's size and SHA-256, as :meth:`Files.digest`."""
        return digest_file(self._root / path, path)

    def names(self) -> Iterable[str]:
        """The path of every file, as :meth:`Files.names`."""
        found: list[str] = []
        waiting = [self._root]
        while waiting:
            folder = waiting.pop()
            with os.scandir(folder) as entries:
                for entry in entries:
                    path = Path(entry.path)
                    name = path.relative_to(self._root).as_posix()
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        found.append(name)
                    else:
                        raise _not_plain(name)
                    if len(found) + len(waiting) > MAX_FILES:
                        raise VerificationError(
                            Fault.UNREADABLE_FILE, f"there are more than {MAX_FILES} files"
                        )
        return sorted(found)


class TarFiles:
    """The files in a tar archive, read where they stand."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._file = self._path.open("rb")
        try:
            self._extents = index_archive(self._file, MAX_FILES)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self._extents

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes, as :meth:`Files.read`."""
        extent = self._find(path)
        if extent.size > limit:
            raise _too_long(path, limit)
        self._file.seek(extent.offset)
        return self._file.read(extent.size)

    def piece(self, path: str, start: int, length: int) -> bytes:
        """A file's bytes from an offset on, as :meth:`Files.piece`."""
        extent = self._find(path)
        self._file.seek(extent.offset + start)
        return self._file.read(max(0, min(length, extent.size - start)))

    def digest(self, path: str) -> tuple[int, str]:
        """A file's size and SHA-256, as :meth:`Files.digest`."""
        extent = self._find(path)
        self._file.seek(extent.offset)
        return _digest(self._file, extent.size)

    def names(self) -> Iterable[str]:
        """The path of every file, as :meth:`Files.names`."""
        return sorted(self._extents)

    def _find(self, path: str) -> Extent:
        extent = self._extents.get(path)
        if extent is None:
            raise missing(path)
        return extent


class FilesBelow:
    """The files of others whose paths begin with a folder's name."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._prefix = f"{folder}/"

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return self._files.has(self._prefix + path)

    def read(self, path: str, limit: int) -> bytes:
        """A file's bytes, as :meth:`Files.read`."""
        return self._files.read(self._prefix + path, limit)

    def piece(self, path: str, start: int, length: int) -> bytes:
        """A file's bytes from an offset on, as :meth:`Files.piece`."""
        return self._files.piece(self._prefix + path, start, length)

    def digest(self, path: str) -> tuple[int, str]:
        """A file's size and SHA-256, as :meth:`Files.digest`."""
        return self._files.digest(self._prefix + path)

    def names(self) -> Iterable[str]:
        """The path of every file, as :meth:`Files.names`."""
        start = len(self._prefix)
        return [name[start:] for name in self._files.names() if name.startswith(self._prefix)]


def read_file(path: Path, limit: int, name: str) -> bytes:
    """A plain file's bytes; ``name`` is what messages call it.

    Raises:
        VerificationError: When it is missing, longer than ``limit`` or no plain file.
    """
    with open_plain(path, name) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise _too_long(name, limit)
    return data


def digest_file(path: Path, name: str) -> tuple[int, str]:
    """A plain file's size and its SHA-256 in hexadecimal, read in pieces.

    Raises:
        VerificationError: When it is missing or no plain file.
    """
    with open_plain(path, name) as file:
        return _digest(file, None)


@contextmanager
def open_plain(path: Path, name: str) -> Generator[BinaryIO]:
    """Open a file for reading if it is a plain one: no link, no pipe that would be waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise missing(name) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _not_plain(name) from None
        raise VerificationError(
            Fault.UNREADABLE_FILE, f"{quote(name)} cannot be read: {error.strerror}", path=name
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_plain(name)
    with os.fdopen(descriptor, "rb") as file:
        yield file


def missing(path: str) -> VerificationError:
    """The error for a file that has to be there."""
    return VerificationError(Fault.MISSING_FILE, f"{quote(path)} is missing", path=path)


def _digest(file: BinaryIO, size: int | None) -> tuple[int, str]:
    """Size and SHA-256 of the next ``size`` bytes, or of all that follow."""
    total, digest = 0, sha256()
    while size is None or total < size:
        piece = file.read(_PIECE if size is None else min(_PIECE, size - total))
        if not piece:
            break
        total += len(piece)
        digest.update(piece)
    return total, digest.hexdigest()


def _too_long(path: str, limit: int) -> VerificationError:
    return VerificationError(
        Fault.UNREADABLE_FILE, f"{quote(path)} is longer than {limit} bytes", path=path
    )


def _not_plain(name: str) -> VerificationError:
    return VerificationError(
        Fault.UNREADABLE_FILE, f"{quote(name)} is a link or a device, not a plain file", path=name
    )
