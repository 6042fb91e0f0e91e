"""What each parser makes of good files and of hostile ones, without the sandbox around it."""

import io
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.parsing import files
from undercroft.retrieval.parsing.csv_table import parse_csv
from undercroft.retrieval.parsing.docx import parse_docx
from undercroft.retrieval.parsing.epub import parse_epub
from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.html_page import parse_html
from undercroft.retrieval.parsing.json_tree import parse_json
from undercroft.retrieval.parsing.markdown import parse_markdown
from undercroft.retrieval.parsing.models import ExtractedDocument, Heading
from undercroft.retrieval.parsing.pdf import parse_pdf

LIMIT = 1_000_000


def outline(document: ExtractedDocument) -> list[tuple[int, str]]:
    for heading in document.headings:
        assert document.text.startswith(heading.title, heading.start)
    return [(heading.level, heading.title) for heading in document.headings]


def test_pdf_pages_headings_and_paragraphs() -> None:
    document = parse_pdf(files.make_pdf(pages=3), LIMIT)
    assert document.title == "Old Mill"
    assert outline(document) == [
        (1, "Lease of the Old Mill"),
        (1, "1. Duties"),
        (1, "2. Duties"),
        (1, "3. Duties"),
    ]
    for page in document.pages:
        text = document.text[page.start : page.end]
        assert f"Page {page.number} begins." in text
        assert f"May {900 + page.number} EUR" in text
    assert "each month.\n\nSecond paragraph" in document.text


def test_pdf_joins_words_that_were_hyphenated() -> None:
    document = parse_pdf(
        files.make_pdf_lines("an inter-", "national rule, see E-", "42 below"), LIMIT
    )
    assert "international rule" in document.text
    assert "E-42" in document.text


def test_pdf_empty_pages_keep_their_numbers() -> None:
    document = parse_pdf(files.make_pdf_pages("first", "", "third"), LIMIT)
    assert [document.text[page.start : page.end] for page in document.pages] == [
        "first",
        "",
        "third",
    ]


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60))
def test_pdf_keeps_all_letters(text: str) -> None:
    document = parse_pdf(files.make_pdf_lines(text), LIMIT)
    assert "".join(document.text.split()) == text.replace(" ", "")


def test_docx_in_document_order() -> None:
    document = parse_docx(io.BytesIO(files.make_docx()), LIMIT)
    assert document.title == "Minutes"
    assert outline(document) == [(1, "Minutes of May"), (1, "Budget"), (2, "Details")]
    assert document.text == (
        "Minutes of May\n\nBudget\n\nBefore the table.\n\nItem | Cost\nRoof | 1,200\n\nAfter the table.\n\n"
        "- Call the roofer\n\nDetails\n\nA\ttab and\nbreak."
    )


def test_docx_text_in_insertions_controls_and_boxes_but_not_deleted() -> None:
    body = (
        "<w:p><w:ins><w:r><w:t>added </w:t></w:r></w:ins><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        "<w:r><w:t>kept</w:t></w:r></w:p>"
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>controlled</w:t></w:r></w:p></w:sdtContent></w:sdt>"
        "<w:p><w:r><w:t>outer</w:t></w:r><w:r><w:pict><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p>"
        "</w:txbxContent></w:pict></w:r></w:p>"
    )
    document = parse_docx(io.BytesIO(files.make_raw_docx(body)), LIMIT)
    assert document.text == "added kept\n\ncontrolled\n\nouter\nboxed"


def test_docx_strict_variant() -> None:
    raw = files.make_raw_docx(
        "<w:p><w:r><w:t>strict</w:t></w:r></w:p>",
        namespace="http://purl.oclc.org/ooxml/wordprocessingml/main",
    )
    assert parse_docx(io.BytesIO(raw), LIMIT).text == "strict"


def test_docx_expands_no_entities(tmp_path_factory: pytest.TempPathFactory) -> None:
    laughs = files.make_raw_docx(
        "<w:p><w:r><w:t>x&a11;y</w:t></w:r></w:p>", prologue=f"{files.LAUGHS}]>"
    )
    assert "haha" not in text_or_reason(laughs)
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text("top secret")
    external = files.make_raw_docx(
        "<w:p><w:r><w:t>x&e;y</w:t></w:r></w:p>",
        prologue=f'<!DOCTYPE d [<!ENTITY e SYSTEM "{secret.as_uri()}">]>',
    )
    assert "secret" not in text_or_reason(external)


def text_or_reason(content: bytes) -> str:
    try:
        return parse_docx(io.BytesIO(content), LIMIT).text
    except ParseError as error:
        return error.message


