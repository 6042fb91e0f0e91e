import contextlib
import io
import json
import struct
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.retrieval.parsing import files
from undercroft.kit.errors import ErrorKind
from undercroft.retrieval.parsing.detection import (
    CSV,
    DOCX,
    EPUB,
    HTML,
    JSON,
    MARKDOWN,
    MEDIA_TYPES,
    PDF,
    PLAIN,
    detect_media_type,
)
from undercroft.retrieval.parsing.errors import UnsupportedTypeError

TABLE = b"name,city,age\nAda,London,36\nAlan,Wilmslow,41\n"
PROSE = b"Dear Bob,\nI am well, and you?\nYours, Ada\n"


def detect(content: bytes, name: str | None = None) -> str:
    return detect_media_type(io.BytesIO(content), name)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", PLAIN),
        (b"Hello.", PLAIN),
        (PROSE, PLAIN),
        (b"[1] A reference.\n[2] Another.", PLAIN),
        (b"{name}, welcome", PLAIN),
        (b"a < b and <c>", PLAIN),
        ("Gr\u00fc\u00dfe".encode("cp1252"), PLAIN),
        ("Hello".encode("utf-16"), PLAIN),
        ("Hello, this has no mark".encode("utf-16-le"), PLAIN),
        ("Hello".encode("utf-32"), PLAIN),
        (b"# Title\n\nText.", MARKDOWN),
        (b"Title\n=====\n\nText.", MARKDOWN),
        (b"See [the page](https://example.org/).", MARKDOWN),
        (b"| a | b |\n|---|---|\n| 1 | 2 |\n", MARKDOWN),
        (b"<!DOCTYPE html><p>x", HTML),
        (b"\xef\xbb\xbf  <html>", HTML),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<html xmlns="x">', HTML),
        (b"<div class='x'>x</div>", HTML),
        ("<!DOCTYPE html><p>x".encode("utf-16"), HTML),
        (TABLE, CSV),
        (TABLE.replace(b",", b";"), CSV),
        (TABLE.replace(b",", b"\t"), CSV),
        (b'{"a": [1, -2.5e3, true, null, "x\\"y"]}', JSON),
        (b"[]", JSON),
        (b'{"a": 1}\n{"a": 2}\n', JSON),
        (b'{"a": 1,}', JSON),
        (b"[" * 100_000, JSON),
        (b"%PDF-1.7\n", PDF),
        (b"\r\n%PDF-1.4\n", PDF),
        (files.make_docx(), DOCX),
        (files.make_epub({"a.xhtml": "<p>One</p>"}), EPUB),
    ],
)
def test_tells_the_type_by_content(content: bytes, expected: str) -> None:
    assert detect(content) == expected
    # A name of another kind changes nothing where the content is clear.
    if expected not in {PLAIN, MARKDOWN, CSV}:
        assert detect(content, "scan.txt") == expected
        assert detect(content, "photo.png") == expected


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (b"Just words.", "notes.md", MARKDOWN),
        (b"# not a heading", "script.txt", PLAIN),
        (PROSE, "odd.csv", CSV),
        (TABLE, "notes.TXT", PLAIN),
        (TABLE, "archive.unknown", CSV),
        (b"<h1 align='center'>Readme</h1>\n\n# Install", "README.md", MARKDOWN),
        (b"<!doctype html><h1>x</h1>", "page.md", HTML),
    ],
)
def test_a_name_breaks_ties_between_kinds_of_text(content: bytes, name: str, expected: str) -> None:
    assert detect(content, name) == expected


