"""Each step of the ladder: what answers, what the reply tells of it, and what it never tells."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import SEARCH, share
from tests.shelf import Shelf
from undercroft.retrieval.search.ladder import NO_DIAGNOSTICS, Step, reach
from undercroft.retrieval.search.models import Leg, SearchQuery, SearchResult
from undercroft.retrieval.search.spelling import (
    SpellingCorrector,
    count_other_letters,
    distance,
)
from undercroft.sharing.models import Parts, ResourceKind

WORDS = frozenset({Leg.LEXICAL})
PAPERS = {
    "solar.txt": "The solar panel on the roof of the mill was paid for. The annual report lists it.",
    "clock.txt": "The clockmaker received the tower clock of the village in spring.",
    "grain.txt": "Barges carry grain down the canal to the harbour.",
}


async def ask(
    shelf: Shelf,
    scope: Member,
    collection: UUID,
    text: str,
    legs: frozenset[Leg] = frozenset(Leg),
    limit: int = 3,
) -> SearchResult:
    query = SearchQuery((collection,), text, limit, legs, is_typed=True)
    return await shelf.search.search(scope, query)


STEPS = [
    ("*", frozenset(Leg), ["no_words", "meaning_alone"], None),
    ("*", WORDS, ["no_words", "nothing"], ""),
    ("solar panel roof", WORDS, ["all_words"], "solar.txt"),
    ("solar panel roof zeppelin", WORDS, ["all_words", "most_words"], "solar.txt"),
    ("solar zeppelin", WORDS, ["all_words", "most_words", "any_word"], "solar.txt"),
    ('"solar panel"', WORDS, ["phrases", "all_words"], "solar.txt"),
    ('"panel solar"', WORDS, ["phrases", "phrases_as_words", "all_words"], "solar.txt"),
    (
        "clokmaker",
        WORDS,
        ["all_words", "most_words", "any_word", "meaning_alone", "corrected_words"],
        "clock.txt",
    ),
    ("anual zeppelin", WORDS, None, "solar.txt"),
    ("recieve", WORDS, None, "clock.txt"),
    (
        "zeppelin",
        frozenset(Leg),
        ["all_words", "most_words", "any_word", "meaning_alone"],
        None,
    ),
    (
        "zeppelin",
        WORDS,
        ["all_words", "most_words", "any_word", "meaning_alone", "nothing"],
        "",
    ),
    ("the of and", frozenset(Leg), ["all_words", "most_words", "any_word", "meaning_alone"], None),
]


async def test_the_reply_names_the_steps_that_were_taken(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, PAPERS)
    for text, legs, steps, first in STEPS:
        result = await ask(shelf, ann, collection, text, legs)
        names = [passage.filename for passage in result.passages]
        assert first is None or [*names, ""][0] == first, text
        assert steps is None or list(result.diagnostics.steps) == steps, text
    result = await ask(shelf, ann, collection, "anual recieve", WORDS)
    assert result.diagnostics.corrections == {"anual": "annual", "recieve": "received"}
    assert {passage.filename for passage in result.passages} == {"solar.txt", "clock.txt"}
    result = await ask(shelf, ann, collection, "anual -clock")
    assert result.diagnostics.corrections == {"anual": "annual"}
    assert "clock.txt" not in {passage.filename for passage in result.passages}


async def test_no_word_is_told_or_used_that_stands_only_in_what_the_caller_may_not_search(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    mine, _ = await shelf.fill(ann, PAPERS)
    before = await ask(shelf, ann, mine, "zepelin")
    await shelf.fill(bob, {"secret.txt": "A zeppelin and a zeppelin hangar; the anuall feast."})
    after = await ask(shelf, ann, mine, "zepelin")
    assert (before.diagnostics, after.diagnostics.corrections) == (after.diagnostics, {})
    # One that is spelt so by somebody else is one that does not occur all the same.
    result = await ask(shelf, ann, mine, "anuall", WORDS)
    assert result.diagnostics.corrections == {"anuall": "annual"}
    theirs = await ask(shelf, bob, (await shelf.fill(bob, {}))[0], "zepelin")
    assert theirs.diagnostics.corrections == {}
    everywhere = SearchQuery((), "zepelin", 3, WORDS, is_everywhere=True, is_typed=True)
    found = await shelf.search.search(bob, everywhere)
    assert found.diagnostics.corrections == {"zepelin": "zeppelin"}


async def test_no_word_is_told_from_the_parts_that_are_not_shared(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    pets, debts = "Dogs are welcome. " * 200, "The mortgage is unpaid. " * 200
    _, documents = await shelf.fill(
        ann, {"home.md": f"# Home\n\n## Pets\n\n{pets}\n\n## Debts\n\n{debts}\n"}
    )
    grant = replace(SEARCH, parts=Parts(sections=("Pets",)))
    await share(shelf, ann, ResourceKind.DOCUMENT, documents["home.md"], bob, grant)
    query = SearchQuery((), "mortage", 3, WORDS, is_everywhere=True, is_typed=True)
    told = (await shelf.search.search(bob, replace(query, text="dosg welcome"))).diagnostics
    assert told.corrections == {"dosg": "Dogs"}
    assert (await shelf.search.search(bob, query)).diagnostics.corrections == {}
    told = (await shelf.search.search(ann, query)).diagnostics
    assert told.corrections == {"mortage": "mortgage"}


async def test_a_search_that_is_answered_at_once_asks_the_vocabulary_nothing(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, PAPERS)
    monkeypatch.delattr(SpellingCorrector, "correct")
    for text in ("solar panel", "solar panel roof zeppelin"):
        assert (await ask(shelf, ann, collection, text)).passages
    with pytest.raises(AttributeError):
        await ask(shelf, ann, collection, "zeppelin")


async def test_words_are_looked_for_one_by_one_only_where_parts_are_shared(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement tells which words are known, and of the others which terms are like them."""
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, PAPERS)
    monkeypatch.delattr(SpellingCorrector, "_find")
    query = "anual recieve canal zeppelin dirigible"
    result = await ask(shelf, ann, collection, query, WORDS)
    assert result.diagnostics.corrections == {"anual": "annual", "recieve": "received"}