@pytest.mark.parametrize(
    "content",
    [
        files.make_docx()[:-100],
        files.make_raw_docx("<w:p>"),
        files.make_raw_docx("<w:p>" * 300 + "</w:p>" * 300),
        files.make_zip({"[Content_Types].xml": "", "word/document.xml": "<a/>"}),
        files.make_zip({"_rels/.rels": "<r/>", "word/document.xml": "<a/>"}),
        files.make_lying_docx(),
    ],
)
def test_docx_that_is_damaged(content: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parse_docx(io.BytesIO(content), LIMIT)
    assert caught.value.reason is ParseErrorCode.CORRUPT_FILE


def test_docx_inflates_no_more_than_declared() -> None:
    content = files.make_lying_docx()
    tracemalloc.start()
    try:
        with pytest.raises(ParseError):
            parse_docx(io.BytesIO(content), LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


def test_zip_locked_with_a_password() -> None:
    content = bytearray(files.make_docx())
    at = content.find(b"PK\x01\x02")
    content[at + 8] |= 1
    with pytest.raises(ParseError) as caught:
        parse_docx(io.BytesIO(bytes(content)), LIMIT)
    assert caught.value.reason is ParseErrorCode.ENCRYPTED


def test_epub_chapters_in_the_order_of_the_spine() -> None:
    book = files.make_epub(
        {
            "one.xhtml": "<html><head><title/></head><body><h1>One</h1><p>First.</p></body></html>",
            "two.xhtml": "<html><body><h2>Two</h2><p>Second&nbsp;one.<a id='x'/></p><p>End.</p></body></html>",
        }
    )
    document = parse_epub(io.BytesIO(book), LIMIT)
    assert document.title == "The Book"
    assert outline(document) == [(1, "One"), (2, "Two")]
    assert document.text == "One\n\nFirst.\n\nTwo\n\nSecond\xa0one.\n\nEnd."


def test_epub_expands_no_entities() -> None:
    chapter = f"{files.LAUGHS}]><html><body><p>x&a11;y</p></body></html>"
    document = parse_epub(io.BytesIO(files.make_epub({"a.xhtml": chapter})), LIMIT)
    assert "haha" not in document.text
    book = files.make_epub({"a.xhtml": "<p>x</p>"}, prologue=f"{files.LAUGHS}]>")
    assert parse_epub(io.BytesIO(book), LIMIT).text == "x"


def test_epub_reads_a_chapter_named_many_times_once() -> None:
    book = files.make_epub({"a.xhtml": "<p>x</p>"}, spine='<itemref idref="c0"/>' * 50_000)
    assert parse_epub(io.BytesIO(book), LIMIT).text == "x"


@pytest.mark.parametrize(
    ("uri", "is_readable"), [("OEBPS/text/a.xhtml", False), ("OEBPS/fonts/f.otf", True)]
)
def test_epub_protection(uri: str, is_readable: bool) -> None:
    encryption = f'<encryption><CipherReference URI="{uri}"/></encryption>'
    book = files.make_epub({"a.xhtml": "<p>x</p>"}, extra={"META-INF/encryption.xml": encryption})
    if is_readable:
        assert parse_epub(io.BytesIO(book), LIMIT).text == "x"
        return
    with pytest.raises(ParseError) as caught:
        parse_epub(io.BytesIO(book), LIMIT)
    assert caught.value.reason is ParseErrorCode.ENCRYPTED


def test_epub_that_is_damaged() -> None:
    book = files.make_zip({"mimetype": "application/epub+zip"})
    with pytest.raises(ParseError) as caught:
        parse_epub(io.BytesIO(book), LIMIT)
    assert caught.value.reason is ParseErrorCode.CORRUPT_FILE


def test_html_keeps_what_a_reader_sees() -> None:
    document = parse_html(
        b"""<!doctype html><title>A &amp; B</title><style>p{}</style>
        <nav><a href=/>Home</a></nav><script>var x = "<p>no</p>"</script>
        <h1>Big   <em>title</em></h1><p>One
        two <b>th</b>ree.<br>Four.</p>
        <ul><li>apple<li>pear</ul>
        <table><tr><th>Month<th>Rent<tr><td><p>May</p><p>June</p><td>900</table>
        <pre>  kept
    as is</pre><div>loose <div>inner</div> tail</div><h3>Small</h3>""",
        LIMIT,
    )
    assert document.title == "A & B"
    assert outline(document) == [(1, "Big title"), (3, "Small")]
    assert document.text == (
        "Big title\n\nOne two three.\nFour.\n\n- apple\n- pear\n\nMonth | Rent\nMay June | 900\n\n"
        "kept\n    as is\n\nloose\n\ninner\n\ntail\n\nSmall"
    )


def test_html_nested_tables_and_text_after_them() -> None:
    document = parse_html(
        b"<table><tr><td>a<td><table><tr><td>x<td>y</table><td>b</table><p>after<p>more", LIMIT
    )
    assert document.text.endswith("after\n\nmore")
    assert [word for word in document.text.split() if word.isalpha()] == [
        "a", "x", "y", "b", "after", "more",
    ]  # fmt: skip


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=300))
def test_html_of_any_text(text: str) -> None:
    parse_html(text.encode(), LIMIT)


