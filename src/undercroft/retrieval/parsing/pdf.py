"""PDF: the text of each page, its paragraphs told by line pitch and its headings by letter size.

A letter's size is its font size times the scale of its matrix: many writers leave the font at size 1 and scale it.
"""

# pypdfium2 ships no types, so what comes out of it is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportPrivateUsage=false, reportUnknownLambdaType=false

import ctypes
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

import pypdfium2
import pypdfium2.raw as pdfium

from undercroft.retrieval.parsing.detection import PDF
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.text import TextBuilder, check_length

MAX_PAGES: Final = 10_000
MAX_HEADING_CHARACTERS: Final = 200
HEADING_SCALE: Final = 1.12  # times the size of most of the text
PARAGRAPH_PITCH: Final = 1.2  # times the usual distance between lines of a page

_LINE_END_HYPHEN: Final = "\x02"  # PDFium's mark where it joined two lines at a hyphen
_HYPHENATED: Final = re.compile(r"(?<=[^\W\d_])\x02(?=[^\W\d_A-Z])")
_WORD: Final = re.compile(r"\w")
_LINE_BREAKS: Final = frozenset({0x0A, 0x0D})
_LETTER: Final = re.compile(r"[^\W\d_]")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a page: its text, its letters' size and its baseline's height on the page, in points."""

    text: str
    size: float
    baseline: float


def parse_pdf(data: bytes, max_characters: int) -> ExtractedDocument:
    """The text of a PDF with pages and headings.

    Raises:
        ParseError: It is damaged, locked with a password, has too many pages, or is a scan without text.
    """
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise _unopened(error) from error
    with document:
        pages = _read_pages(document, max_characters)
        title = document.get_metadata_value("Title")
    if not any(pages):
        raise ParseError(
            ParseErrorCode.NO_TEXT,
            "This PDF has no text: it looks like a scan. Run text recognition (OCR) on it and upload the result.",
        )
    builder = TextBuilder(max_characters)
    levels = _heading_levels(pages)
    for lines in pages:
        for block in _split_blocks(lines):
            level = levels.get(block[0].size)
            text = "\n".join(line.text for line in block)
            if level is not None and len(text) <= MAX_HEADING_CHARACTERS and _LETTER.search(text):
                builder.add_heading(level, text)
            else:
                builder.add_block(text)
        builder.end_page()
    return builder.build(PDF, title)


def _unopened(error: pypdfium2.PdfiumError) -> ParseError:
    if error.err_code in {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}:
        return ParseError(
            ParseErrorCode.ENCRYPTED,
            "This PDF is locked with a password. Remove the password and upload it again.",
        )
    return ParseError(
        ParseErrorCode.CORRUPT_FILE,
        "This PDF is damaged or cut off. Export it again and upload the new file.",
        detail=str(error),
    )


def _read_pages(document: pypdfium2.PdfDocument, max_characters: int) -> list[list[_Line]]:
    if len(document) > MAX_PAGES:
        raise ParseError(
            ParseErrorCode.TOO_COMPLEX,
            f"This PDF has more than {MAX_PAGES:,} pages. Split it into smaller files.",
        )
    pages: list[list[_Line]] = []
    characters = 0
    for number in range(len(document)):
        try:
            with closing(document[number]) as page, closing(page.get_textpage()) as text_page:
                characters += text_page.count_chars()
                check_length(characters, max_characters)
                pages.append(list(_read_lines(text_page)))
        except pypdfium2.PdfiumError as error:
            raise ParseError(
                ParseErrorCode.CORRUPT_FILE,
                f"Page {number + 1} of this PDF cannot be read. Export it again and upload the new file.",
                detail=str(error),
            ) from error
    return pages


def _read_lines(page: pypdfium2.PdfTextPage) -> Iterator[_Line]:
    # One code unit for each character index, so that a place in the text is a place on the page.
    units = [pdfium.FPDFText_GetUnicode(page, index) for index in range(page.count_chars())]
    start = 0
    for is_break, run in groupby(units, key=_LINE_BREAKS.__contains__):
        length = sum(1 for _ in run)
        if not is_break:
            text = "".join(map(_to_character, units[start : start + length]))
            if text.strip():
                yield _measure_line(page, start, text)
        start += length


def _to_character(unit: int) -> str:
    return chr(unit) if unit <= sys.maxunicode else "\ufffd"


def _measure_line(page: pypdfium2.PdfTextPage, start: int, text: str) -> _Line:
    marks = [match.start() for match in _WORD.finditer(text)] or [len(text) - len(text.lstrip())]
    # The middle letter stands for its line: the first may be an initial, a bullet or a footnote mark.
    index = start + marks[len(marks) // 2]
    matrix = pdfium.FS_MATRIX()
    x, y = ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetMatrix(page, index, matrix)
    pdfium.FPDFText_GetCharOrigin(page, index, x, y)
    size = pdfium.FPDFText_GetFontSize(page, index) * math.hypot(matrix.c, matrix.d)
    text = _HYPHENATED.sub("", text).replace(_LINE_END_HYPHEN, "-")
    # Characters beyond the basic plane come as two units.
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _Line(text.strip(), round(2 * size) / 2, y.value)


def _heading_levels(pages: list[list[_Line]]) -> dict[float, int]:
    """Which letter sizes are headings, the largest being level 1."""
    weights: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            weights[line.size] += len(line.text)
    body = max(weights, key=weights.__getitem__)
    larger = sorted((size for size in weights if size >= body * HEADING_SCALE), reverse=True)
    return {size: min(level, 6) for level, size in enumerate(larger, start=1)}


def _split_blocks(lines: list[_Line]) -> Iterator[list[_Line]]:
    """Runs of lines of one size at the page's usual pitch: paragraphs and headings."""
    pitches = sorted(
        above.baseline - below.baseline
        for above, below in pairwise(lines)
        if above.size == below.size and above.baseline > below.baseline
    )
    # Not the median: on a page of short paragraphs most pitches lie between paragraphs.
    usual = pitches[len(pitches) // 4] if pitches else 0.0
    block: list[_Line] = []
    for line in lines:
        if block and _starts_block(block[-1], line, usual):
            yield block
            block = []
        block.append(line)
    if block:
        yield block


def _starts_block(above: _Line, line: _Line, usual_pitch: float) -> bool:
    if line.size != above.size:
        return True
    allowed = max(usual_pitch, line.size) * PARAGRAPH_PITCH
    return above.baseline - line.baseline > allowed
