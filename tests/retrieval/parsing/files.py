"""Files for the tests, made on the spot: good ones, and ones built to do harm."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

import docx
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate, Table

CONTENT_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'wordprocessingml.document.main+xml"/></Types>'
)
RELATIONSHIPS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
    'officeDocument" Target="word/document.xml"/></Relationships>'
)
CONTAINER = (
    '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
LAUGHS = "<!DOCTYPE d [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{level} '{f'&a{level - 1};' * 10}'>" for level in range(1, 12)
)
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
BODY = "The tenant pays the rent on the first working day of each month. " * 4


def make_zip(entries: Mapping[str, str | bytes]) -> bytes:
    """A zip file with these entries, in this order."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target.getvalue()


def make_pdf(*, pages: int = 2, password: str | None = None) -> bytes:
    """A lease: on each page a heading, two paragraphs and a small table."""
    target = io.BytesIO()
    styles = getSampleStyleSheet()
    story: list[Flowable] = [Paragraph("Lease of the Old Mill", styles["Title"])]
    for number in range(1, pages + 1):
        story += [
            Paragraph(f"{number}. Duties", styles["Heading1"]),
            Paragraph(f"Page {number} begins. {BODY}", styles["BodyText"]),
            Paragraph(f"Second paragraph of {number}. {BODY}", styles["BodyText"]),
            Table([["Month", "Rent"], ["May", f"{900 + number} EUR"]]),
            PageBreak(),
        ]
    lock = StandardEncryption(password) if password is not None else None
    SimpleDocTemplate(target, pagesize=A4, title="Old Mill", encrypt=lock).build(story)
    return target.getvalue()


def make_pdf_lines(*lines: str) -> bytes:
    """A PDF of one page with these lines, evenly spaced."""
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4)
    for number, line in enumerate(lines):
        canvas.drawString(72, 800 - 14 * number, line)
    canvas.showPage()
    canvas.save()
    return target.getvalue()


def make_pdf_pages(*texts: str) -> bytes:
    """A PDF with a page for each of these lines."""
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4)
    for text in texts:
        canvas.drawString(72, 800, text)
        canvas.showPage()
    canvas.save()
    return target.getvalue()


def make_scan() -> bytes:
    """A PDF of one page with a shape and no text."""
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=A4)
    canvas.rect(100, 100, 200, 200, fill=1)
    canvas.showPage()
    canvas.save()
    return target.getvalue()


def make_pdf_loop(count: int) -> bytes:
    """A PDF whose page tree contains itself, and which claims this many pages."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count %d >>" % count,
    ]
    target = bytearray(b"%PDF-1.7\n")
    offsets: list[int] = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(target))
        target += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(target)
    target += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    target += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    target += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    target += b"startxref\n%d\n%%%%EOF\n" % table
    return bytes(target)


def make_docx() -> bytes:
    """A Word document with a title, headings, a list and a table between two paragraphs."""
    document = docx.Document()
    document.core_properties.title = "Minutes"
    document.add_heading("Minutes of May", 0)
    document.add_heading("Budget", 1)
    document.add_paragraph("Before the table.")
    table = document.add_table(rows=2, cols=2)
    for row, cells in zip(table.rows, [["Item", "Cost"], ["Roof", "1,200"]], strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_paragraph("After the table.")
    document.add_paragraph("Call the roofer", style="List Bullet")
    document.add_heading("Details", 2)
    document.add_paragraph("A\ttab and\nbreak.")
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def make_raw_docx(body: str, *, prologue: str = "", namespace: str = WORD) -> bytes:
    """The smallest DOCX with this XML as its body."""
    xml = f'<?xml version="1.0"?>{prologue}<w:document xmlns:w="{namespace}"><w:body>{body}</w:body></w:document>'
    return make_zip(
        {
            "[Content_Types].xml": CONTENT_TYPES,
            "_rels/.rels": RELATIONSHIPS,
            "word/document.xml": xml,
        }
    )


def make_epub(
    chapters: Mapping[str, str],
    *,
    extra: Mapping[str, str | bytes] | None = None,
    prologue: str = "",
    spine: str | None = None,
) -> bytes:
    """A book with these chapters, by file name, in the reverse of their order in the archive."""
    manifest = "".join(
        f'<item id="c{number}" href="text/{name}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(chapters)
    )
    spine = spine or "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    package = (
        f'<?xml version="1.0"?>{prologue}<package xmlns="http://www.idpf.org/2007/opf"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Book</dc:title></metadata>'
        f"<manifest>{manifest}</manifest><spine>{spine}</spine></package>"
    )
    entries: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": package,
        **(extra or {}),
    }
    for name, markup in reversed(list(chapters.items())):
        entries[f"OEBPS/text/{name}"] = markup
    return make_zip(entries)


def make_bomb_docx() -> bytes:
    """A DOCX of some 90 KB that unpacks to 90 MB."""
    return make_zip(
        {
            "[Content_Types].xml": CONTENT_TYPES,
            "_rels/.rels": RELATIONSHIPS,
            "word/document.xml": b"\0" * 30_000_000,
            "word/more.xml": b"\0" * 30_000_000,
            "word/most.xml": b"\0" * 30_000_000,
        }
    )


def make_lying_docx() -> bytes:
    """A DOCX whose document unpacks to 64 MB, and whose directory says 100 bytes."""
    name = b"word/document.xml"
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = compressor.compress(b"\0" * 64_000_000) + compressor.flush()
    good = make_zip({"[Content_Types].xml": CONTENT_TYPES, "_rels/.rels": RELATIONSHIPS})
    end = good.rfind(b"PK\x05\x06")
    directory_size, directory_offset = struct.unpack_from("<LL", good, end + 12)
    entries, directory = good[:directory_offset], good[directory_offset:end]
    sizes = struct.pack("<LLLHH", 0, len(packed), 100, len(name), 0)
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 0x21) + sizes + name + packed
    central = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 0x21) + sizes
    central += struct.pack("<HHHLL", 0, 0, 0, 0, len(entries)) + name
    size = directory_size + len(central)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, size, len(entries) + len(local), 0)
    return entries + local + directory + central + tail
