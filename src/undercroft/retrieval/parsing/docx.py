"""DOCX: headings, paragraphs and tables in document order.

Three parts of the package are read (the document, its styles, its properties), by their elements' local names: the
transitional and the strict variant of the format differ in namespaces alone. Text that python-docx leaves out is
kept: tracked insertions, content controls, text boxes.
"""

# lxml ships no types, so what comes out of it is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportPrivateUsage=false

import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, Final

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - untyped

from undercroft.retrieval.parsing.archive import open_archive, read_entry
from undercroft.retrieval.parsing.detection import DOCX
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.text import TextBuilder
from undercroft.retrieval.parsing.xml import XmlError, local_name, parse_xml

CELL_SEPARATOR: Final = " | "

_RELATIONSHIPS: Final = "_rels/.rels"
_PROPERTIES: Final = "docProps/core.xml"
_MARKS: Final = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_PIECES: Final = frozenset({"t", "txbxContent", *_MARKS})
_BLOCKS: Final = frozenset({"p", "tbl"})
_SKIPPED: Final = frozenset(
    {"", "pPr", "rPr", "del", "moveFrom", "Fallback"}  # the last repeats a text box for old readers
)
_HEADING_STYLE: Final = re.compile(r"heading ([1-9])", re.IGNORECASE)
_LIST_STYLE: Final = re.compile(r"list (?:bullet|number|paragraph)", re.IGNORECASE)


def parse_docx(file: BinaryIO, max_characters: int) -> ExtractedDocument:
    """The text of a Word document's body; its title is the one in its properties, or the paragraph styled Title.

    Raises:
        ParseError: It is damaged, or would unpack beyond the bounds of :mod:`~undercroft.retrieval.parsing.archive`.
    """
    builder = TextBuilder(max_characters)
    try:
        with open_archive(file) as archive:
            path = _main_part(archive)
            styles = _style_names(archive, posixpath.join(posixpath.dirname(path), "styles.xml"))
            title = _stated_title(archive)
            document = parse_xml(read_entry(archive, path))
    except (XmlError, zipfile.BadZipFile, NotImplementedError, EOFError, KeyError) as error:
        raise ParseError(
            ParseErrorCode.CORRUPT_FILE,
            "This DOCX file is damaged. Open it in a word processor, save it again and upload the new file.",
            detail=ascii(error)[:500],
        ) from error
    first_title = _add_blocks(builder, document, styles)
    return builder.build(DOCX, title or first_title)


def _main_part(archive: zipfile.ZipFile) -> str:
    for relationship in parse_xml(read_entry(archive, _RELATIONSHIPS)):
        if relationship.get("Type", "").endswith("/officeDocument"):
            return posixpath.normpath(relationship.get("Target", "").lstrip("/"))
    raise KeyError("no main document")


def _style_names(archive: zipfile.ZipFile, path: str) -> dict[str, str]:
    """The names of styles by id. Names are English in every language; ids are not."""
    if path not in archive.namelist():
        return {}
    styles = (style for style in parse_xml(read_entry(archive, path)))
    return {
        _attribute(style, "styleId"): _attribute(name, "val")
        for style in styles
        if (name := style.find("{*}name")) is not None
    }


def _stated_title(archive: zipfile.ZipFile) -> str | None:
    if _PROPERTIES not in archive.namelist():
        return None
    return parse_xml(read_entry(archive, _PROPERTIES)).findtext("{*}title")


def _add_blocks(
    builder: TextBuilder, document: etree._Element, styles: dict[str, str]
) -> str | None:
    """Add all blocks of the body.

    Returns:
        The text of the first paragraph in the style "Title".
    """
    title: str | None = None
    for block in _outermost(document, _BLOCKS):
        if local_name(block) == "tbl":
            builder.add_block("\n".join(_rows(block)))
            continue
        text = _paragraph_text(block)
        style_element = block.find("{*}pPr/{*}pStyle")
        style = "" if style_element is None else styles.get(_attribute(style_element, "val"), "")
        heading = _HEADING_STYLE.fullmatch(style)
        if style == "Title":
            title = title or text
            builder.add_heading(1, text)
        elif heading is not None:
            builder.add_heading(int(heading[1]), text)
        else:
            builder.add_block(f"- {text}" if text and _LIST_STYLE.match(style) else text)
    return title


def _attribute(element: etree._Element, name: str) -> str:
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return str(value)
    return ""


def _outermost(root: etree._Element, names: frozenset[str]) -> Iterator[etree._Element]:
    """The elements of these names in document order, at any depth, but none that lies inside another."""
    pending = list(reversed(root))
    while pending:
        element = pending.pop()
        name = local_name(element)
        if name in names:
            yield element
        elif name not in _SKIPPED:
            pending.extend(reversed(element))


def _rows(table: etree._Element) -> Iterator[str]:
    for row in _outermost(table, frozenset({"tr"})):
        cells = [_cell_text(cell) for cell in _outermost(row, frozenset({"tc"}))]
        if any(cells):
            yield CELL_SEPARATOR.join(cells)


def _cell_text(cell: etree._Element) -> str:
    """One line; the cells of a nested table follow one another."""
    paragraphs = (_paragraph_text(paragraph) for paragraph in cell.iter("{*}p"))
    return " ".join(" ".join(paragraphs).split())


def _paragraph_text(paragraph: etree._Element) -> str:
    """What a reader sees of it; a text box anchored in it follows its own words."""
    pieces: list[str] = []
    boxes: list[str] = []
    for piece in _outermost(paragraph, _PIECES):
        name = local_name(piece)
        if name == "txbxContent":
            boxes.extend(_paragraph_text(inner) for inner in _outermost(piece, frozenset({"p"})))
        else:
            pieces.append(_MARKS.get(name) or piece.text or "")
    return "\n".join(filter(None, ["".join(pieces).strip(), *boxes]))
