"""Searches with a filter: by what a document has at that instant, where its searcher finds it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_instant import FINAL_STATEMENT
from tests.retrieval.search.test_shared import FIRST, SEARCH, SECOND, TEXTS, share
from tests.shelf import Shelf
from undercroft.kit.database import Database
from undercroft.kit.scope import Scope
from undercroft.retrieval.filters import Comparison, Filter, Value
from undercroft.retrieval.search.describing import Facet, Sort
from undercroft.retrieval.search.models import FoundPassage, Leg, SearchQuery, SearchResult
from undercroft.retrieval.search.service import SearchService
from undercroft.retrieval.vectors.protocol import Question
from undercroft.sharing.models import Parts, ResourceKind, Terms

ASKED = "the town clock, the watermill and the ferry"
RED = Comparison("eq", "shelf", "red")


async def label(
    shelf: Shelf, scope: Member, collection: UUID, document: UUID, attributes: Mapping[str, Value]
) -> None:
    await shelf.collections.update_member(scope, collection, document, dict(attributes))


async def find(
    shelf: Shelf, scope: Member, collections: Sequence[UUID], condition: Filter
) -> Sequence[FoundPassage]:
    query = SearchQuery(collections, ASKED, 10, is_everywhere=not collections, filter=condition)
    return (await shelf.search.search(scope, query)).passages


def names(passages: Sequence[FoundPassage]) -> set[str]:
    return {passage.filename for passage in passages}


@pytest.mark.parametrize("leg", list(Leg))
async def test_each_leg_proposes_what_passes(shelf: Shelf, make_scope: MakeScope, leg: Leg) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, TEXTS)
    await label(shelf, ann, collection, documents["boat.txt"], {"shelf": "red"})
    query = SearchQuery((collection,), ASKED, 1, frozenset({leg}), filter=RED)
    (passage,) = (await shelf.search.search(ann, query)).passages
    assert (passage.filename, passage.attributes) == ("boat.txt", {"shelf": "red"})


async def test_what_passes_no_more_when_it_is_read_is_not_in_the_answer(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, TEXTS)
    for name in ("clock.txt", "mill.txt"):
        await label(shelf, ann, collection, documents[name], {"shelf": "red"})
    gate = shelf.stepped.step(stop_before=FINAL_STATEMENT)
    searching = asyncio.create_task(find(shelf, ann, [collection], RED))
    await gate.wait_until_reached()
    await label(shelf, ann, collection, documents["clock.txt"], {"shelf": "blue"})
    gate.open()
    assert names(await searching) == {"mill.txt"}


async def test_a_filter_tells_nothing_of_attributes_in_another_ones_collection(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    private, documents = await shelf.fill(ann, TEXTS)
    clock = documents["clock.txt"]
    await label(shelf, ann, private, clock, {"shelf": "red"})
    await share(shelf, ann, ResourceKind.DOCUMENT, clock, bob)
    not_red = Comparison("ne", "shelf", "red")
    assert names(await find(shelf, bob, [], RED)) == set()
    assert names(await find(shelf, bob, [], not_red)) == {"clock.txt"}
    # Nor does one of her own that is not searched.
    other = await shelf.collections.create(ann, "others", {}, [clock])
    assert names(await find(shelf, ann, [other.id], RED)) == set()
    assert names(await find(shelf, ann, [private, other.id], RED)) == {"clock.txt"}
    beside = SearchQuery([other.id], ASKED, 10, document_ids=[documents["mill.txt"]], filter=RED)
    assert not (await shelf.search.search(ann, beside)).passages


async def test_the_attributes_shown_are_those_that_passed(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first, documents = await shelf.fill(ann, {"clock.txt": TEXTS["clock.txt"]})
    second = (await shelf.collections.create(ann, "others", {}, list(documents.values()))).id
    for collection, shelf_name in ((first, "blue"), (second, "red")):
        await label(shelf, ann, collection, documents["clock.txt"], {"shelf": shelf_name})
    (passage,) = await find(shelf, ann, [first, second], RED)
    assert passage.attributes == {"shelf": "red"}


async def test_what_every_document_has_is_compared_as_it_is_shown(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, TEXTS)
    for key, value in {
        "undercroft.document": str(documents["clock.txt"]),
        "undercroft.byte_size": float(len(TEXTS["clock.txt"])),
    }.items():
        assert names(await find(shelf, ann, [], Comparison("eq", key, value))) == {"clock.txt"}
    for key, value in {
        "undercroft.collection": str(collection),
        "undercroft.media_type": "text/plain",
    }.items():
        assert names(await find(shelf, ann, [], Comparison("eq", key, value))) == set(TEXTS)
    made = (await shelf.documents.get(ann, documents["boat.txt"])).created_at.timestamp()
    for operator, expected in (("gte", {"boat.txt"}), ("gt", set[str]()), ("lt", {"a", "b"})):
        condition = Comparison(operator, "undercroft.created_at", made)  # type: ignore[arg-type]
        assert len(names(await find(shelf, ann, [], condition))) == len(expected)


async def describe(shelf: Shelf, scope: Member, sort: Sort | None = None) -> SearchResult:
    query = SearchQuery(
        (), ASKED, 10, is_everywhere=True, facets=["shelf", "undercroft.media_type"], sort=sort
    )
    return await shelf.search.search(scope, query)


async def test_documents_are_counted_and_sorted_by_what_their_searcher_finds_of_them(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, TEXTS)
    for name, value in {"mill.txt": "red", "clock.txt": "blue", "boat.txt": "red"}.items():
        await label(shelf, ann, collection, documents[name], {"shelf": value, "age": len(name)})
    own = await describe(shelf, ann, Sort("age", is_descending=True))
    assert own.passages[0].filename == "clock.txt"
    assert [facet.counts for facet in own.facets] == [
        [("red", 2), ("blue", 1)],
        [("text/plain", 3)],
    ]
    await share(shelf, ann, ResourceKind.DOCUMENT, documents["clock.txt"], bob)
    lent = await describe(shelf, bob)
    assert [facet.counts for facet in lent.facets] == [[], [("text/plain", 1)]]
    await share(shelf, ann, ResourceKind.COLLECTION, collection, bob)
    assert (await describe(shelf, bob)).facets == own.facets


async def test_the_first_by_date_are_taken_of_all_that_is_proposed(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, TEXTS)
    for is_descending, name in ((False, "mill.txt"), (True, "boat.txt")):
        sort = Sort("undercroft.created_at", is_descending)
        query = SearchQuery((collection,), "who repaired the clock", 1, sort=sort)
        (passage,) = (await shelf.search.search(ann, query)).passages
        assert passage.document_id == documents[name]


async def test_what_stands_in_parts_that_are_not_shared_is_not_counted(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    _, documents = await shelf.fill(ann, {"clock.md": FIRST + SECOND})
    parts = Parts(sections=("Nothing of it",))
    terms = replace(SEARCH, parts=parts)
    await share(shelf, ann, ResourceKind.DOCUMENT, documents["clock.md"], bob, terms)
    result = await describe(shelf, bob)
    assert (list(result.passages), [facet.counts for facet in result.facets]) == ([], [[], []])


async def test_how_far_is_counted_tells_nothing_of_parts_that_are_not_shared(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undercroft.retrieval.search.service._MOST_CANDIDATES", 4)
    in_costs = replace(SEARCH, parts=Parts(sections=("Costs",)))

    async def count(repairs: str, terms: Terms) -> list[Facet]:
        ann = await make_scope()
        bob = await make_scope(ann.tenant_id)
        text = f"# Clock\n\n## Costs\n\nWhat {ASKED} cost.\n\n## Repairs\n\n{repairs}"
        _, documents = await shelf.fill(ann, {"clock.md": text})
        await share(shelf, ann, ResourceKind.DOCUMENT, documents["clock.md"], bob, terms)
        return list((await describe(shelf, bob)).facets)

    many = "The town clock was repaired. " * 600
    assert [facet.is_capped for facet in await count(many, SEARCH)] == [True, True]
    counted = await count(many, in_costs)
    assert [facet.is_capped for facet in counted] == [False, False]
    assert counted == await count("None were needed.", in_costs)


async def test_parts_that_are_not_shared_take_no_places_of_what_is(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undercroft.retrieval.search.service._MOST_CANDIDATES", 4)
    in_costs = replace(SEARCH, parts=Parts(sections=("Costs",)))
    lent = {"mill.txt": "A mill has a clock that somebody ought to have repaired, or sold."}
    lent["boat.txt"] = (
        "In a boat nobody needs a clock: there is the sun, and there are the moon and stars."
    )

    async def find(repairs: str) -> tuple[set[str], list[Facet], list[str]]:
        ann = await make_scope()
        bob = await make_scope(ann.tenant_id)
        text = f"# Clock\n\n## Costs\n\nNothing yet.\n\n## Repairs\n\n{repairs}"
        _, documents = await shelf.fill(ann, {"clock.md": text, **lent})
        await share(shelf, ann, ResourceKind.DOCUMENT, documents["clock.md"], bob, in_costs)
        for name in lent:
            await share(shelf, ann, ResourceKind.DOCUMENT, documents[name], bob)
        described = await describe(shelf, bob)
        query = SearchQuery((), ASKED, 3, is_everywhere=True)
        plain = await shelf.search.search(bob, query)
        return (
            {passage.filename for passage in described.passages},
            list(described.facets),
            [passage.filename for passage in plain.passages],
        )

    many = f"{ASKED} was asked: who repaired the town clock? " * 600
    found, facets, plain = await find(many)
    assert found == set(plain) >= set(lent)
    assert (found, facets, plain) == await find("None were needed.")


async def test_scores_tell_nothing_of_parts_that_are_not_shared_where_another_leg_fills_the_answer(
    shelf: Shelf, database: Database, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undercroft.retrieval.search.service._MOST_CANDIDATES", 4)
    in_costs = replace(SEARCH, parts=Parts(sections=("Costs",)))
    lent = {
        "mill.txt": "A mill has a clock.",
        "boat.txt": "In a boat nobody needs any clock at all.",
    }

    async def scores(repairs: str) -> dict[str, float]:
        ann = await make_scope()
        bob = await make_scope(ann.tenant_id)
        text = f"# Works\n\n## Costs\n\nNothing yet.\n\n## Repairs\n\n{repairs}"
        _, documents = await shelf.fill(ann, {"works.md": text, **lent})
        await share(shelf, ann, ResourceKind.DOCUMENT, documents["works.md"], bob, in_costs)
        for name in lent:
            await share(shelf, ann, ResourceKind.DOCUMENT, documents[name], bob)
        async with database.transaction(ann) as transaction:
            chunks = [
                await transaction.fetchval(_ONLY_PASSAGE, documents[name])
                for name in ("boat.txt", "mill.txt")
            ]
        search = SearchService(
            database, shelf.keys, shelf.ledger, shelf.embedder, index=Near(chunks)
        )
        found = await search.search(bob, SearchQuery((), "clock", 2, is_everywhere=True))
        return {passage.filename: passage.score for passage in found.passages}

    many = await scores("The clock, that clock, a clock, our clock! " * 600)
    assert set(many) == set(lent)
    assert many == await scores("None were needed.")


_ONLY_PASSAGE = """
SELECT c.id FROM chunks AS c JOIN documents AS d ON d.current_blob_id = c.blob_id WHERE d.id = $1
"""


class Near:
    """An index that proposes the same passages whatever is asked."""

    def __init__(self, chunk_ids: Sequence[int]) -> None:
        self._chunk_ids = chunk_ids

    async def find_nearest(self, scope: Scope, question: Question, limit: int) -> dict[int, float]:
        """As the protocol says."""
        del scope, question
        return {one: 0.9 - place / 10 for place, one in enumerate(self._chunk_ids[:limit])}
