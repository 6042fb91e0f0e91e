import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercroft.retrieval.parsing.errors import ParseError, ParseErrorCode
from undercroft.retrieval.parsing.text import (
    MAX_HEADINGS,
    TextBuilder,
    find_encoding,
    is_normalised,
    normalise,
    one_line,
    read_text,
)

GERMAN = "Der Mieter zahlt die Miete f\u00fcr M\u00e4rz; Gr\u00f6\u00dfe der Wohnung: 50 m\u00b2."
RUSSIAN = (
    "\u0410\u0440\u0435\u043d\u0434\u0430\u0442\u043e\u0440 "
    "\u043f\u043b\u0430\u0442\u0438\u0442 \u0430\u0440\u0435\u043d\u0434\u043d\u0443\u044e "
    "\u043f\u043b\u0430\u0442\u0443 \u043f\u0435\u0440\u0432\u043e\u0433\u043e "
    "\u0447\u0438\u0441\u043b\u0430 \u043a\u0430\u0436\u0434\u043e\u0433\u043e "
    "\u043c\u0435\u0441\u044f\u0446\u0430."
)
CZECH = (
    "Smlouva o n\u00e1jmu bytu se uzav\u00edr\u00e1 na dobu neur\u010ditou a n\u00e1jemce plat\u00ed n\u00e1jem "
    "v\u017edy do p\u00e1t\u00e9ho dne m\u011bs\u00edce. P\u0159\u00edli\u0161 \u017elu\u0165ou\u010dk\u00fd."
)
JAPANESE = (
    "\u5bb6\u8cc3\u306f\u6bce\u6708\u4e00\u65e5\u306b\u652f\u6255\u3044\u307e\u3059\u3002" * 3
)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "cp1252"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (GERMAN, "utf-32"),
        ("caf\u00e9", "latin-1"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (RUSSIAN, "utf-16"),
        (CZECH, "cp1250"),
        (JAPANESE, "shift_jis"),
    ],
)
def test_reads_text_in_its_encoding(text: str, encoding: str) -> None:
    assert read_text(text.encode(encoding), 1000) == text


def test_a_declared_encoding_outweighs_statistics() -> None:
    markup = (
        "<meta http-equiv=content-type content='text/html; charset=windows-1251'>\u0414\u043e\u043c"
    )
    assert read_text(markup.encode("cp1251"), 1000) == markup
    declared = "<?xml version='1.0' encoding='iso-8859-2'?><p>\u0159</p>"
    assert read_text(declared.encode("iso-8859-2"), 1000) == declared


@pytest.mark.parametrize("name", ["zlib", "rot13", "no-such-code", "idna"])
def test_a_declaration_of_no_text_encoding_is_ignored(name: str) -> None:
    assert "x" in read_text(f"<meta charset={name}>x caf\u00e9".encode("cp1252"), 1000)


def test_a_head_may_end_within_a_character() -> None:
    assert find_encoding("abc\u20ac".encode()[:-1], is_whole=False) == "utf-8"


def test_a_far_accent_tells_the_encoding() -> None:
    text = "plain text, " * 20_000 + "caf\u00e9 au lait, tr\u00e8s bon"
    assert read_text(text.encode("cp1252"), len(text)) == text


def test_damaged_utf8_loses_only_what_is_damaged() -> None:
    assert read_text(GERMAN.encode() * 10 + b" \xff x", 10_000) == GERMAN * 10 + " \ufffd x"


def test_normalises() -> None:
    assert normalise("a\r\nb\rc\u2028d\x0ce\0f\x1b[0m\ud800\ufeff") == "a\nb\nc\nd\nef[0m\ufffd"
    assert normalise("a\tb\ne\u0301") == "a\tb\ne\u0301"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_what_was_normalised_is_normal_and_encodable(text: str) -> None:
    normal = normalise(text)
    assert is_normalised(normal)
    assert normalise(normal) == normal
    assert normal.encode().decode() == normal


def test_a_title_is_one_line() -> None:
    assert one_line(" a \n\t b ") == "a b"
    assert len(one_line("x" * 10_000)) == 300


def test_too_long_a_text_is_refused_when_it_gets_too_long() -> None:
    with pytest.raises(ParseError) as caught:
        read_text(b"x" * 11, 10)
    assert caught.value.reason is ParseErrorCode.TOO_MUCH_TEXT
    builder = TextBuilder(10)
    builder.add_block("12345")
    with pytest.raises(ParseError):
        builder.add_block("6789")


def test_headings_are_bounded() -> None:
    builder = TextBuilder(10_000_000)
    for _ in range(MAX_HEADINGS):
        builder.add_heading(1, "x")
    with pytest.raises(ParseError) as caught:
        builder.add_heading(1, "x")
    assert caught.value.reason is ParseErrorCode.TOO_COMPLEX


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["block", "heading", "page"]), st.text(max_size=40)), max_size=30
    )
)
def test_offsets_are_exact(steps: list[tuple[str, str]]) -> None:
    builder = TextBuilder(100_000)
    for kind, text in steps:
        if kind == "block":
            builder.add_block(text)
        elif kind == "heading":
            builder.add_heading(2, text)
        else:
            builder.end_page()
    document = builder.build("text/plain", None)
    for heading in document.headings:
        assert document.text.startswith(heading.title, heading.start)
    end = 0
    for number, page in enumerate(document.pages, start=1):
        assert page.number == number
        assert end <= page.start <= page.end <= len(document.text)
        assert not document.text[end : page.start].strip()
        end = page.end