async def test_a_word_of_a_part_that_is_shared_is_not_corrected(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    pets, debts = "Dogs sleep by the harbour. " * 200, "The harbinger is unpaid. " * 200
    _, documents = await shelf.fill(
        ann, {"home.md": f"# Home\n\n## Pets\n\n{pets}\n\n## Debts\n\n{debts}\n"}
    )
    terms = replace(SEARCH, parts=Parts(sections=("Pets",)))
    await share(shelf, ann, ResourceKind.DOCUMENT, documents["home.md"], bob, terms)
    await shelf.fill(
        bob, {"tower.txt": "The clockmaker's tower clock. The harbor, the harbingers."}
    )
    asked = "clockmaker tower clock zeppelin dirigible"
    query = SearchQuery((), f"{asked} harbour", 1, WORDS, is_everywhere=True, is_typed=True)
    result = await shelf.search.search(bob, query)
    assert [passage.filename for passage in result.passages] == ["tower.txt"]
    assert Step.CORRECTED_WORDS not in result.diagnostics.steps
    # In the part that is not shared is a word that they have not, though it is there.
    unshared = replace(query, text=f"{asked} unpaid")
    await shelf.fill(bob, {"paid.txt": "The clockmaker's tower clock is unpayd."})
    result = await shelf.search.search(bob, unshared)
    assert result.diagnostics.corrections == {"unpaid": "unpayd"}


async def test_a_question_in_natural_language_is_not_explained(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, PAPERS)
    query = SearchQuery((collection,), 'what is "panel solar" -roof', 3)
    result = await shelf.search.search(ann, query)
    assert result.passages[0].filename == "solar.txt"
    assert result.diagnostics == NO_DIAGNOSTICS


@pytest.mark.parametrize(
    ("one", "other", "mistakes"),
    [
        ("", "", 0),
        ("clock", "clock", 0),
        ("clok", "clock", 1),
        ("reciev", "receiv", 1),
        ("anual", "annual", 1),
        ("grain", "barge", 4),
        ("abc", "", 3),
        ("", "abc", 3),
        ("ca", "abc", 3),
    ],
)
def test_mistakes_are_counted(one: str, other: str, mistakes: int) -> None:
    assert distance(one, other) == distance(other, one) == mistakes


@given(st.text("abc", max_size=7), st.text("abcd", max_size=7))
def test_words_have_no_fewer_mistakes_than_other_letters(one: str, other: str) -> None:
    assert count_other_letters(one, other) == count_other_letters(other, one)
    assert count_other_letters(one, other) <= distance(one, other)


def test_a_word_counts_where_it_means_something() -> None:
    few, all_of = frozenset({1}), frozenset({1, 2, 3, 4})
    assert reach([], []) is Step.NOTHING
    assert reach([frozenset()], [frozenset()]) is Step.MEANING_ALONE
    assert reach([all_of, few], [few, few]) is Step.ALL_WORDS
    assert reach([all_of], [all_of - few]) is Step.MOST_WORDS
    assert reach([all_of], [few]) is Step.ANY_WORD
