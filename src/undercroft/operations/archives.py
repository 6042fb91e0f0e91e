"""Archives of plain files, written block by block: a folder, or one tar file that others unpack as well.

Both are written beside their place under another name and renamed when they are whole and on the disk, so whatever has
the name that was asked for is complete.
"""

import hashlib
import os
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from undercroft.kit.files import sync_folder
from undercroft.operations.errors import OperationError

TAR_SUFFIX: Final = ".tar"
_BLOCK: Final = 512
_END: Final = bytes(2 * _BLOCK)
_UNFINISHED: Final = ".partial"


@dataclass(frozen=True, slots=True)
class Written:
    """A file of an archive.

    Attributes:
        sha256: In hexadecimal.
    """

    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, path: str, data: bytes) -> "Written":
        """The file of these bytes."""
        return cls(path, len(data), hashlib.sha256(data).hexdigest())


class FileWriter:
    """A file of an archive that is being written."""

    def __init__(self, path: str, target: BinaryIO) -> None:
        self._path = path
        self._target = target
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, block: bytes) -> None:
        """Append to the file."""
        self._target.write(block)
        self._digest.update(block)
        self._size += len(block)

    def written(self) -> Written:
        """What it is so far."""
        return Written(self._path, self._size, self._digest.hexdigest())


class ArchiveWriter(Protocol):
    """Takes files one after the other."""

    def begin(self, path: str) -> FileWriter:
        """Begin a file; the one before has ended."""
        ...

    def end(self, file: FileWriter) -> Written:
        """End the file that was begun last."""
        ...

    def discard(self, file: FileWriter) -> None:
        """Leave the file that was begun last out of the archive."""
        ...


class _FolderWriter:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: BinaryIO | None = None
        self._folders: set[Path] = {folder}

    def begin(self, path: str) -> FileWriter:
        target = self._folder / path
        if target.parent not in self._folders:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Only those of one level at a time: thousands of folders of blobs need not be remembered.
            self._folders = {self._folder, target.parent}
        self._open = target.open("xb")
        return FileWriter(path, self._open)

    def end(self, file: FileWriter) -> Written:
        if self._open is not None:
            self._open.flush()
            os.fsync(self._open.fileno())
            self._open.close()
            self._open = None
        return file.written()

    def discard(self, file: FileWriter) -> None:
        written = self.end(file)
        (self._folder / written.path).unlink()

    def sync(self) -> None:
        for folder, _, _ in os.walk(self._folder):
            sync_folder(Path(folder))


class _TarWriter:
    """Headers in GNU's form: their length does not depend on the size, which is only known at the end of a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._header = 0

    def begin(self, path: str) -> FileWriter:
        self._header = self._file.tell()
        self._file.write(_tar_header(path, 0))
        return FileWriter(path, self._file)

    def end(self, file: FileWriter) -> Written:
        written = file.written()
        end = self._file.tell()
        self._file.write(bytes(-end % _BLOCK))
        after = self._file.tell()
        self._file.seek(self._header)
        self._file.write(_tar_header(written.path, written.size))
        self._file.seek(after)
        return written

    def discard(self, file: FileWriter) -> None:
        del file
        self._file.seek(self._header)
        self._file.truncate()

    def finish(self) -> None:
        self._file.write(_END)
        self._file.flush()
        os.fsync(self._file.fileno())


def _tar_header(path: str, size: int) -> bytes:
    header = tarfile.TarInfo(path)
    header.size, header.mode = size, 0o600
    return header.tobuf(tarfile.GNU_FORMAT)


@contextmanager
def open_archive(target: Path) -> Generator[ArchiveWriter]:
    """Write an archive to a path: a tar file if it ends in ``.tar``, else a folder.

    Raises:
        OperationError: When there is something at that path already, or no folder to put it into.
        OSError: When it cannot be written.
    """
    if not target.parent.is_dir():
        raise OperationError(f"There is no folder {target.parent}. Make it, or name another place.")
    unfinished = target.with_name(f".{target.name}{_UNFINISHED}")
    for path in (target, unfinished):
        if path.exists() or path.is_symlink():
            raise OperationError(
                f"{path} exists already. Remove it or name another place."
                if path == target
                else f"{path} was left by an interrupted run. Remove it if none is running."
            )
    if target.suffix == TAR_SUFFIX:
        # Readable from the first byte to nobody else; the umask of whoever calls may be another.
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with _removed_on_failure(unfinished):
            with os.fdopen(descriptor, "w+b") as file:
                tar = _TarWriter(file)
                yield tar
                tar.finish()
            unfinished.rename(target)
    else:
        unfinished.mkdir(mode=0o700)
        with _removed_on_failure(unfinished):
            folder = _FolderWriter(unfinished)
            yield folder
            folder.sync()
            unfinished.rename(target)
    sync_folder(target.parent)


@contextmanager
def _removed_on_failure(path: Path) -> Generator[None]:
    try:
        yield
    except BaseException:
        _remove(path)
        raise


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            Path(folder, name).unlink()
        Path(folder).rmdir()
