"""Reads a backup file by file, in the order in which it was written, and checks it before anything is restored."""

import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from undercroft.operations.archives import Written
from undercroft.operations.backups.manifest import HEAD, MANIFEST, MAX_JSON, SEAL, Manifest
from undercroft.operations.errors import OperationError

_BLOCK: Final = 512
_PIECE: Final = 1 << 20
_LONGEST_NAME: Final = 256
_ROWS: Final = re.compile(r"rows/[0-9]{4}_(?P<table>[a-z0-9_]+)\.copy")
_BLOB: Final = re.compile(
    r"blobs/(?P<tenant>[0-9a-f]{32})/(?P<start>[0-9a-f]{2})/(?P<name>(?P=start)[0-9a-f]{62})"
)


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a backup, readable until the next one is asked for.

    Attributes:
        read: Answers the next bytes, at most so many; none at the end.
    """

    path: str
    size: int
    read: Callable[[int], bytes]

    @property
    def table(self) -> str | None:
        """The table of which it has the rows."""
        match = _ROWS.fullmatch(self.path)
        return None if match is None else match["table"]

    @property
    def blob(self) -> tuple[str, str] | None:
        """Tenant and name, in hexadecimal, of the blob that it is."""
        match = _BLOB.fullmatch(self.path)
        return None if match is None else (match["tenant"], match["name"])

    def read_whole(self) -> bytes:
        """A small file's bytes.

        Raises:
            OperationError: When it is too long to be one.
        """
        if self.size > MAX_JSON:
            raise OperationError(f"{self.path} is longer than {MAX_JSON:,} bytes.")
        return b"".join(iter(lambda: self.read(_PIECE), b""))


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a backup, before anything that it says of itself is believed.

    Attributes:
        manifest: As it is written.
        seal: What has to fit it.
        files: All but these two and the blobs, by their paths.
    """

    manifest: bytes
    seal: bytes
    files: Mapping[str, Written]
    blobs: int
    blob_bytes: int

    def compare(self, manifest: Manifest) -> None:
        """Compare each file with the manifest.

        Raises:
            OperationError: Naming the first file that is damaged, missing or not in it.
        """
        left = dict(self.files)
        for line in manifest.files:
            if line.path not in left:
                raise OperationError(f"{line.path} is missing from the backup.")
            if left.pop(line.path) != line:
                raise OperationError(f"{line.path} is damaged: it is not the file of the manifest.")
        if left:
            raise OperationError(f"{min(left)} is in the backup and not in its manifest.")
        if (self.blobs, self.blob_bytes) != (manifest.blobs, manifest.blob_bytes):
            raise OperationError(
                f"The backup has {self.blobs} blobs of {self.blob_bytes:,} bytes, its manifest says "
                f"{manifest.blobs} of {manifest.blob_bytes:,}: files below blobs/ are missing or were added."
            )


def read_contents(path: Path) -> Contents:
    """Read a whole backup, and compare the blobs with their names.

    Raises:
        OperationError: Naming the first file that is damaged or no part of a backup.
        OSError: When it cannot be read.
    """
    found: dict[str, Written] = {}
    wholes: dict[str, bytes] = {}
    blobs = blob_bytes = 0
    with open_backup(path) as members:
        for member in members:
            if member.path in {MANIFEST, SEAL}:
                wholes[member.path] = member.read_whole()
            elif member.blob is not None:
                _check_blob(member, member.blob[1])
                blobs, blob_bytes = blobs + 1, blob_bytes + member.size
            else:
                found[member.path] = digest(member)
    for name in (MANIFEST, SEAL):
        if name not in wholes:
            raise OperationError(f"{path} has no {name}: it is no backup, or was cut short.")
    return Contents(wholes[MANIFEST], wholes[SEAL], found, blobs, blob_bytes)


@contextmanager
def open_backup(path: Path) -> Generator[Iterator[Member]]:
    """The files of a backup: its beginning, the rows, the blobs, its manifest and its seal.

    Raises:
        OperationError: When it holds anything else, or is cut short.
        OSError: When it cannot be read.
    """
    if path.is_dir():
        yield _read_folder(path)
        return
    with path.open("rb") as file:
        yield _read_tar(file)


def _read_folder(folder: Path) -> Iterator[Member]:
    for name in (HEAD, "rows", "blobs", MANIFEST, SEAL):
        # Missing ones are told by whoever compares with the manifest.
        yield from _read_below(folder, folder / name)
    known = {HEAD, "rows", "blobs", MANIFEST, SEAL}
    for entry in folder.iterdir():
        if entry.name not in known:
            raise _stranger(entry.name)


def _read_below(root: Path, path: Path) -> Iterator[Member]:
    if path.is_symlink():
        raise _stranger(path.relative_to(root).as_posix())
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            yield from _read_below(root, entry)
    elif path.is_file():
        name = _known(path.relative_to(root).as_posix())
        with path.open("rb") as file:
            yield Member(name, os.fstat(file.fileno()).st_size, file.read)


def _read_tar(file: BinaryIO) -> Iterator[Member]:
    position, long_name = 0, None
    while True:
        file.seek(position)
        block = file.read(_BLOCK)
        if len(block) < _BLOCK:
            raise OperationError("The archive is cut short: its end is missing.")
        if not any(block):
            return
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            raise OperationError(f"The archive is damaged at byte {position:,}: {error}.") from None
        if header.size < 0:
            raise OperationError(f"The archive is damaged at byte {position:,}: a negative size.")
        position += _BLOCK + -(-header.size // _BLOCK) * _BLOCK
        if header.type == tarfile.GNUTYPE_LONGNAME and header.size <= _LONGEST_NAME:
            long_name = file.read(header.size).rstrip(b"\0").decode(errors="replace")
            continue
        name, long_name = long_name or header.name, None
        if not header.isreg():
            raise _stranger(name)
        yield Member(_known(name), header.size, _Extent(file, header.size, name).read)


class _Extent:
    """The bytes of a file in a tar archive, from where it stands."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self._file = file
        self._left = size
        self._name = name

    def read(self, count: int) -> bytes:
        if self._left == 0:
            return b""
        piece = self._file.read(min(count, self._left))
        if not piece:
            raise OperationError(f"The archive is cut short in {self._name}.")
        self._left -= len(piece)
        return piece


def _known(path: str) -> str:
    if path in {HEAD, MANIFEST, SEAL} or _ROWS.fullmatch(path) or _BLOB.fullmatch(path):
        return path
    raise _stranger(path)


def _stranger(path: str) -> OperationError:
    return OperationError(f"It holds {path!r}, which is no part of a backup.")


def _check_blob(member: Member, name: str) -> None:
    if digest(member).sha256 != name:
        raise OperationError(f"{member.path} is damaged: it has not the SHA-256 of its name.")


def digest(member: Member) -> Written:
    """What a file is; its bytes have been read then."""
    hashed = HashedMember(member)
    while hashed.read(_PIECE):
        pass
    return hashed.written()


class HashedMember:
    """A file of a backup that is hashed as it is read."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._digest = hashlib.sha256()
        self._size = 0

    def read(self, count: int) -> bytes:
        """The next bytes, at most so many; none at the end."""
        piece = self._member.read(count)
        self._digest.update(piece)
        self._size += len(piece)
        return piece

    def written(self) -> Written:
        """What was read so far."""
        return Written(self._member.path, self._size, self._digest.hexdigest())
