"""Zip containers (DOCX, EPUB) read within bounds: on what their directory declares, and on what comes out."""

import os
import struct
import zipfile
from typing import BinaryIO, Final

from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode

MAX_ENTRIES: Final = 10_000
MAX_DIRECTORY_BYTES: Final = 4 * 1024 * 1024
MAX_ENTRY_BYTES: Final = 256 * 1024 * 1024
MAX_TOTAL_BYTES: Final = 512 * 1024 * 1024
MAX_RATIO: Final = 200
RATIO_CHECKED_FROM_BYTES: Final = 8 * 1024 * 1024

DAMAGED: Final = (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError)
"""What zipfile raises of an archive that is no whole one: the second for ways to pack that it does not know."""

_END_RECORD: Final = struct.Struct("<4s4H2LH")
_END_SIGNATURE: Final = b"PK\x05\x06"
_LONGEST_COMMENT: Final = 65_535
_ZIP64_LOCATOR: Final = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES: Final = 20
_FLAG_ENCRYPTED: Final = 0x1
_PIECE_BYTES: Final = 64 * 1024


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Open a zip file whose directory and declared contents stay within the bounds above.

    Raises:
        ParseError: It is broken, too large when unpacked, or locked with a password.
    """
    _check_directory_size(file)
    try:
        archive = zipfile.ZipFile(file)
    except DAMAGED as error:
        raise _broken(str(error)) from error
    _check_entries(archive.infolist())
    return archive


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of an entry, no longer than declared.

    :meth:`zipfile.ZipFile.read` would inflate all of an entry before it looks at the declared size.

    Raises:
        KeyError: There is no such entry.
        zipfile.BadZipFile: Its content is not what the directory declares.
    """
    with archive.open(name) as entry:
        return b"".join(iter(lambda: entry.read(_PIECE_BYTES), b""))


def _check_directory_size(file: BinaryIO) -> None:
    """Refuse a huge directory before zipfile builds an object for each of its entries."""
    size = file.seek(0, os.SEEK_END)
    tail_start = max(0, size - _END_RECORD.size - _LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read()
    at = len(tail) - _END_RECORD.size
    if at < 0 or not (tail.startswith(_END_SIGNATURE, at) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END_SIGNATURE)  # the same two steps, in the same order, as zipfile
    record = tail[at : at + _END_RECORD.size]
    if at < 0 or len(record) < _END_RECORD.size:
        raise _broken("no end record")
    fields = _END_RECORD.unpack(record)
    entries, directory_bytes = fields[4], fields[5]
    has_zip64 = tail.startswith(_ZIP64_LOCATOR, max(0, at - _ZIP64_LOCATOR_BYTES))
    if has_zip64 or entries > MAX_ENTRIES or directory_bytes > MAX_DIRECTORY_BYTES:
        raise _too_large("too many entries")


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise _too_large("too many entries")
    if sum(entry.file_size for entry in entries) > MAX_TOTAL_BYTES:
        raise _too_large("too large in total")
    for entry in entries:
        if entry.flag_bits & _FLAG_ENCRYPTED:
            raise ParseError(
                ParseErrorCode.ENCRYPTED,
                "This file is locked with a password. Remove the password and upload it again.",
            )
        if entry.file_size > MAX_ENTRY_BYTES:
            raise _too_large("an entry is too large")
        ratio_limit = MAX_RATIO * max(entry.compress_size, 1)
        if entry.file_size > RATIO_CHECKED_FROM_BYTES and entry.file_size > ratio_limit:
            raise _too_large("compressed too tightly")


def _broken(detail: str) -> ParseError:
    return ParseError(
        ParseErrorCode.CORRUPT_FILE,
        "This file is damaged: its container cannot be opened. Export it again and upload the new file.",
        detail=detail,
    )


def _too_large(detail: str) -> ParseError:
    return ParseError(
        ParseErrorCode.TOO_COMPLEX,
        "This file unpacks to far more than its size suggests. Save its content as a smaller file.",
        detail=detail,
    )
