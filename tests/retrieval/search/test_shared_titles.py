"""Whoever is shown a section finds out no word of the titles above it: replies are the same whatever these say."""

from dataclasses import replace

import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import SEARCH, share
from tests.shelf import Shelf
from undercroft.retrieval.search.ladder import Step
from undercroft.retrieval.search.models import Leg, SearchQuery, SearchResult
from undercroft.sharing.models import Parts, ResourceKind

WORDS = frozenset({Leg.LEXICAL})
BODY = "The repair of the town clock was paid by the council in spring."
TITLES = ("Divorce INV-2024/0031 settlement", "Sailing ABC-1999/7777 championship")
QUERIES = (
    '"divorce"',
    '"divorce" clock',
    '"divorce INV-2024"',
    '"settlement clock"',
    '"town clock"',
    "clock -divorce",
    'clock -"divorce inv"',
    "clock -divor*",
    "clock -clock",
    "divor*",
    "divor* clock",
    "divorce",
    "divorce clock",
    "divorce town clock council",
    "divorse",
    "INV-2024/0031",
    "INV-2024/0031 clock",
    "counsil",
)
"""What reads out the first of the titles, and some that find what is shown."""


async def write(shelf: Shelf, owner: Member, title: str, reader: Member) -> None:
    """A document with two levels of titles above a section that somebody is shown, and no others."""
    text = f"# {title}\n\n## {title} again\n\n### Costs\n\n{BODY}\n"
    _, documents = await shelf.fill(owner, {"clock.md": text})
    terms = replace(SEARCH, parts=Parts(sections=("Costs",)))
    await share(shelf, owner, ResourceKind.DOCUMENT, documents["clock.md"], reader, terms)


async def ask(shelf: Shelf, scope: Member, text: str, legs: frozenset[Leg]) -> SearchResult:
    query = SearchQuery((), text, 5, legs, is_everywhere=True, is_typed=True, is_highlighted=True)
    return await shelf.search.search(scope, query)


def told(result: SearchResult) -> object:
    """All of a reply but ids, offsets that the length of titles moves, and how near its embedding is."""
    passages = [
        (each.filename, each.text, each.headings, each.score, len(each.highlights))
        for each in result.passages
    ]
    return passages, result.diagnostics, result.degraded, result.facets


@pytest.mark.parametrize("listed", [2_000, 0], ids=["listed", "asked for one by one"])
async def test_no_word_of_a_title_above_a_shared_section_is_told(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    monkeypatch.setattr("undercroft.retrieval.search.repository._LISTED_CONTENTS", listed)
    replies: list[dict[tuple[str, frozenset[Leg]], object]] = []
    for title in TITLES:
        ann = await make_scope()
        bob = await make_scope(ann.tenant_id)
        await write(shelf, ann, title, bob)
        replies.append(
            {
                (text, legs): told(await ask(shelf, bob, text, legs))
                for text in QUERIES
                for legs in ((WORDS, frozenset(Leg)) if " -" in text else (WORDS,))
            }
        )
    first, second = replies
    assert {key: (first[key], second[key]) for key in first if first[key] != second[key]} == {}


async def test_a_section_is_found_by_its_own_words_and_by_titles_by_its_owner(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    await write(shelf, ann, TITLES[0], bob)
    for text in ('"town clock"', "costs", "clock -divorce", "counc*", "INV-2024/0031 clock"):
        result = await ask(shelf, bob, text, WORDS)
        assert [BODY in each.text for each in result.passages] == [True]
    assert (await ask(shelf, bob, '"town clock"', WORDS)).diagnostics.steps[0] is Step.PHRASES
    for text in ("divorce", '"divorce"', "divor*"):
        assert len((await ask(shelf, ann, text, WORDS)).passages) == 1
        assert not (await ask(shelf, bob, text, WORDS)).passages
    assert not (await ask(shelf, ann, "clock -divorce", WORDS)).passages
    told = (await ask(shelf, ann, "divorse", WORDS)).diagnostics
    assert told.corrections["divorse"] in ("divorce", "Divorce")