@pytest.mark.parametrize(
    "tail", [b"", b'{"cut": tr', b'{"cut": "hal', b'{"cut": "hal\\', b'{"c":-']
)
def test_a_long_json_file_is_known_by_its_head(tail: bytes) -> None:
    rows = b"[" + b'{"name": "Ada"}, ' * 3_500
    head = rows.ljust(64 * 1024 - len(tail)) + tail
    assert detect(head + b"rest") == JSON
    assert detect(head.replace(b'"Ada"}, ', b"Ada}, ", 1) + b"rest") == PLAIN


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
        b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4,
        b"\x7fELF\x02\x01\x01" + bytes(200),
        b"MZ\x90\0" + bytes(range(256)),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        b"\x1f\x8b\x08" + bytes(range(256)),
        b"{\\rtf1\\ansi Hello}",
        bytes(1000),
        bytes(range(256)) * 10,
        b"text and then\0\0\0\0 binary",
        files.make_zip({"a.txt": "x"}),
        files.make_zip({"mimetype": "application/vnd.oasis.opendocument.text", "a.xml": "<a/>"}),
        files.make_zip({"[Content_Types].xml": "<Types/>", "xl/workbook.xml": "<w/>"}),
        files.make_docx()[:500],
        b"PK\x03\x04 rubbish",
        b"PK\x05\x06" + bytes(18),
    ],
)
@pytest.mark.parametrize("name", [None, "paper.pdf", "notes.txt"])
def test_refuses_what_no_parser_reads(content: bytes, name: str | None) -> None:
    with pytest.raises(UnsupportedTypeError) as caught:
        detect(content, name)
    assert caught.value.kind is ErrorKind.UNSUPPORTED_MEDIA_TYPE
    assert "Supported are" in caught.value.message


def test_a_letter_may_begin_like_a_program() -> None:
    assert detect(b"MZ is how my name is written.") == PLAIN


def test_a_zip_inside_a_zip_is_not_looked_into() -> None:
    inner = files.make_docx()
    with pytest.raises(UnsupportedTypeError):
        detect(files.make_zip({"inner.docx": inner}))


def break_data(archive: bytearray) -> None:
    """The first entry's own content."""
    archive[38:42] = b"\xff" * 4


def break_name(archive: bytearray) -> None:
    """Its name is said to be UTF-8, and is not."""
    struct.pack_into("<H", archive, 6, 0x800)
    archive[30] = 0xFF


def break_place(archive: bytearray) -> None:
    """The directory begins before the file."""
    struct.pack_into("<L", archive, archive.rindex(b"PK\x05\x06") + 16, 0xFFFF)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("damage", [break_data, break_name, break_place])
def test_a_damaged_archive_is_refused_however_it_is_damaged(
    damage: Callable[[bytearray], None], method: int
) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr("mimetype", "application/epub+zip" * 3)
    content = bytearray(target.getvalue())
    damage(content)
    with pytest.raises(UnsupportedTypeError):
        detect(bytes(content))


def test_no_byte_of_an_archive_makes_it_a_defect_of_ours() -> None:
    whole = files.make_zip({"mimetype": "application/epub+zip", "word/a": "b"})
    for place in range(4, len(whole)):
        for byte in (0, 0x7F, 0xFF):
            with contextlib.suppress(UnsupportedTypeError):
                detect(whole[:place] + bytes([byte]) + whole[place + 1 :])


@pytest.mark.parametrize(("entries", "comment"), [(10_001, b""), (80, b"x" * 60_000)])
def test_an_overgrown_directory_is_refused_unread(entries: int, comment: bytes) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(entries):
            entry = zipfile.ZipInfo(f"word/{number}")
            entry.comment = comment
            archive.writestr(entry, "")
        archive.writestr("[Content_Types].xml", "")
    with pytest.raises(UnsupportedTypeError):
        detect(target.getvalue())


@pytest.mark.parametrize(
    "content",
    [
        b"<!--x-->" * 8000,
        b"<!--" * 16_000,
        b"[" * 65_536,
        b"**" * 32_000,
        b"-" * 65_536,
        b'"' * 65_536,
        b'["' + b"\\" * 65_000,
        b"%PDF" * 16_000,
        b"\n" * 65_536,
        b"," * 65_536,
    ],
)
@pytest.mark.timeout(20)
def test_takes_no_longer_for_hostile_text(content: bytes) -> None:
    assert detect(content) in MEDIA_TYPES


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_answers_or_refuses_any_bytes(content: bytes) -> None:
    with contextlib.suppress(UnsupportedTypeError):
        assert detect(content) in MEDIA_TYPES


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(JSON_VALUES) | st.dictionaries(WORDS, JSON_VALUES), st.booleans())
def test_knows_all_json(value: object, ascii_only: bool) -> None:
    assert detect(json.dumps(value, ensure_ascii=ascii_only).encode()) == JSON
