"""Grounding: what the documents answer is answered, what they do not is refused, and nothing makes it slow or fail."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chat.passages import LAB, LEASE, PASSAGES, passage
from undercroft.chat.grounding import MAX_QUOTES, REFUSAL, ground


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How much is the monthly rent?", "£1,250.00"),
        ("Who holds the deposit?", "Maria Lopez"),
        ("What was the ferritin value?", "Ferritin | 88"),
        ("Who proposed to repair the pump?", "Ann Porter"),
        ("When did the board meet?", "4 June 2024"),
    ],
)
def test_an_answered_question_is_answered_with_the_sentence(question: str, answer: str) -> None:
    grounding = ground(question, PASSAGES)
    assert grounding.answerable
    assert any(answer in quote.text for quote in grounding.quotes)
    assert 1 <= len(grounding.quotes) <= MAX_QUOTES


@pytest.mark.parametrize(
    "question",
    [
        "What is the wifi password?",
        "How many calories does a banana have?",
        "Who won the football championship in 1998?",
        "Which airline flies to Norway?",
        "",
        "???",
    ],
)
def test_an_unanswered_question_is_refused(question: str) -> None:
    far = [passage(it.number, it.text, similarity=0.1) for it in PASSAGES]
    grounding = ground(question, far)
    assert not grounding.answerable
    assert grounding.quotes == ()


def test_a_name_that_is_nowhere_lowers_confidence() -> None:
    known = ground("Who holds the deposit of Maria Lopez?", PASSAGES)
    unknown = ground("Who holds the deposit of Gunnar Berg?", PASSAGES)
    assert unknown.confidence < known.confidence


def test_closeness_in_meaning_raises_confidence_and_may_be_unknown() -> None:
    def confidence(similarity: float | None) -> float:
        return ground(
            "What do I pay each month?", [passage(1, LEASE.text, similarity=similarity)]
        ).confidence

    assert confidence(0.1) < confidence(None) < confidence(0.8)


def test_without_passages_there_is_nothing_to_find() -> None:
    assert not ground("How much is the rent?", ()).answerable
    assert not ground("How much is the rent?", [passage(1, " \n ")]).answerable


def test_a_question_about_the_document_as_a_whole_is_answered() -> None:
    assert ground("Summarise this document", PASSAGES).answerable


def test_overlapping_passages_are_quoted_once() -> None:
    twin = passage(4, LEASE.text, similarity=0.6)
    texts = [quote.text for quote in ground("How much is the monthly rent?", [LEASE, twin]).quotes]
    assert len(texts) == len(set(texts))


def test_titles_and_page_headers_do_not_win_over_the_answer() -> None:
    page = "Lease of 5 Quay Street Page {} of 2\n\n3. Deposit\n\n{}\n\n"
    passages = [
        passage(1, page.format(1, "The keys are handed over at noon.")),
        passage(2, page.format(2, "The deposit is £1,430."), start=900),
    ]
    lease = [
        replace(it, document_id=LEASE.document_id, filename="lease-5-quay-street.pdf")
        for it in passages
    ]
    quotes = ground("How much is the deposit for 5 Quay Street?", lease).quotes
    assert quotes[0].text == "The deposit is £1,430."
    assert all("Page" not in quote.text for quote in quotes)


def test_dates_meet_in_whatever_form_they_are_written() -> None:
    table = passage(
        1, "Month | Sum\n2024-01-31 | 178.36\n2024-02-29 | 158.92", filename="energy.csv"
    )
    assert "178.36" in ground("What was the sum in January 2024?", [table]).quotes[0].text


def test_the_refusal_names_nothing() -> None:
    assert REFUSAL == "I could not find this in your documents."


@given(st.text(max_size=200), st.lists(st.text(max_size=200), max_size=4))
def test_any_text_in_any_script_gives_a_decision(question: str, texts: list[str]) -> None:
    passages = [passage(number, text) for number, text in enumerate(texts, 1)]
    grounding = ground(question, passages)
    assert 0 <= grounding.confidence <= 1
    assert bool(grounding.quotes) == grounding.answerable
    for quote in grounding.quotes:
        assert quote.text in quote.passage.text


def test_other_languages_are_answered_by_their_own_words() -> None:
    letter = passage(1, "La valeur du point est de 1,37 euro. Cordialement.", similarity=0.6)
    grounding = ground("Quelle est la valeur du point ?", [letter])
    assert grounding.quotes[0].text == "La valeur du point est de 1,37 euro."


@pytest.mark.parametrize("hostile", ["rent ", "a.\n", "1 | ", "....", "契約", "[1] ", "a: b\n"])
def test_hostile_passages_take_bounded_time(hostile: str) -> None:
    text = hostile * (200_000 // len(hostile))
    passages = [passage(number, text, similarity=0.5) for number in range(1, 200)]
    begun = time.process_time()
    ground("rent " * 20_000, passages)
    assert time.process_time() - begun < 40


def test_the_decision_is_the_same_every_time() -> None:
    assert ground("glucose?", (LAB, LEASE)) == ground("glucose?", (LAB, LEASE))
