"""What is syntax in a query, and what is words."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft.retrieval.search.syntax import (
    NO_DEMANDS,
    Demands,
    find_identifiers,
    parse_said,
    parse_typed,
)


@pytest.mark.parametrize(
    ("text", "words", "phrases"),
    [
        ('price of "solar panel" roofs', "price of solar panel roofs", ("solar panel",)),
        ('"fishbowl" helmet', "fishbowl helmet", ("fishbowl",)),
        ("„große Koalition“ 1966", "große Koalition 1966", ("große Koalition",)),
        ("« prix fixe » menu", "prix fixe menu", ("prix fixe",)),
        ("»erste Wahl« Ware", "erste Wahl Ware", ("erste Wahl",)),
        ("”på svenska” ja", "på svenska ja", ("på svenska",)),
        ("価格「太陽光 発電」の表", "価格 太陽光 発電 の表", ("太陽光 発電",)),
        ('"a  b"c "a b"', "a b c a b", ("a b",)),
    ],
)
def test_what_stands_in_quotation_marks_is_a_phrase(
    text: str, words: str, phrases: tuple[str, ...]
) -> None:
    parsed = parse_typed(text)
    assert (parsed.text, parsed.demands) == (words, Demands(phrases=phrases))


@pytest.mark.parametrize(
    "text",
    ['a 5" disk and a 3" one', '"never closed', 'closed"', '""', '"?!"', "it's 'so'", "“", "x »"],
)
def test_marks_that_quote_no_words_are_not_syntax(text: str) -> None:
    assert parse_typed(text).demands == NO_DEMANDS


@pytest.mark.parametrize(
    ("text", "words", "excluded"),
    [
        ("report -draft", "report", ("draft",)),
        ("-draft report", "report", ("draft",)),
        ('report -"first draft" -état', "report", ("first draft", "état")),
        ("report -micro*", "report", ("micro*",)),
        ("report -state-of-the-art", "report", ("state-of-the-art",)),
    ],
)
def test_a_minus_before_a_word_excludes_it(
    text: str, words: str, excluded: tuple[str, ...]
) -> None:
    parsed = parse_typed(text)
    assert (parsed.text, parsed.demands) == (words, Demands(excluded=excluded))


@pytest.mark.parametrize(
    "text",
    [
        "state-of-the-art",
        "it fell to -5 degrees",
        "pre-2020 rules",
        "read --verbose output",
        "tea - or coffee",
        "tea -- or coffee",
        "tea \u2013 or coffee",
        "the yes-no question",
        "-draft",
        '-"first draft"',
        "- - -",
        "-" * 10_000,
        "?- x",
    ],
)
def test_other_hyphens_exclude_nothing(text: str) -> None:
    parsed = parse_typed(text)
    assert parsed.demands.excluded == ()
    assert parsed.text == (text if '"' not in text else "first draft")


def test_what_alone_would_be_excluded_is_looked_for() -> None:
    assert parse_typed("-draft").text == "-draft"
    assert parse_typed('-"first draft"').text == "first draft"


@pytest.mark.parametrize(
    ("text", "prefixes"),
    [
        ("micro* parts", ("micro",)),
        ("inv-20*", ("inv-20",)),
        ("(electri*)", ("electri",)),
        ("2 * 3", ()),
        ("**bold** text", ()),
        ("a* search", ()),
        ("*", ()),
        ("東京* 都", ()),
    ],
)
def test_a_star_behind_a_word_makes_it_a_prefix(text: str, prefixes: tuple[str, ...]) -> None:
    assert parse_typed(text).demands.prefixes == prefixes


@pytest.mark.parametrize(
    "identifier",
    [
        "INV-2024/0031",
        "ann.lee@example.org",
        "foo_bar.baz",
        "get_user_by_id",
        "std::vector",
        "os.path.join",
        "ISO-9001:2015",
        "4711-08/15",
        "CVE-2024-12345",
        "SKU#4411",
        "AB-12-C",
        "X.25",
        "K-12",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_identifiers_are_kept_whole(identifier: str) -> None:
    for text in (identifier, f"what of ({identifier}), then?", f"What is {identifier}?"):
        assert find_identifiers(text) == (identifier,)
        assert parse_said(text).text == text
        assert parse_typed(text).demands == Demands(identifiers=(identifier,))
    assert find_identifiers(f"call {identifier}()") == (identifier,)


@pytest.mark.parametrize(
    "text",
    [
        "3.14",
        "10:30",
        "1990-91",
        "1,000,000",
        "e.g. this",
        "U.S. law",
        "and/or",
        "well-known",
        "_",
        "24-yard",
        "3rd-and-9",
        "pre-2020",
        "mid-1990s",
    ],
)
def test_ordinary_words_and_numbers_are_no_identifiers(text: str) -> None:
    assert find_identifiers(text) == ()


def test_a_question_in_natural_language_has_no_syntax() -> None:
    text = 'What does "tar -xzf file*" do, and -f?'
    assert parse_said(text).text == text
    assert parse_said(text).demands == NO_DEMANDS


def test_pieces_beyond_the_bounds_are_words() -> None:
    parsed = parse_typed(" ".join(f'"p {n}" -x{n}' for n in range(40)) + ' "' + "w " * 300 + '"')
    assert len(parsed.demands.phrases) == len(parsed.demands.excluded) == 16
    assert "p 39" in parsed.text
    assert "x39" in parsed.text
    assert len(find_identifiers(" ".join(f"A-{n}" for n in range(100, 300)))) == 16


@given(
    st.text(alphabet=st.characters(), max_size=300) | st.text('"-*„“”«»「」 ab1_@./', max_size=200)
)
def test_no_text_is_an_error(text: str) -> None:
    parsed = parse_typed(text)
    pieces = (*parsed.demands.phrases, *parsed.demands.prefixes, *parsed.demands.excluded)
    assert all(piece.strip() for piece in pieces)
    if any(character.isalnum() for character in text):
        assert any(character.isalnum() for character in parsed.text)


@pytest.mark.parametrize(
    "text",
    [
        "„" * 20_000,
        '"' * 20_000,
        "-" * 20_000,
        "-a " * 7_000,
        "_" * 20_000,
        "a-1" * 7_000,
        " „" * 10_000,
    ],
)
def test_hostile_text_is_read_in_no_time(text: str) -> None:
    started = time.process_time()
    parse_typed(text)
    assert time.process_time() - started < 0.5
