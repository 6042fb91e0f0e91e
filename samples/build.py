# ruff: noqa: INP001 -- a script beside its data, not a package
"""Build the binary sample documents (PDF, DOCX, EPUB) from ``sources/``.

    python samples/build.py [TARGET]        # TARGET defaults to samples/documents

A source is a small Markdown file: ``key: value`` lines between two ``---`` lines, then headings,
paragraphs (a backslash at a line's end keeps the line break), ``-`` lists, pipe tables,
``**strong**`` words, and ``<!-- page break -->`` alone on a line. The suffix of its ``output``
decides the format.

The same sources always give the same bytes: dates come from the sources, and nothing is compressed,
so that the result does not depend on which zlib this Python was built with.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import docx
from docx.document import Document as DocxDocument
from docx.enum.style import WD_STYLE_TYPE
from docx.shared import RGBColor
from docx.styles.style import ParagraphStyle as DocxStyle
from docx.text.paragraph import Paragraph as DocxParagraph
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_LEFT, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    ListFlowable,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus import PageBreak as PdfPageBreak

SAMPLES: Final = Path(__file__).resolve().parent
FONTS: Final = {"sans": ("Helvetica", "Helvetica-Bold"), "serif": ("Times-Roman", "Times-Bold")}
MARGIN: Final = 22 * mm
TEXT_WIDTH: Final = A4[0] - 2 * MARGIN
INK: Final = HexColor("#20242a")
GREY: Final = HexColor("#767c85")
NUMERIC: Final = re.compile(r"\**[-£€]*[\d.,]+( %| mm)?\**|\N{EN DASH}")
STRONG: Final = re.compile(r"\*\*(.+?)\*\*")


# --- The source format ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 1 to 3."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph; a newline in it is a line break that is kept."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """An unordered list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table whose first row is its head."""

    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class PageBreak:
    """The rest of the document starts on a new page."""


Block = Heading | Prose | Bullets | Grid | PageBreak


@dataclass(frozen=True, slots=True)
class Source:
    """One parsed source: its front matter and its blocks in order."""

    output: Path
    title: str
    organisation: str
    date: datetime
    language: str
    accent: str
    typeface: str
    blocks: tuple[Block, ...]


def read_source(path: Path) -> Source:
    """Parse one source file.

    Raises:
        ValueError: The front matter lacks a key or holds one that means nothing.
    """
    _, front, body = path.read_text(encoding="utf-8").split("---\n", maxsplit=2)
    meta = {"language": "en", "accent": "#2f5d62", "typeface": "sans"}
    meta |= dict(line.split(": ", maxsplit=1) for line in front.splitlines())
    expected = {"output", "title", "organisation", "date", "language", "accent", "typeface"}
    if set(meta) != expected:
        raise ValueError(f"{path.name}: front matter differs by {sorted(set(meta) ^ expected)}")
    return Source(
        output=Path(meta["output"]),
        title=meta["title"],
        organisation=meta["organisation"],
        date=datetime.fromisoformat(f"{meta['date']}T09:00:00+00:00"),
        language=meta["language"],
        accent=meta["accent"],
        typeface=meta["typeface"],
        blocks=tuple(map(parse_block, re.split(r"\n{2,}", body.strip()))),
    )


def parse_block(text: str) -> Block:
    """Parse what stands between two blank lines."""
    lines = text.splitlines()
    if text == "<!-- page break -->":
        return PageBreak()
    if heading := re.fullmatch(r"(#{1,3}) (.+)", text):
        return Heading(len(heading[1]), heading[2])
    if text.startswith("- "):
        return Bullets(tuple(" ".join(item.split()) for item in text[2:].split("\n- ")))
    if text.startswith("|"):
        rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
        return Grid((rows[0], *rows[2:]))
    return Prose(" ".join(lines).replace("\\ ", "\n"))


def markup(text: str) -> str:
    """Inline text as the XML that reportlab and XHTML share."""
    return STRONG.sub(r"<b>\1</b>", escape(text)).replace("\n", "<br/>")


# --- PDF ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """The styles of one PDF."""

    accent: Color
    fonts: tuple[str, str]

    def style(
        self,
        size: float,
        *,
        bold: bool = False,
        **changes: Any,  # noqa: ANN401 -- whatever reportlab takes
    ) -> ParagraphStyle:
        """A paragraph style in this look's typeface."""
        defaults: dict[str, Any] = {
            "leading": size * 1.4,
            "textColor": INK,
            "fontName": self.fonts[bold],
        }
        return ParagraphStyle(f"{size}-{bold}", fontSize=size, **(defaults | changes))


