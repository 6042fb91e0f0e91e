"""Text as it is stored: decoded, normalised, and built up with exact offsets."""

import codecs
import re
from typing import Final

from charset_normalizer import from_bytes

from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.models import ExtractedDocument, Heading, Page

MAX_TITLE_CHARACTERS: Final = 300
MAX_HEADINGS: Final = 20_000
ENCODING_SAMPLE_BYTES: Final = 64 * 1024

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16-LE, whose mark is its prefix
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED_ENCODING: Final = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})|<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_WESTERN: Final = "cp1252"
_BEYOND_ASCII: Final = re.compile(rb"[\x80-\xff]")
_BEYOND_ASCII_CHARACTER: Final = re.compile(r"[^\x00-\x7f]")
_LINE_BREAK: Final = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_LONE_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_BLANK_LINES: Final = re.compile(r"[ \t]*\n(?:[ \t]*\n)+")


def find_encoding(data: bytes, *, is_whole: bool) -> str | None:
    """The encoding of a text, or None when ``data`` is no text in any known one.

    Asked in order: the byte order mark, UTF-8, UTF-16 without a mark, what an HTML or XML head declares, and
    statistics.

    Args:
        data: The text or its beginning.
        is_whole: Whether it is all of the text; a beginning may end inside a character.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding if _decodes(data.removeprefix(mark), encoding, is_whole) else None
    if b"\0" in data:
        encoding = _find_unmarked_utf16(data)
        return encoding if encoding is not None and _decodes(data, encoding, is_whole) else None
    if _decodes(data, "utf-8", is_whole):
        return "utf-8"
    declared = _DECLARED_ENCODING.search(data, 0, 2048)
    if declared is not None:
        name = (declared[1] or declared[2]).decode("ascii")
        if _is_text_encoding(name) and _decodes(data, name, is_whole):
            return name
    return "utf-8" if _is_damaged_utf8(data) else _guess_encoding(data, is_whole=is_whole)


def read_text(data: bytes, max_characters: int) -> str:
    """The decoded, normalised text of a file. A byte that does not fit its encoding becomes U+FFFD.

    Raises:
        ParseError: It is in no known encoding, or too long.
    """
    # A head that is text may be followed by anything: what does not fit there is replaced.
    encoding = find_encoding(data, is_whole=True) or find_encoding(
        data[:ENCODING_SAMPLE_BYTES], is_whole=False
    )
    if encoding is None:
        raise ParseError(
            ParseErrorCode.CORRUPT_FILE,
            "This file mixes text with binary data. Save it as UTF-8 text and upload it again.",
        )
    text = data.decode(encoding, errors="replace")
    check_length(len(text), max_characters)
    return normalise(text)


def normalise(text: str) -> str:
    r"""Every line break becomes ``\n``, control characters go, lone surrogates become U+FFFD."""
    text = _LINE_BREAK.sub("\n", text)
    text = _UNPRINTABLE.sub("", text)
    return _LONE_SURROGATE.sub("\ufffd", text)


def is_normalised(text: str) -> bool:
    """Whether :func:`normalise` would leave the text as it is."""
    return not (
        _LINE_BREAK.search(text) or _UNPRINTABLE.search(text) or _LONE_SURROGATE.search(text)
    )


def one_line(text: str) -> str:
    """A title from any text: one line, single spaces, bounded length."""
    return " ".join(normalise(text[: 4 * MAX_TITLE_CHARACTERS]).split())[:MAX_TITLE_CHARACTERS]


class TextBuilder:
    """Builds the text of a document block by block and keeps the offsets of its headings and pages.

    Args:
        max_characters: The bound on the text; more raises :class:`ParseError` as soon as it is reached, not at the
            end, so that a bomb costs no more than a large document.
    """

    def __init__(self, max_characters: int) -> None:
        self._max_characters = max_characters
        self._parts: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._pages: list[Page] = []
        self._page_start: int | None = None

    @property
    def has_text(self) -> bool:
        """Whether any block was added."""
        return self._length > 0

    def add_block(self, block: str) -> int:
        """Append a block (a paragraph, a table, a list), a blank line after the one before it.

        Returns:
            The offset at which the block starts. An empty block is not added.
        """
        block = _BLANK_LINES.sub("\n\n", normalise(block)).strip()
        if not block:
            return self._length
        if self._length > 0:
            self._append("\n\n")
        start = self._length
        if self._page_start is None:
            self._page_start = start
        self._append(block)
        return start

    def add_heading(self, level: int, title: str) -> None:
        """Append a heading as a block of one line; an empty one is left out."""
        title = one_line(title)
        if not title:
            return
        start = self.add_block(title)
        if len(self._headings) >= MAX_HEADINGS:
            raise ParseError(
                ParseErrorCode.TOO_COMPLEX,
                f"This file has more than {MAX_HEADINGS:,} headings. Split it into smaller files.",
            )
        self._headings.append(Heading(min(max(level, 1), 6), title, start))

    def end_page(self) -> None:
        """Close the page whose blocks were added since the last call (or since the beginning)."""
        start = self._length if self._page_start is None else self._page_start
        self._pages.append(Page(len(self._pages) + 1, start, self._length))
        self._page_start = None

    def build(self, media_type: str, title: str | None) -> ExtractedDocument:
        """The finished document."""
        return ExtractedDocument(
            media_type=media_type,
            text="".join(self._parts),
            title=(one_line(title) or None) if title else None,
            pages=tuple(self._pages),
            headings=tuple(self._headings),
        )

    def _append(self, part: str) -> None:
        self._length += len(part)
        check_length(self._length, self._max_characters)
        self._parts.append(part)


def check_length(characters: int, max_characters: int) -> None:
    """Raise the file's error when its text is longer than the bound."""
    if characters > max_characters:
        raise ParseError(
            ParseErrorCode.TOO_MUCH_TEXT,
            f"This file holds more than {max_characters:,} characters of text. Split it into smaller files.",
        )


