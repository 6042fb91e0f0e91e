"""Writes a bundle of plain files as `undercroft verify` reads it: see "The format of a bundle" in docs/verify.md."""

import asyncio
import re
import tempfile
import unicodedata
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import rfc8785

from undercroft.operations.archives import ArchiveWriter, FileWriter, Written, open_archive

MANIFEST: Final = "manifest.json"
_VERSION: Final = 1
_PIECE: Final = 1 << 20
_UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\u202a-\u202e\u2066-\u2069]')
_LONGEST: Final = 150
"""Bytes of a name, which file systems limit to 255."""


class Lines:
    """Lines that are gathered on the disk until their file is written."""

    def __init__(self, spool: IO[bytes]) -> None:
        self._spool = spool
        self.count = 0

    def add(self, value: Mapping[str, Any]) -> None:
        """Append a JSON object."""
        self._spool.write(rfc8785.dumps({**value}) + b"\n")
        self.count += 1

    def pieces(self) -> Iterator[bytes]:
        """Everything, from the beginning."""
        self._spool.seek(0)
        return iter(lambda: self._spool.read(_PIECE), b"")

    def lines(self) -> Iterator[bytes]:
        """Each line, without its end."""
        self._spool.seek(0)
        return (line[:-1] for line in self._spool)


class Bundle:
    """An archive whose files are listed in its manifest."""

    def __init__(self, archive: ArchiveWriter, listed: Lines) -> None:
        self._archive = archive
        self._listed = listed

    def begin(self, path: str) -> FileWriter:
        """Begin a file."""
        return self._archive.begin(path)

    def discard(self, file: FileWriter) -> None:
        """Leave out the file that was begun last."""
        self._archive.discard(file)

    def end(self, file: FileWriter) -> Written:
        """End a file; it is listed by :meth:`list_file`."""
        return self._archive.end(file)

    def list_file(self, written: Written, **claim: str) -> None:
        """Put a file into the manifest.

        Args:
            written: The file.
            **claim: ``entry`` and ``salt``, where an entry commits to its content.
        """
        self._listed.add(
            {"path": written.path, "size": written.size, "sha256": written.sha256, **claim}
        )

    async def write(self, path: str, data: bytes, **claim: str) -> None:
        """Write and list a whole file; see :meth:`list_file`."""
        await asyncio.to_thread(self._write, path, [data], **claim)

    async def write_pieces(self, path: str, pieces: Iterator[bytes]) -> None:
        """Write and list a file from its pieces, which are made in a thread."""
        await asyncio.to_thread(self._write, path, pieces)

    async def write_lines(
        self, path: str, pages: AsyncIterator[Sequence[Mapping[str, Any]]]
    ) -> int:
        """Write and list a file of one JSON object a line; how many there are."""
        file, count = self.begin(path), 0
        async for page in pages:
            lines = b"".join(rfc8785.dumps({**value}) + b"\n" for value in page)
            await asyncio.to_thread(file.write, lines)
            count += len(page)
        self.list_file(await asyncio.to_thread(self.end, file))
        return count

    def _write(self, path: str, pieces: Sequence[bytes] | Iterator[bytes], **claim: str) -> None:
        file = self.begin(path)
        for piece in pieces:
            file.write(piece)
        self.list_file(self.end(file), **claim)

    async def finish(self, created: str) -> None:
        """Write the manifest: canonical JSON, a line of it after the other."""
        await asyncio.to_thread(self._finish, created)

    def _finish(self, created: str) -> None:
        file = self.begin(MANIFEST)
        file.write(b'{"created":' + rfc8785.dumps(created) + b',"files":[')
        for number, line in enumerate(self._listed.lines()):
            file.write(b"," + line if number else line)
        file.write(b'],"v":%d}' % _VERSION)
        self.end(file)


@contextmanager
def open_bundle(target: Path) -> Generator[Bundle]:
    """Write a bundle to a path: a tar file if it ends in ``.tar``, else a folder.

    Raises:
        OperationError: When there is something at that path already.
        OSError: When it cannot be written.
    """
    with open_archive(target) as archive, open_lines(target.parent) as listed:
        yield Bundle(archive, listed)


@contextmanager
def open_lines(folder: Path) -> Generator[Lines]:
    """Lines in a file without a name, beside what they are gathered for."""
    with tempfile.TemporaryFile(dir=folder) as spool:
        yield Lines(spool)


def safe_name(name: str) -> str:
    """A name that any file system takes, and that stays in its folder."""
    text = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip(". ")
    stem, dot, suffix = text.rpartition(".")
    if not dot or len(suffix) > 16:
        stem, dot, suffix = text, "", ""
    room = _LONGEST - len((dot + suffix).encode())
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(". ")
    return f"{stem}{dot}{suffix}" if stem else f"document{dot}{suffix}"
