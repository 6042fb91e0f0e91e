"""What a search must not tell of what its asker may not see: by scores, places, errors, neighbours, what was kept."""

from dataclasses import replace

import pytest

from tests.conftest import MakeScope, Member
from tests.ledger.test_denials import OverheardDatabase
from tests.retrieval.search.test_shared import (
    ANSWERING,
    ASKED,
    SEARCH,
    TEXTS,
    add_under,
    find,
    share,
)
from tests.shelf import Shelf
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.search.models import Leg, SearchQuery
from undercroft.retrieval.search.service import SearchService
from undercroft.sharing.models import ModelUse, ResourceKind


async def test_what_others_keep_does_not_show_in_scores(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    """Term statistics are the tenant's; scores are made of ranks."""
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    mine, _ = await shelf.fill(bob, TEXTS)
    before = await find(shelf, bob, mine)
    await shelf.fill(ann, {f"{n}.txt": f"Clock {n}: the town repaired a clock." for n in range(9)})
    after = await find(shelf, bob, mine)
    assert [(each.chunk_id, each.score) for each in after] == [
        (each.chunk_id, each.score) for each in before
    ]
    query = SearchQuery((), ASKED, 10, is_everywhere=True)
    everything = (await shelf.search.search(bob, query)).passages
    assert [(each.chunk_id, each.score) for each in everything] == [
        (each.chunk_id, each.score) for each in before
    ]


@pytest.mark.parametrize("is_everywhere", [True, False])
async def test_what_others_keep_takes_no_place_among_the_nearest(
    shelf: Shelf,
    make_scope: MakeScope,
    monkeypatch: pytest.MonkeyPatch,
    is_everywhere: bool,
) -> None:
    """However much of it is nearer to the question than all that its asker has: more than the leg proposes."""
    for name, count in (("_FEWEST_CANDIDATES", 3), ("_CANDIDATES_EACH", 1)):
        monkeypatch.setattr(f"undercroft.retrieval.search.service.{name}", count)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    mine, _ = await shelf.fill(bob, TEXTS)
    within = () if is_everywhere else (mine,)
    query = SearchQuery(within, ASKED, 3, legs=frozenset({Leg.VECTOR}), is_everywhere=is_everywhere)
    before = await shelf.search.search(bob, query)
    assert len(before.passages) == 3
    await shelf.fill(ann, {f"{n}.txt": f"{ASKED} In {n} minutes." for n in range(8)})
    after = await shelf.search.search(bob, query)
    assert [(each.chunk_id, each.score, each.similarity) for each in after.passages] == [
        (each.chunk_id, each.score, each.similarity) for each in before.passages
    ]
    assert after.degraded == before.degraded


async def test_no_answer_is_kept_that_another_search_could_hit(
    shelf: Shelf, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    """What a colleague has asked, and found, makes the same question neither quicker nor other."""
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    await shelf.fill(bob, TEXTS)
    await shelf.fill(ann, {"clock.txt": TEXTS["clock.txt"]})
    async with OverheardDatabase(database_urls.service) as overheard:
        search = SearchService(overheard, shelf.keys, shelf.ledger, shelf.embedder)

        async def ask(scope: Member) -> tuple[list[str], list[str], list[tuple[int, float]]]:
            overheard.heard.clear()
            shelf.embedder.asked.clear()
            query = SearchQuery((), ASKED, 3, is_everywhere=True)
            passages = (await search.search(scope, query)).passages
            found = [(each.chunk_id, each.score) for each in passages]
            # Both legs are asked at once, in no order.
            return sorted(overheard.heard), list(shelf.embedder.asked), found

        await search.search(bob, SearchQuery((), "Which ferry?", 3, is_everywhere=True))
        first = await ask(bob)
        assert first[1] == [ASKED]
        assert await ask(bob) == first
        await ask(ann)
        assert await ask(bob) == first


async def test_what_is_not_there_and_what_is_anothers_are_refused_in_the_same_words(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, {"clock.txt": TEXTS["clock.txt"]})
    missing, document = IdSource().new(), documents["clock.txt"]

    async def refusal(query: SearchQuery) -> tuple[object, ...]:
        with pytest.raises(UndercroftError) as refused:
            await shelf.search.search(bob, query)
        error = refused.value
        words = error.message
        for each in (missing, document, collection):
            words = words.replace(each.hex, "ID")
        return error.kind, error.code, error.param, words

    assert await refusal(SearchQuery((missing,), ASKED, 5)) == await refusal(
        SearchQuery((collection,), ASKED, 5)
    )
    absent = SearchQuery((), ASKED, 5, document_ids=(missing,))
    assert await refusal(absent) == await refusal(replace(absent, document_ids=(document,)))


@pytest.mark.parametrize("fewest", [50, 1])
async def test_what_a_model_may_not_see_takes_no_place_in_an_answer(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch, fewest: int
) -> None:
    for name, count in (("_FEWEST_CANDIDATES", fewest), ("_CANDIDATES_EACH", 1)):
        monkeypatch.setattr(f"undercroft.retrieval.search.service.{name}", count)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    _, documents = await shelf.fill(ann, TEXTS)
    papers = (await shelf.collections.create(bob, "papers", {})).id
    for name, model_use in (("clock.txt", frozenset[ModelUse]()), ("boat.txt", None)):
        terms = replace(SEARCH, model_use=model_use)
        lent = await share(shelf, ann, ResourceKind.DOCUMENT, documents[name], bob, terms)
        await add_under(shelf, bob, papers, lent)
    assert len(await find(shelf, bob, papers)) == 2
    found = await find(shelf, bob, papers, limit=1, use=ANSWERING)
    assert [passage.filename for passage in found] == ["boat.txt"]
    async with shelf.database.transaction(bob) as transaction:
        assert await transaction.fetchval(_ANSWERS) == 1


_ANSWERS = (
    "SELECT count(*) FROM ledger_pending WHERE action = 'document.answer' AND grant_id IS NOT NULL"
)