def _decodes(data: bytes, encoding: str, is_whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)(errors="strict").decode(data, final=is_whole)
    except UnicodeError:
        return False
    return True


def _is_text_encoding(name: str) -> bool:
    try:
        codecs.lookup(name)
        "".encode(name)
    except LookupError:  # unknown, or a codec that is no text encoding, such as zlib
        return False
    return True


def _find_unmarked_utf16(data: bytes) -> str | None:
    """UTF-16 of mostly Western text has its zero bytes at one parity; binary data has them everywhere."""
    even, odd = data[0::2].count(0), data[1::2].count(0)
    if even + odd < len(data) // 5 or min(even, odd) * 20 > max(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _sample(data: bytes) -> bytes:
    """The part of a text that tells its encoding: from shortly before the first byte beyond ASCII."""
    first = _BEYOND_ASCII.search(data)
    start = max(0, first.start() - 256) if first is not None else 0
    return data[start : start + ENCODING_SAMPLE_BYTES]


def _is_damaged_utf8(data: bytes) -> bool:
    """Whether far more of what is beyond ASCII is good UTF-8 than is not."""
    beyond_ascii = _BEYOND_ASCII_CHARACTER.findall(_sample(data).decode(errors="replace"))
    return beyond_ascii.count("\ufffd") * 10 < len(beyond_ascii)


def _guess_encoding(data: bytes, *, is_whole: bool) -> str | None:
    """By statistics; but in a text of mostly ASCII, where a few accents fit many encodings, the Western one first."""
    sample = _sample(data)
    matches = from_bytes(sample)
    best = matches.best()
    if best is None:
        return None
    is_mostly_ascii = len(_BEYOND_ASCII.findall(sample)) * 3 < len(sample)
    if is_mostly_ascii and _decodes(data, _WESTERN, is_whole):
        fits = [match.coherence for match in matches if _WESTERN in match.could_be_from_charset]
        if max(fits, default=0.0) >= best.coherence:
            return _WESTERN
    return best.encoding if _decodes(data, best.encoding, is_whole) else None
