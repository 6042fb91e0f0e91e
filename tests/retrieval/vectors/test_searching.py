"""A search of real documents where Qdrant proposes: found, forgotten, and done without."""

import pytest

from tests.conftest import MakeScope
from tests.retrieval.search.test_reranked import TEXTS, names, search
from tests.retrieval.vectors.conftest import Qdrant
from tests.retrieval.vectors.test_synchronising import outside
from tests.shelf import Shelf
from undercroft.kit.errors import UnavailableError
from undercroft.retrieval.search.models import Leg, SearchQuery
from undercroft.retrieval.search.service import SearchService


def searching(shelf: Shelf, qdrant: Qdrant) -> SearchService:
    return SearchService(
        shelf.stepped, shelf.keys, shelf.ledger, shelf.embedder, index=qdrant.index
    )


async def test_what_is_indexed_is_found_and_what_is_erased_is_outside_no_more(
    shelf: Shelf, qdrant: Qdrant, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, TEXTS)
    service = searching(shelf, qdrant)
    own = await search(shelf.search, ann, collection)
    await qdrant.sync.bring_pending()
    found = await search(service, ann, collection)
    assert names(found) == names(own)
    assert not found.degraded
    ids = await outside(qdrant)
    assert len(ids) >= len(TEXTS)
    await shelf.documents.delete(ann, documents["clock.txt"])
    assert "clock.txt" not in names(await search(service, ann, collection))
    assert await outside(qdrant) == ids
    await qdrant.sync.bring_pending()
    assert len(await outside(qdrant)) < len(ids)


async def test_where_it_does_not_answer_words_are_searched_and_it_is_said(
    shelf: Shelf, qdrant: Qdrant, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    await qdrant.sync.bring_pending()
    for each in (await qdrant.client.get_collections()).collections:
        await qdrant.client.delete_collection(each.name)
    result = await search(searching(shelf, qdrant), ann, collection, text="clock")
    assert names(result)[0] == "clock.txt"
    assert result.degraded == {Leg.VECTOR}
    alone = SearchQuery([collection], "clock", 5, legs=frozenset({Leg.VECTOR}))
    with pytest.raises(UnavailableError):
        await searching(shelf, qdrant).search(ann, alone)