def build_pdf(source: Source) -> bytes:
    """Lay a source out on A4 pages, under a letterhead and with numbered footers.

    Raises:
        ValueError: A character is outside of what the standard PDF fonts can show.
    """
    try:
        repr(source).encode("cp1252")
    except UnicodeEncodeError as error:
        raise ValueError(f"{source.output}: the standard PDF fonts lack a character") from error
    pages = render_pdf(source, total_pages=0)[1]
    return render_pdf(source, total_pages=pages)[0]


def render_pdf(source: Source, total_pages: int) -> tuple[bytes, int]:
    """One layout pass: the PDF's bytes and how many pages it took."""
    look = Look(HexColor(source.accent), FONTS[source.typeface])
    buffer = BytesIO()
    template = BaseDocTemplate(
        buffer,
        pagesize=A4,
        title=source.title,
        author=source.organisation,
        lang=source.language,
        invariant=1,
        pageCompression=0,
    )
    body = Frame(MARGIN, 23 * mm, TEXT_WIDTH, A4[1] - 46 * mm, 0, 0, 0, 0)
    letterhead = partial(draw_letterhead, source=source, look=look)
    footer = partial(draw_footer, source=source, look=look, total_pages=total_pages)
    template.addPageTemplates(PageTemplate(frames=[body], onPage=letterhead, onPageEnd=footer))
    story: list[Flowable] = [
        Paragraph(markup(source.title), look.style(20, bold=True, spaceAfter=9, leading=24)),
        *(flowable for block in source.blocks for flowable in pdf_block(block, look)),
    ]
    template.build(story)
    return buffer.getvalue(), template.page


def draw_letterhead(canvas: Canvas, _template: BaseDocTemplate, source: Source, look: Look) -> None:
    """Draw what stands above the text of one page."""
    width, height = A4
    canvas.saveState()
    canvas.setFillColor(look.accent)
    canvas.rect(0, height - 4 * mm, width, 4 * mm, stroke=0, fill=1)
    canvas.setFont(look.fonts[1], 9.5)
    canvas.drawString(MARGIN, height - 15 * mm, source.organisation)
    canvas.restoreState()


def draw_footer(
    canvas: Canvas, template: BaseDocTemplate, source: Source, look: Look, total_pages: int
) -> None:
    """Draw what stands below the text of one page."""
    right = A4[0] - MARGIN
    canvas.saveState()
    canvas.setStrokeColor(look.accent)
    canvas.setLineWidth(0.5)
    canvas.line(MARGIN, 17 * mm, right, 17 * mm)
    canvas.setFillColor(GREY)
    canvas.setFont(look.fonts[0], 8)
    canvas.drawString(MARGIN, 12.5 * mm, source.title)
    canvas.drawRightString(right, 12.5 * mm, f"Page {template.page} of {total_pages}")
    canvas.restoreState()


def pdf_block(block: Block, look: Look) -> Iterator[Flowable]:
    """The flowables of one block."""
    match block:
        case Heading(level, text):
            size = {1: 14.5, 2: 12, 3: 10.5}[level]
            colour = look.accent if level < 3 else INK
            style = look.style(
                size, bold=True, textColor=colour, spaceBefore=10, spaceAfter=4, keepWithNext=1
            )
            yield Paragraph(markup(text), style)
        case Prose(text):
            yield Paragraph(markup(text), look.style(10, spaceAfter=7))
        case Bullets(items):
            style = look.style(10, spaceAfter=2)
            yield ListFlowable(
                [Paragraph(markup(item), style) for item in items],
                bulletType="bullet",
                bulletFontSize=10,
                bulletColor=look.accent,
                leftIndent=14,
            )
            yield Spacer(0, 7)
        case Grid(rows):
            yield pdf_table(rows, look)
            yield Spacer(0, 6)
        case PageBreak():
            yield PdfPageBreak()


