"""A word is corrected by what its asker may search: whatever others keep changes nothing of the reply."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import SEARCH, add_under, share
from tests.shelf import Shelf
from undercroft.retrieval.filters import Comparison
from undercroft.retrieval.search.models import Leg, SearchQuery, SearchResult
from undercroft.sharing.models import Parts, ResourceKind

PAPERS = {
    "clock.txt": "The clockmaker received the tower clock of the village in spring.",
    "grain.txt": "Barges carry grain down the canal to the harbour.",
}
TYPED = "recieve"
WORDS = frozenset({Leg.LEXICAL})
LIKER = [
    f"reciev{first}{last}" for last in ("", *"jklmnpqrtvwxz") for first in "bcdfghjklmnpqrtuvwxz"
][:100]
"""More than are proposed for a word, each more like the typed one than what is meant."""


def everywhere(_: UUID, __: UUID) -> SearchQuery:
    return SearchQuery((), TYPED, 3, is_everywhere=True, is_typed=True)


def in_collection(collection: UUID, _: UUID) -> SearchQuery:
    return SearchQuery((collection,), TYPED, 3, is_typed=True)


def in_document(_: UUID, document: UUID) -> SearchQuery:
    return SearchQuery((), TYPED, 3, document_ids=(document,), is_typed=True)


def filtered(collection: UUID, _: UUID) -> SearchQuery:
    return replace(in_collection(collection, _), filter=Comparison("eq", "year", 2020))


async def reply(shelf: Shelf, scope: Member, query: SearchQuery) -> SearchResult:
    """Everything of it but the ids of what went on record."""
    result = await shelf.search.search(scope, query)
    return replace(result, passages=[replace(each, entry_ids=()) for each in result.passages])


@pytest.mark.parametrize("ask", [everywhere, in_collection, in_document, filtered])
@pytest.mark.parametrize("listed", [2_000, 0], ids=["listed", "asked for one by one"])
async def test_words_of_what_others_keep_take_no_place_of_a_correction(
    shelf: Shelf,
    make_scope: MakeScope,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[UUID, UUID], SearchQuery],
    listed: int,
) -> None:
    monkeypatch.setattr("undercroft.retrieval.search.repository._LISTED_CONTENTS", listed)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, PAPERS)
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE collection_documents SET attributes = '{\"year\": 2020}'::jsonb"
        )
    query = ask(collection, documents["clock.txt"])
    before = await reply(shelf, ann, query)
    assert before.diagnostics.corrections == {TYPED: "received"}
    # A few take the places of what is tried, many of what is proposed.
    await shelf.fill(bob, {"few.txt": " ".join(LIKER[:3])})
    assert await reply(shelf, ann, query) == before
    theirs, _ = await shelf.fill(bob, {"many.txt": " ".join(LIKER)})
    assert await reply(shelf, ann, query) == before
    # They are there, and taken by whoever may search them.
    told = (await reply(shelf, bob, in_collection(theirs, theirs))).diagnostics.corrections
    assert told[TYPED] in LIKER


async def test_words_elsewhere_of_ones_own_take_no_place_where_a_search_looks(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, PAPERS)
    query = in_collection(collection, collection)
    before = await reply(shelf, ann, query)
    await shelf.fill(ann, {"many.txt": " ".join(LIKER)})
    assert await reply(shelf, ann, query) == before


async def test_a_language_of_others_changes_no_correction(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    """By a tenant's languages words have stems; each counts in passages of that language."""
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"haven.txt": "Barges carry grain down to the haven."})
    # A stop word, and not in German.
    query = replace(in_collection(collection, collection), text="having", legs=WORDS)
    before = await reply(shelf, ann, query)
    german = (
        "Der Uhrmacher hat die Turmuhr des Dorfes im Frühling erhalten und bewahrt sie auf. " * 3
    )
    await shelf.fill(bob, {"uhr.txt": german})
    async with shelf.database.transaction(bob) as transaction:
        languages = await transaction.fetch("SELECT DISTINCT dictionary::text FROM chunks")
    assert len(languages) == 2
    assert await reply(shelf, ann, query) == before


async def test_words_of_parts_that_are_not_shared_take_no_place_of_a_correction(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers = (await shelf.collections.create(bob, "papers", {})).id
    shown = "The clockmaker received the clock. " * 60
    replies: list[SearchResult] = []
    for hidden in ("Nothing is said here. " * 90, f"{' '.join(LIKER[:20])}. " * 9):
        _, documents = await shelf.fill(
            ann, {"home.md": f"# Home\n\n## Clock\n\n{shown}\n\n## Debts\n\n{hidden}\n"}
        )
        terms = replace(SEARCH, parts=Parts(sections=("Clock",)))
        lent = await share(shelf, ann, ResourceKind.DOCUMENT, documents["home.md"], bob, terms)
        await add_under(shelf, bob, papers, lent)
        query = SearchQuery((papers,), TYPED, 3, WORDS, is_typed=True)
        replies.append(await reply(shelf, bob, query))
        async with shelf.database.transaction(bob) as transaction:
            await transaction.execute("DELETE FROM collection_documents")
    assert [each.diagnostics.corrections for each in replies] == [{TYPED: "received"}] * 2
