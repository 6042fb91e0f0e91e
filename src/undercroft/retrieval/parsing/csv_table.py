"""CSV: each row as ``column: value; ...``, so that a row is understood wherever it is read."""

import csv
import io
from collections.abc import Iterator
from typing import Final

from undercroft.retrieval.parsing.detection import CSV, CSV_DELIMITERS, find_delimiter
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.text import TextBuilder, read_text

MAX_CELL_CHARACTERS: Final = 100_000
MAX_COLUMNS: Final = 2_000


def parse_csv(data: bytes, max_characters: int) -> ExtractedDocument:
    """One block for each row. The first row names the columns unless it looks like data itself.

    Raises:
        ParseError: A cell or a row is beyond the bounds, as after a quote that is never closed.
    """
    text = read_text(data, max_characters)
    builder = TextBuilder(max_characters)
    rows = _read_rows(text, _choose_delimiter(text))
    first = next(rows, list[str]())
    names = _column_names(first)
    if names is None:
        builder.add_block(_render([], first))
    for row in rows:
        builder.add_block(_render(names or [], row))
    if names is not None and not builder.has_text:
        builder.add_block("; ".join(names))
    return builder.build(CSV, None)


def _choose_delimiter(text: str) -> str:
    first_line = text.partition("\n")[0]
    return find_delimiter(text) or max(CSV_DELIMITERS, key=first_line.count)


def _read_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_CELL_CHARACTERS)  # this process reads one file and ends
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if len(row) > MAX_COLUMNS:
                raise _malformed(f"line {reader.line_num} has more than {MAX_COLUMNS:,} columns")
            if any(cell.strip() for cell in row):
                yield row
    except csv.Error as error:
        raise _malformed(f"line {reader.line_num} cannot be read") from error


def _column_names(row: list[str]) -> list[str] | None:
    """The names in a header, or None when the row holds an empty cell, a number, or one name twice."""
    names = [" ".join(cell.split()) for cell in row]
    is_header = len(set(names)) == len(names) and all(
        name and not name.replace(".", "").replace(",", "").lstrip("-").isdigit() for name in names
    )
    return names if is_header else None


def _render(names: list[str], row: list[str]) -> str:
    cells: list[str] = []
    for index, cell in enumerate(row):
        value = " ".join(cell.split())
        if value:
            name = names[index] if index < len(names) else f"column {index + 1}"
            cells.append(f"{name}: {value}")
    return "; ".join(cells)


def _malformed(what: str) -> ParseError:
    return ParseError(
        ParseErrorCode.CORRUPT_FILE,
        f"This CSV file is malformed: {what}. Look for a quote that is never closed, and export it again.",
    )