def pdf_table(rows: tuple[tuple[str, ...], ...], look: Look) -> Table:
    """A ruled table: columns as wide as their longest cell asks for, numbers to the right."""
    columns = list(zip(*rows, strict=True))
    longest = [min(max(6, *map(len, column)), 46) + 3 for column in columns]
    alignment = [
        TA_RIGHT if all(map(NUMERIC.fullmatch, column[1:])) else TA_LEFT for column in columns
    ]
    cells = [
        [
            Paragraph(
                markup(cell),
                look.style(
                    9,
                    bold=number == 0,
                    alignment=side,
                    textColor=INK if number else HexColor("#ffffff"),
                ),
            )
            for cell, side in zip(row, alignment, strict=True)
        ]
        for number, row in enumerate(rows)
    ]
    return Table(
        cells,
        colWidths=[TEXT_WIDTH * width / sum(longest) for width in longest],
        repeatRows=1,
        style=TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, 0), look.accent),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [HexColor("#ffffff"), HexColor("#f3f5f6")]),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, HexColor("#c9ced4")),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
            ]
        ),
    )


# --- DOCX -----------------------------------------------------------------------------

DOCX_TABLE_STYLE: Final = "Light Grid Accent 1"
COLOURED_DOCX_STYLES: Final = {"Title", "Heading 1", "Heading 2", "Heading 3"}


def build_docx(source: Source) -> bytes:
    """Write a source as a Word document with real heading, list and table styles."""
    document = docx.Document()
    properties = document.core_properties
    properties.title, properties.author = source.title, source.organisation
    properties.last_modified_by, properties.comments = source.organisation, ""
    properties.created = properties.modified = source.date.replace(tzinfo=None)
    properties.language = source.language
    accent = RGBColor.from_string(source.accent.lstrip("#").upper())
    drop_unused_parts(document)
    for style in document.styles:
        if isinstance(style, DocxStyle) and style.name in COLOURED_DOCX_STYLES:
            style.font.color.rgb = accent
    document.add_paragraph(source.title, style="Title")
    for block in source.blocks:
        add_docx_block(document, block)
    buffer = BytesIO()
    document.save(buffer)
    with ZipFile(buffer) as written:
        return pack({name: written.read(name) for name in written.namelist()}, source.date)


def add_docx_block(document: DocxDocument, block: Block) -> None:
    """Append one block to a Word document."""
    match block:
        case Heading(level, text):
            document.add_heading(text, level)
        case Prose(text):
            add_runs(document.add_paragraph(), text)
        case Bullets(items):
            for item in items:
                add_runs(document.add_paragraph(style="List Bullet"), item)
        case Grid(rows):
            table = document.add_table(len(rows), len(rows[0]), style=DOCX_TABLE_STYLE)
            for row, cells in zip(table.rows, rows, strict=True):
                for cell, text in zip(row.cells, cells, strict=True):
                    add_runs(cell.paragraphs[0], text)
            document.add_paragraph()
        case PageBreak():
            document.add_page_break()


def drop_unused_parts(document: DocxDocument) -> None:
    """Remove the nine tenths of the library's template that nothing here uses."""
    used = {"Normal Table", DOCX_TABLE_STYLE}
    for style in list(document.styles):
        if style.type == WD_STYLE_TYPE.TABLE and style.name not in used:
            style.delete()
    relationships = document.part.rels
    for key, relationship in list(relationships.items()):
        if relationship.reltype.endswith("/stylesWithEffects"):
            del relationships[key]


def add_runs(paragraph: DocxParagraph, text: str) -> None:
    """Append inline text; every second piece between ``**`` is strong."""
    for number, piece in enumerate(text.split("**")):
        paragraph.add_run(piece).bold = True if number % 2 else None


# --- EPUB -----------------------------------------------------------------------------