def test_html_deep_nesting_needs_no_recursion() -> None:
    assert parse_html(b"<b>" * 5_000 + b"deep", LIMIT).text == "deep"


def test_markdown_offsets_are_into_the_source() -> None:
    source = (
        "Setext\r\n======\r\n\r\n```\n# not this\n```\n"
        "## The *second* `one` [link](x)\n> # quoted\n\ntext\n# Last #\n"
    )
    document = parse_markdown(source.encode(), LIMIT)
    assert document.text == source.replace("\r\n", "\n")
    assert document.title == "Setext"
    assert document.headings == (
        Heading(1, "Setext", 0),
        Heading(2, "The second one link", document.text.index("## The")),
        Heading(1, "quoted", document.text.index("> # quoted")),
        Heading(1, "Last", document.text.index("# Last")),
    )


@settings(deadline=None)
@given(st.text("#=-`>* \n[]()!ab", max_size=200))
def test_markdown_headings_start_a_line(source: str) -> None:
    document = parse_markdown(source.encode(), LIMIT)
    assert document.text == source
    for heading in document.headings:
        assert heading.start == 0 or source[heading.start - 1] == "\n"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    ["> ", "- ", "[", "*a ", "`", "<", "![](", "# ", "\n\n# x", "1. ", "    ", "a\n=\n", "|"],
)
def test_markdown_hostile_nesting(unit: str) -> None:
    parse_markdown((unit * 20_000).encode(), LIMIT)


def test_csv_rows_are_understood_alone() -> None:
    content = b'name,note,sum\n"Ada, C.","said ""hi""\nand left",3\n,,\nAlan,,4,extra\n'
    document = parse_csv(content, LIMIT)
    assert document.text == (
        'name: Ada, C.; note: said "hi" and left; sum: 3\n\nname: Alan; sum: 4; column 4: extra'
    )


def test_csv_without_a_header() -> None:
    assert parse_csv(b"1;2\n3;4\n5;6\n", LIMIT).text == (
        "column 1: 1; column 2: 2\n\ncolumn 1: 3; column 2: 4\n\ncolumn 1: 5; column 2: 6"
    )


def test_csv_of_a_header_alone() -> None:
    assert parse_csv(b"name,city\n", LIMIT).text == "name; city"


@pytest.mark.parametrize(
    "content", [b'a,b\n"' + b"x" * 200_000, b"," * 5_000, b"a,b\n" + b"," * 5_000]
)
def test_csv_beyond_bounds(content: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parse_csv(content, LIMIT)
    assert caught.value.reason is ParseErrorCode.CORRUPT_FILE


def test_json_values_with_their_paths() -> None:
    content = b'{"user": {"name": "Ada", "tags": ["x", "y"], "name": "Bob"}, "n": 1.50, "no": null, "e": {}, "t": true}'
    assert parse_json(content, LIMIT).text == (
        "user.name: Bob\nuser.tags[0]: x\nuser.tags[1]: y\nn: 1.50\nno: null\ne: {}\nt: true"
    )


def test_json_elements_are_blocks_and_lines_are_elements() -> None:
    expected = "[0].a: 1\n[0].b: 2\n\n[1].a: 3"
    assert parse_json(b'[{"a": 1, "b": 2}, {"a": 3}]', LIMIT).text == expected
    assert parse_json(b'{"a": 1, "b": 2}\n{"a": 3}\n', LIMIT).text == expected


def test_json_numbers_keep_their_digits() -> None:
    assert parse_json(b"[" + b"9" * 10_000 + b"]", LIMIT).text == "[0]: " + "9" * 10_000


def test_json_repeated_long_paths_stay_within_the_bound() -> None:
    content = b'{"' + b"k" * 100_000 + b'": [' + b"1," * 1000 + b"1]}"
    tracemalloc.start()
    try:
        with pytest.raises(ParseError) as caught:
            parse_json(content, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason is ParseErrorCode.TOO_MUCH_TEXT
    assert peak < 10_000_000


def test_json_errors_say_where() -> None:
    with pytest.raises(ParseError, match="line 2, column 5"):
        parse_json(b'{"a": 1,\n"b" 2}', LIMIT)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON_VALUES)
def test_json_of_any_shape(value: object) -> None:
    parse_json(json.dumps(value).encode(), LIMIT)
