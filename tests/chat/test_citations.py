"""Citations: every one that is sent holds, whatever the model wrote and however its text arrived."""

import re
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.chat.passages import LAB, LEASE, MEETING, PASSAGES, passage
from undercroft.chat.citations import Citation, CitationAnnotator, Support, holds
from undercroft.chat.grounding import REFUSAL
from undercroft.chat.providers.protocol import Passage

FRAGMENTS = st.sampled_from(
    [
        "The monthly rent is £1,250.00",
        "Glucose is 5.4 mmol/L",
        "the tenant shall not sublet the property",
        "Ann Porter proposed to repair the pump",
        " [1]",
        "[2]",
        "[3",
        "]",
        "[",
        "9",
        ". ",
        ".",
        "\n",
        "\n- ",
        " ",
        "? ",
        "! ",
        "”",
        " e.g. ",
        "rent",
        "£2,500.00",
    ]
)
ANSWERS = st.one_of(
    st.lists(FRAGMENTS, max_size=30).map("".join),
    st.text(alphabet="aB1 .!?[]\n£é契。\t", max_size=300),
)


def annotate(
    answer: str,
    *,
    question: str = "",
    cuts: tuple[int, ...] = (),
    passages: tuple[Passage, ...] = PASSAGES,
) -> tuple[str, list[Citation], Support]:
    annotator = CitationAnnotator(question, passages)
    edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    text, citations = "", list[Citation]()
    for start, end in pairwise(edges):
        piece = annotator.feed(answer[start:end])
        text += piece.text
        citations += piece.citations
        assert all(citation.answer_end <= len(text) for citation in citations)
    last = annotator.finish()
    return text + last.text, [*citations, *last.citations], annotator.support


def quotes(answer: str, question: str = "") -> list[tuple[int, str]]:
    return [(found.number, found.quote) for found in annotate(answer, question=question)[1]]


def test_a_verbatim_sentence_is_cited_exactly() -> None:
    text, (citation,), support = annotate(
        "The tenant shall not sublet the property without consent."
    )
    assert text == "The tenant shall not sublet the property without consent. [1]"
    assert citation.quote == "The tenant shall not sublet the property without consent."
    assert LEASE.text[citation.quote_start : citation.quote_end] == citation.quote
    assert citation.document_start == 4_000 + citation.quote_start
    assert text[citation.answer_start : citation.answer_end] == citation.quote
    assert support == Support(claims=1, supported=1)


def test_a_quote_over_a_line_break_keeps_the_passages_own_characters() -> None:
    assert quotes("It is due on the 1st of each month by standing order.") == [
        (1, "The monthly rent is £1,250.00 and is due on the 1st of each month by standing\norder.")
    ]
    assert quotes("due on the 1st of each month by standing order") == [
        (1, "due on the 1st of each month by standing\norder.")
    ]


def test_a_paraphrase_is_cited_by_its_numbers_and_names() -> None:
    assert quotes("Rent: 1,250 each month.", "How much is the rent?")[0][0] == LEASE.number
    assert (
        quotes("Maria Lopez holds the deposit of £2,500.")[0][1]
        == "Deposit: £2,500.00, held by Maria Lopez."
    )
    assert quotes("Dunmore asked £1,385.")[0][0] == MEETING.number


def test_a_bare_number_is_cited_where_the_question_points() -> None:
    twice = (passage(1, "The fee is 88 pounds."), passage(2, "Ferritin was 88."))
    _, (citation,), _ = annotate("88", question="What was the ferritin?", passages=twice)
    assert citation.number == 2
    assert annotate("88", question="What is the ozone limit?", passages=twice)[1] == []


@pytest.mark.parametrize(
    "claim",
    [
        "The monthly rent is £1,350.00.",
        "The rent is £1,250.00 and was agreed with Bob Smith.",
        "The tenant shall sublet the property without consent.",
        "Sublet the property without consent.",
        "The rent is not £1,250.00 a month.",
        "Ann Porter holds the deposit of £2,500.00.",
        "Bananas are rich in potassium.",
    ],
)
@pytest.mark.parametrize("marker", ["", " [1]", " [2]", " [99]"])
def test_what_is_wrong_or_mixed_from_two_passages_is_never_cited(claim: str, marker: str) -> None:
    text, citations, support = annotate(claim.removesuffix(".") + marker + ".")
    assert citations == []
    assert text == claim
    assert support == Support(claims=1, supported=0)
    assert not support.complete


def test_a_marker_is_a_hint_and_never_trusted() -> None:
    text, (citation,), _ = annotate("The tenant shall not sublet the property [2].")
    assert text == "The tenant shall not sublet the property [1]."
    assert citation.number == 1


