"""What a file is, told by its content.

A name only breaks ties among Markdown, CSV and plain text, which any text can be; it never outweighs the content.
"""

import csv
import json
import lzma
import re
import zipfile
import zlib
from pathlib import PurePath
from typing import BinaryIO, Final

from undercroft.retrieval.parsing.archive import DAMAGED, open_archive, read_entry
from undercroft.retrieval.parsing.errors import ParseError, UnsupportedTypeError
from undercroft.retrieval.parsing.text import find_encoding

PLAIN: Final = "text/plain"
MARKDOWN: Final = "text/markdown"
HTML: Final = "text/html"
CSV: Final = "text/csv"
JSON: Final = "application/json"
PDF: Final = "application/pdf"
EPUB: Final = "application/epub+zip"
DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

MEDIA_TYPES: Final = frozenset({PLAIN, MARKDOWN, HTML, CSV, JSON, PDF, EPUB, DOCX})

HEAD_BYTES: Final = 64 * 1024
CSV_DELIMITERS: Final = ",;\t|"

_NAMED_TYPES: Final = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".csv": CSV,
    ".tsv": CSV,
    ".txt": PLAIN,
    ".text": PLAIN,
    ".log": PLAIN,
}
_KNOWN_BINARIES: Final = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xd0\xcf\x11\xe0", "an old or password-protected Office file"),
    (b"\x1f\x8b", "a compressed archive"),
    (b"Rar!", "a compressed archive"),
    (b"7z\xbc\xaf\x27\x1c", "a compressed archive"),
    (b"{\\rtf", "an RTF document"),
    (b"SQLite format 3\0", "a database"),
)
_PDF_HEADER: Final = re.compile(rb"^[\s\xef\xbb\xbf]*%PDF-", re.MULTILINE)
_DAMAGED: Final = (*DAMAGED, ParseError, zlib.error, lzma.LZMAError)
"""The last two by what unpacks an entry, whose errors zipfile lets through."""
_HTML_DOCUMENT: Final = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?>.*?-->)\s*+)*+<(?:!doctype\s+html|html|head|body|title|meta|script|style)\b",
    re.IGNORECASE | re.DOTALL,
)
_HTML_FRAGMENT: Final = re.compile(
    r"\s*(?:<!--(?>.*?-->)\s*+)*+<(?:div|p|table|ul|ol|section|article|main|header|h[1-6]|span|b|font|center|a|br)\b[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)
_JSON_TOKENS: Final = re.compile(
    r"""(?:[\s{}\[\],:]++|"(?:[^"\\\x00-\x1f]|\\.)*+"|-?\d[\d.eE+-]*+|true|false|null)*+""",
    re.DOTALL,
)
_JSON_START: Final = re.compile(r"\s*[\[{]")
_JSON_CUT_OFF: Final = re.compile(
    r"""(?:"(?:[^"\\\x00-\x1f]|\\.)*+\\?|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?|-)?"""
)
_MARKDOWN_SIGN: Final = re.compile(
    r"^ {0,3}#{1,6} \S|^ {0,3}(?:```|~~~)|\[[^\[\]\n]{1,200}\]\([^)\s]{1,500}\)|^\|?[ :]*-{3,}[ :]*\|[-|: ]*$"
    r"|^\S.*\n(?:={3,}|-{3,})[ \t]*$|\*\*[^*\n]{1,200}\*\*",
    re.MULTILINE,
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")


def detect_media_type(file: BinaryIO, name: str | None = None) -> str:
    """The media type of a file's content, one of the constants of this module.

    Reads the first 64 KiB and, of a zip file, its directory: cheap enough for the moment of upload, though it does
    block, so call it in a thread. The file's position moves.

    Args:
        file: A binary file that can seek.
        name: What its owner calls it.

    Raises:
        UnsupportedTypeError: No parser reads this type.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if _PDF_HEADER.search(head, 0, 1024):
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _detect_in_archive(file)
    for signature, description in _KNOWN_BINARIES:
        if head.startswith(signature) and not _is_plausible_text(head):
            raise UnsupportedTypeError(description)
    is_whole = len(head) < HEAD_BYTES
    encoding = find_encoding(head, is_whole=is_whole)
    if encoding is None:
        raise UnsupportedTypeError("binary data")
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    if len(_CONTROL.findall(text)) * 200 > len(text):
        raise UnsupportedTypeError("binary data")
    return _detect_in_text(text, is_whole=is_whole, name=name)


def _is_plausible_text(head: bytes) -> bool:
    """A letter that begins "MZ" or "GIF8" is a letter; an RTF document is text too, but of markup nobody reads."""
    if head.startswith(b"{\\rtf"):
        return False
    return b"\0" not in head and find_encoding(head, is_whole=False) == "utf-8"


def _detect_in_archive(file: BinaryIO) -> str:
    try:
        with open_archive(file) as archive:
            names = set(archive.namelist())
            if "mimetype" in names and _reads_as_epub(archive):
                return EPUB
            if "[Content_Types].xml" in names and any(name.startswith("word/") for name in names):
                return DOCX
    except _DAMAGED as error:
        raise UnsupportedTypeError("a damaged, locked or overgrown archive") from error
    raise UnsupportedTypeError("a zip archive")


def _reads_as_epub(archive: zipfile.ZipFile) -> bool:
    is_short = archive.getinfo("mimetype").file_size <= 100
    return is_short and read_entry(archive, "mimetype").strip() == EPUB.encode()


def _detect_in_text(text: str, *, is_whole: bool, name: str | None) -> str:
    named = _NAMED_TYPES.get(PurePath(name).suffix.lower()) if name else None
    if _HTML_DOCUMENT.match(text):
        return HTML
    if _HTML_FRAGMENT.match(text) and named is not MARKDOWN:
        return HTML
    if _is_json(text, is_whole=is_whole):
        return JSON
    if named is not None:
        return named
    if _MARKDOWN_SIGN.search(text):
        return MARKDOWN
    return CSV if find_delimiter(text) else PLAIN


def _is_json(text: str, *, is_whole: bool) -> bool:
    """Whether everything seen is tokens of JSON, beginning with an object or an array."""
    tokens = _JSON_TOKENS.match(text)
    if tokens is None or not _JSON_START.match(text):
        return False
    rest = text[tokens.end() :]
    if rest or not is_whole:
        return not is_whole and _JSON_CUT_OFF.fullmatch(rest) is not None
    try:
        json.loads(text)
    except RecursionError:
        return True  # too deep to read, and the parser says so
    except ValueError:
        return '"' in text  # "[1], [2]" is prose; a broken object is worth its own message
    return True


def find_delimiter(text: str) -> str | None:
    """The delimiter of a table with a header, or None when the text is no such table.

    A table has at least three rows (the last of those seen may be cut off), the same number of cells in each, and a
    first row of short, different names.
    """
    lines = text[: 16 * 1024].splitlines()
    if len(text) > 16 * 1024:
        del lines[-1:]
    for delimiter in CSV_DELIMITERS:
        try:
            rows = [row for row in csv.reader(lines, delimiter=delimiter) if row][:50]
        except csv.Error:
            continue
        if len(rows) < 3 or len(rows[0]) < 2 or len({len(row) for row in rows}) > 1:
            continue
        names = [cell.strip() for cell in rows[0]]
        if len(set(names)) == len(names) and all(0 < len(name) <= 64 for name in names):
            return delimiter
    return None
