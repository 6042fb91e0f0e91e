"""Each step of the ladder: what answers, what the reply tells of it, and what it never tells."""

from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from undercroft.retrieval.search.models import Leg, SearchQuery, SearchResult

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
