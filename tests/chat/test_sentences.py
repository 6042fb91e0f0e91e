"""Sentences: exact offsets, messy layouts, bounded length and time, stable while text arrives."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft.chat.sentences import (
    MAX_SENTENCE,
    sentence_end,
    sentence_spans,
    settled_sentence_end,
)

MESSY = st.text(alphabet="aB1 .!?,:|\n-[]()£é契。\t\"'", max_size=400)


def sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "The rent is 1,250.00 a month. It is due.",
            ["The rent is 1,250.00 a month.", "It is due."],
        ),
        ("See Fig. 3 and No. 5, e.g. Dr. J. Smith.", ["See Fig. 3 and No. 5, e.g. Dr. J. Smith."]),
        ("He said no. The end.", ["He said no.", "The end."]),
        ("Is it? Yes! “Done.” Next", ["Is it?", "Yes!", "“Done.”", "Next"]),
        ("1. The tenant pays. 2. He goes.", ["1. The tenant pays.", "2. He goes."]),
        ("Visit example.com for v2.8.1 now.", ["Visit example.com for v2.8.1 now."]),
        ("ends. [1] [2] Next", ["ends. [1] [2]", "Next"]),
        ("これは文です。次の文。", ["これは文です。", "次の文。"]),
        ("Am 22. September kam er. Heute.", ["Am 22. September kam er.", "Heute."]),
        ("Crown, two visits ........ 585.00", ["Crown, two visits ........ 585.00"]),
        ("In Brown v. Board of Education.", ["In Brown v. Board of Education."]),
    ],
)
def test_prose_is_cut_at_sentence_ends_only(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_wrapped_line_is_joined_and_a_short_one_is_not() -> None:
    wrapped = "The monthly rent is due on the first day of each and every month by\norder. Late."
    assert sentences(wrapped) == [wrapped[: wrapped.index(" Late")], "Late."]
    assert sentences("Sincerely\nMaria Lopez\nHead of Claims") == [
        "Sincerely",
        "Maria Lopez",
        "Head of Claims",
    ]


def test_rows_items_headings_and_keys_stand_alone() -> None:
    text = (
        "## Costs\nItem | Price\nFan, approx. | £148.00\n\n- first item wraps\n  over two lines\n* second. More.\n"
        "Policy number: HB-2041\nInsured: Maria Lopez"
    )
    assert sentences(text) == [
        "Costs",
        "Item | Price",
        "Fan, approx. | £148.00",
        "first item wraps\n  over two lines",
        "second.",
        "More.",
        "Policy number: HB-2041",
        "Insured: Maria Lopez",
    ]


@given(MESSY)
def test_spans_are_ordered_disjoint_and_lose_no_word(text: str) -> None:
    spans = sentence_spans(text)
    position = 0
    kept = ""
    for span in spans:
        assert position <= span.start < span.end <= len(text)
        assert span.end - span.start <= MAX_SENTENCE
        sentence = text[span.start : span.end]
        assert sentence == sentence.strip()
        kept += sentence
        position = span.end
    assert [c for c in kept if c.isalnum()] == [c for c in text if c.isalnum()]


@given(MESSY, MESSY)
def test_a_settled_end_is_never_changed_by_what_follows(text: str, more: str) -> None:
    settled = settled_sentence_end(text, 0, len(text))
    if settled is not None:
        whole = text + more
        assert settled_sentence_end(whole, 0, len(whole)) == settled
        assert sentence_end(whole, 0, len(whole)) == settled


@pytest.mark.parametrize(
    "hostile", ["x", " ", ".", "[1] ", "a.\n", "a | ", "\n", "1.", ". ", "-", "( ", "# "]
)
def test_hostile_text_takes_bounded_time(hostile: str) -> None:
    text = hostile * (200_000 // len(hostile))
    begun = time.process_time()
    assert all(span.end - span.start <= MAX_SENTENCE for span in sentence_spans(text))
    assert time.process_time() - begun < 20
