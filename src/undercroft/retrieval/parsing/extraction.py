"""From a file to its text: the one function that runs inside the sandbox."""

from typing import BinaryIO, Final, Protocol

from undercroft.retrieval.parsing.csv_table import parse_csv
from undercroft.retrieval.parsing.detection import (
    CSV,
    DOCX,
    EPUB,
    HTML,
    JSON,
    MARKDOWN,
    PDF,
    PLAIN,
)
from undercroft.retrieval.parsing.docx import parse_docx
from undercroft.retrieval.parsing.epub import parse_epub
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.html_page import parse_html
from undercroft.retrieval.parsing.json_tree import parse_json
from undercroft.retrieval.parsing.markdown import parse_markdown
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.pdf import parse_pdf
from undercroft.retrieval.parsing.text import read_text


class _Parser(Protocol):
    def __call__(self, data: bytes, max_characters: int, /) -> ExtractedDocument: ...


class _ArchiveParser(Protocol):
    def __call__(self, file: BinaryIO, max_characters: int, /) -> ExtractedDocument: ...


def _parse_plain(data: bytes, max_characters: int) -> ExtractedDocument:
    text = read_text(data, max_characters)
    return ExtractedDocument(media_type=PLAIN, text=text, title=None, pages=(), headings=())


_PARSERS: Final[dict[str, _Parser]] = {
    PLAIN: _parse_plain,
    MARKDOWN: parse_markdown,
    HTML: parse_html,
    CSV: parse_csv,
    JSON: parse_json,
    PDF: parse_pdf,
}
_ARCHIVE_PARSERS: Final[dict[str, _ArchiveParser]] = {DOCX: parse_docx, EPUB: parse_epub}


def extract_document(file: BinaryIO, media_type: str, max_characters: int) -> ExtractedDocument:
    """The text of a file.

    Args:
        file: The file, open for reading and able to seek.
        media_type: What it is, one of :data:`~undercroft.retrieval.parsing.detection.MEDIA_TYPES`.
        max_characters: The bound on its text.

    Raises:
        ParseError: It has no text, or none that can be had.
    """
    if media_type in _ARCHIVE_PARSERS:
        document = _ARCHIVE_PARSERS[media_type](file, max_characters)
    else:
        document = _PARSERS[media_type](file.read(), max_characters)
    if not document.text.strip():
        raise ParseError(
            ParseErrorCode.NO_TEXT, "This file has no text. Check that it is the one you meant."
        )
    return document