def test_a_hint_decides_between_equals() -> None:
    same = (LEASE, replace(LEASE, number=2))
    sentence = "The tenant shall not sublet the property without consent."
    assert annotate(f"{sentence} [2]", passages=same)[1][0].number == 2
    assert annotate(f"{sentence} [1]", passages=same)[1][0].number == 1


def test_all_markers_of_a_run_are_hints_however_they_arrive() -> None:
    same = (LEASE, replace(LEASE, number=2))
    answer = "The tenant shall not sublet the property [9] [2], he said."
    cuts = tuple(range(len(answer)))
    assert annotate(answer, passages=same)[1][0].number == 2
    assert annotate(answer, passages=same, cuts=cuts) == annotate(answer, passages=same)


def test_each_part_before_a_marker_is_a_claim_of_its_own() -> None:
    text, citations, _ = annotate("Glucose was 5.4 mmol/L [1][3], and Dunmore offered £1,385 [2].")
    assert text == "Glucose was 5.4 mmol/L [2], and Dunmore offered £1,385 [3]."
    assert [citation.number for citation in citations] == [2, 3]


@pytest.mark.parametrize(
    "text",
    [
        REFUSAL,
        "Here is what I found:",
        "Shall I go on?",
        "The passages do not contain this.",
        "",
        "...",
        "\n\n",
    ],
)
def test_what_claims_nothing_is_not_counted(text: str) -> None:
    assert annotate(text) == (text, [], Support(0, 0))


def test_without_passages_the_text_passes_unchanged() -> None:
    assert annotate("x = a[0] [1]", passages=()) == ("x = a[0] [1]", [], Support(0, 0))


def test_a_finished_sentence_is_cited_before_the_answer_ends() -> None:
    annotator = CitationAnnotator("", PASSAGES)
    assert annotator.feed("Glucose was 5.4 mmol/L.").citations == ()
    piece = annotator.feed(" And")
    assert [citation.number for citation in piece.citations] == [LAB.number]
    assert piece.text == " [2] And"


@settings(deadline=None)
@given(ANSWERS, st.lists(st.integers(1, 300), max_size=40).map(tuple))
@example("[[1]2] rent", ())
@example("The rent.[1", (10,))
@example("x" * 599 + "[1] [2] [3]", (600, 601, 602))
@example("The monthly rent is £1,250.00" * 20 + "Glucose is 5.4 mmol/L", ())
@example("The monthly rent is £1,250.00" * 20 + "Glucose is 5.4 mmol/L", (598,))
def test_the_result_does_not_depend_on_the_deltas(answer: str, cuts: tuple[int, ...]) -> None:
    whole = annotate(answer)
    assert annotate(answer, cuts=cuts) == whole
    assert annotate(answer, cuts=tuple(range(len(answer)))) == whole


@given(ANSWERS)
@example("[[1]2] rent")
def test_every_marker_is_a_citation_and_every_citation_holds(answer: str) -> None:
    text, citations, support = annotate(answer)
    by_number = {it.number: it for it in PASSAGES}
    assert all(holds(citation, by_number[citation.number]) for citation in citations)
    assert [int(n) for n in re.findall(r"\[(\d{1,3})\]", text)] == [it.number for it in citations]
    assert support.supported == len(citations) <= support.claims
    for citation in citations:
        assert text[citation.answer_end :].startswith(f" [{citation.number}]")
        assert 0 <= citation.answer_start < citation.answer_end


@given(ANSWERS)
def test_nothing_but_markers_and_the_space_before_them_is_changed(answer: str) -> None:
    text, _, _ = annotate(answer)
    assert [c for c in text if c not in "[] \t" and not c.isdigit()] == [
        c for c in answer if c not in "[] \t" and not c.isdigit()
    ]


@pytest.mark.parametrize(
    "field", ["quote", "quote_start", "quote_end", "document_start", "document_end"]
)
def test_a_citation_that_was_tampered_with_does_not_hold(field: str) -> None:
    citation = annotate("Glucose is 5.4 mmol/L.")[1][0]
    assert holds(citation, LAB)
    changed = "x" if field == "quote" else getattr(citation, field) + 1
    assert not holds(replace(citation, **{field: changed}), LAB)
    assert not holds(citation, LEASE)


@pytest.mark.parametrize(
    "hostile", ["x", " ", ". ", "[1]", "[", "rent ", "\n", "a.\n", "[1] ", "1 "]
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_hostile_answer_takes_bounded_time(hostile: str, step: int) -> None:
    size = 100_000 if step > 1 else 20_000
    answer = hostile * (size // len(hostile))
    begun = time.process_time()
    annotate(answer, cuts=tuple(range(0, len(answer), step)))
    assert time.process_time() - begun < 90