XHTML: Final = """<?xml version="1.0" encoding="utf-8"?>
<html xmlns="http://www.w3.org/1999/xhtml"
 xmlns:epub="http://www.idpf.org/2007/ops" xml:lang="{language}">
<head><title>{title}</title><link rel="stylesheet" href="style.css"/></head>
<body>
{body}
</body>
</html>
"""
CONTAINER: Final = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles>
<rootfile full-path="EPUB/package.opf" media-type="application/oebps-package+xml"/>
</rootfiles>
</container>
"""
PACKAGE: Final = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:undercroft:sample:{identifier}</dc:identifier>
<dc:title>{title}</dc:title>
<dc:creator>{organisation}</dc:creator>
<dc:language>{language}</dc:language>
<meta property="dcterms:modified">{modified}</meta>
</metadata>
<manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="style" href="style.css" media-type="text/css"/>
{manifest}
</manifest>
<spine>
{spine}
</spine>
</package>
"""
STYLE: Final = """body { font-family: serif; line-height: 1.5; margin: 5%; }
h1, h2, h3 { color: ACCENT; }
table { border-collapse: collapse; }
th, td { border: 1px solid #c9ced4; padding: 0.2em 0.5em; text-align: left; }
"""


def build_epub(source: Source) -> bytes:
    """Bind a source as an EPUB 3, one chapter for each level 1 heading."""
    chapters: list[list[Block]] = []
    for block in source.blocks:
        if isinstance(block, Heading) and block.level == 1:
            chapters.append([])
        chapters[-1].append(block)
    names = [f"chapter-{number:02}" for number in range(1, len(chapters) + 1)]
    titles = [
        block.text for chapter in chapters for block in chapter[:1] if isinstance(block, Heading)
    ]
    page = partial(XHTML.format, language=source.language)
    links = "\n".join(
        f'<li><a href="{name}.xhtml">{escape(title)}</a></li>'
        for name, title in zip(names, titles, strict=True)
    )
    navigation = f'<nav epub:type="toc"><h1>Contents</h1><ol>\n{links}\n</ol></nav>'
    package = PACKAGE.format(
        identifier=source.output.stem,
        title=escape(source.title),
        organisation=escape(source.organisation),
        language=source.language,
        modified=source.date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        manifest="\n".join(
            f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>'
            for name in names
        ),
        spine="\n".join(f'<itemref idref="{name}"/>' for name in names),
    )
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "EPUB/package.opf": package,
        "EPUB/style.css": STYLE.replace("ACCENT", source.accent),
        "EPUB/nav.xhtml": page(title=escape(source.title), body=navigation),
    }
    for name, title, chapter in zip(names, titles, chapters, strict=True):
        body = "\n".join(map(xhtml_block, chapter))
        files[f"EPUB/{name}.xhtml"] = page(title=escape(title), body=body)
    return pack({name: text.encode() for name, text in files.items()}, source.date)


def xhtml_block(block: Block) -> str:
    """One block as XHTML."""
    match block:
        case Heading(level, text):
            return f"<h{level}>{markup(text)}</h{level}>"
        case Prose(text):
            return f"<p>{markup(text)}</p>"
        case Bullets(items):
            return "<ul>{}</ul>".format("\n".join(f"<li>{markup(item)}</li>" for item in items))
        case Grid(rows):
            return "<table>{}</table>".format(
                "\n".join(map(xhtml_row, ["th"] + ["td"] * len(rows[1:]), rows))
            )
        case PageBreak():
            return '<hr epub:type="pagebreak"/>'


def xhtml_row(tag: str, cells: tuple[str, ...]) -> str:
    """One table row as XHTML."""
    return "<tr>{}</tr>".format("".join(f"<{tag}>{markup(cell)}</{tag}>" for cell in cells))


# --- Putting it together --------------------------------------------------------------


def pack(files: dict[str, bytes], date: datetime) -> bytes:
    """Zip files in the given order, uncompressed, all with the same time."""
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name, content in files.items():
            entry = ZipInfo(name, date.timetuple()[:6])
            entry.create_system = 3  # the same on every platform
            archive.writestr(entry, content)
    return buffer.getvalue()


BUILDERS: Final[dict[str, Callable[[Source], bytes]]] = {
    ".pdf": build_pdf,
    ".docx": build_docx,
    ".epub": build_epub,
}


def main() -> None:
    """Build every source below the target directory."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES / "documents"
    for path in sorted((SAMPLES / "sources").rglob("*.md")):
        source = read_source(path)
        output = target / source.output
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(BUILDERS[source.output.suffix](source))


if __name__ == "__main__":
    main()
