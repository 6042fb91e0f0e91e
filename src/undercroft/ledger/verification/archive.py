"""Finds the plain files in a tar archive (POSIX pax, ustar, GNU) without unpacking it.

The standard library's reader takes the sizes of extended headers from the archive, and reads them into memory; here
everything is bounded, and what is not a plain file or a folder is refused.
"""

import os
import re
from dataclasses import dataclass
from typing import BinaryIO, Final

from undercroft.ledger.verification.findings import Fault, VerificationError, quote

MAX_NAME: Final = 4096
_BLOCK: Final = 512
_HARMLESS: Final = frozenset(
    {b"path", b"size", b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname"}
)
_MAX_HEADER: Final = 1 << 16
_CHECKSUM: Final = slice(148, 156)
_NUMBER: Final = re.compile(rb" *([0-7]{1,20})[ \0]*")
_EXTENSIONS: Final = frozenset({b"x", b"g", b"L"})


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a file's bytes are in an archive."""

    offset: int
    size: int


def index_archive(file: BinaryIO, most: int) -> dict[str, Extent]:
    """The extent of every file in an archive, by its path.

    Args:
        file: The archive; it can seek.
        most: How many files there may be.

    Raises:
        VerificationError: When the archive is malformed or cut short, or holds anything but plain files and folders.
    """
    length = file.seek(0, os.SEEK_END)
    found: dict[str, Extent] = {}
    extended: dict[str, str] = {}
    position = headers = 0
    while (block := _read_block(file, position)) is not None:
        headers += 1
        if headers > 4 * most:
            raise _malformed(f"has more than {most} files")
        kind = block[156:157]
        # An extension speaks of the file that follows, not of itself.
        size = _size(block, {} if kind in _EXTENSIONS else extended)
        data = position + _BLOCK
        position = data + -(-size // _BLOCK) * _BLOCK
        if position > length + _BLOCK or data + size > length:
            raise _malformed("ends in the middle of a file")
        if kind in {b"x", b"L"}:
            extended.update(_read_extension(file, data, size, kind))
            continue
        name = _name(block, extended)
        extended = {}
        if kind == b"5":
            # Programs that unpack take no data for a folder, and would read what is skipped here as more files.
            if size:
                raise _malformed(f"holds {quote(name)}, a folder with data")
            continue
        if kind not in {b"0", b"\0"}:
            raise _malformed(f"holds {quote(name)}, which is not a plain file")
        if name in found:
            raise _malformed(f"holds {quote(name)} twice")
        if len(found) == most:
            raise _malformed(f"has more than {most} files")
        found[name] = Extent(data, size)
    return found


def _read_block(file: BinaryIO, position: int) -> bytes | None:
    """The header at a position; None where the archive ends."""
    file.seek(position)
    block = file.read(_BLOCK)
    if len(block) < _BLOCK:
        raise _malformed("ends without the mark of its end")
    if not any(block):
        return None
    blank = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    if _number(block[_CHECKSUM]) != sum(blank):
        raise _malformed(f"has a damaged header at byte {position}, or is no tar archive")
    return block


def _size(block: bytes, extended: dict[str, str]) -> int:
    field = block[124:136]
    if "size" in extended:
        text = extended["size"]
        if re.fullmatch("[0-9]{1,18}", text) is None:
            raise _malformed("has a size that is no number")
        return int(text)
    # Base 256, as GNU tar writes what octal cannot hold.
    return int.from_bytes(field[1:], "big") if field[0] == 0x80 else _number(field)


def _number(field: bytes) -> int:
    match = _NUMBER.fullmatch(field)
    if match is None:
        raise _malformed("has a number that is not octal")
    return int(match[1], 8)


def _read_extension(file: BinaryIO, data: int, size: int, kind: bytes) -> dict[str, str]:
    """What an extended header says of the path and the size of the next file."""
    if size > _MAX_HEADER:
        raise _malformed("has an extended header that is too long")
    file.seek(data)
    text = file.read(size)
    if kind == b"L":
        return {"path": _decode(text.rstrip(b"\0"))}
    values: dict[str, str] = {}
    while text:
        match = re.match(rb"([1-9][0-9]{0,5}) ", text)
        end = int(match[1]) if match else 0
        if match is None or end <= match.end() or text[end - 1 : end] != b"\n":
            raise _malformed("has a malformed extended header")
        key, _, value = text[match.end() : end - 1].partition(b"=")
        if key not in _HARMLESS:
            # Others give the file another name or other bytes in the programs that unpack it.
            raise _malformed("has an extended header with a field that is not expected")
        if key in {b"path", b"size"}:
            values[key.decode()] = _decode(value)
        text = text[end:]
    return values


def _name(block: bytes, extended: dict[str, str]) -> str:
    if "path" in extended:
        name = extended["path"]
    else:
        name = _decode(block[:100].split(b"\0")[0])
        prefix = block[345:500].split(b"\0")[0]
        if block[257:263] == b"ustar\0" and prefix:
            name = f"{_decode(prefix)}/{name}"
    name = name.removeprefix("./")
    # A folder's name may end in a slash, and `tar -C folder .` names the folder itself.
    if block[156:157] == b"5":
        name = name.rstrip("/") or "folder"
    parts = name.split("/")
    if len(name) > MAX_NAME or "\0" in name or not {"", ".", ".."}.isdisjoint(parts):
        raise _malformed(f"holds a file with an unsafe name, {quote(name)}")
    return name


def _decode(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise _malformed("holds a file whose name is not UTF-8") from None


def _malformed(reason: str) -> VerificationError:
    return VerificationError(Fault.MALFORMED_ARCHIVE, f"the archive {reason}")
