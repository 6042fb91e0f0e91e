"""A search ends in time: without what is late where words can answer alone, else with a clear refusal."""

import asyncio

import asyncpg
import pytest

from tests.conftest import MakeScope
from tests.retrieval.search.test_shared import TEXTS
from tests.shelf import Shelf
from tests.stepping import Gate
from undercroft.kit.errors import UnavailableError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.retrieval.search.models import Leg, Quality, SearchQuery
from undercroft.retrieval.search.nearest import PostgresIndex
from undercroft.retrieval.search.service import SearchService
from undercroft.retrieval.vectors.protocol import Question, VectorIndex


def hurried(shelf: Shelf, seconds: float = 1.0) -> SearchService:
    return SearchService(shelf.stepped, shelf.keys, shelf.ledger, shelf.embedder, seconds=seconds)


async def test_a_late_embedder_leaves_the_answer_to_the_words(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    shelf.embedder.gate = Gate()  # never opened
    result = await hurried(shelf).search(ann, SearchQuery((collection,), "the clock", 10))
    assert result.degraded == {Leg.VECTOR}
    assert [passage.filename for passage in result.passages] == ["clock.txt"]


class Unavailable:
    """An index that PostgreSQL cannot ask."""

    def __init__(self, error: asyncpg.PostgresError) -> None:
        self._error = error

    async def find_nearest(self, scope: Scope, question: Question, limit: int) -> dict[int, float]:
        del scope, question, limit
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.QueryCanceledError,
        asyncpg.AdminShutdownError,
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.OutOfMemoryError,
        asyncpg.TooManyConnectionsError,
        asyncpg.LockNotAvailableError,
        asyncpg.IndexCorruptedError,
    ],
)
async def test_a_vector_index_that_cannot_be_asked_leaves_the_answer_to_the_words(
    shelf: Shelf, make_scope: MakeScope, error: type[asyncpg.PostgresError]
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    search = SearchService(
        shelf.database, shelf.keys, shelf.ledger, shelf.embedder, index=Unavailable(error())
    )
    result = await search.search(ann, SearchQuery((collection,), "the clock", 10))
    assert result.degraded == {Leg.VECTOR}
    assert [passage.filename for passage in result.passages] == ["clock.txt"]


async def test_a_defect_of_the_vector_leg_is_not_taken_for_an_index_that_does_not_answer(
    shelf: Shelf, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    owner = await asyncpg.connect(database_urls.migration)
    try:
        await owner.execute("ALTER TABLE chunk_embeddings RENAME TO away")
    finally:
        await owner.close()
    with pytest.raises(asyncpg.UndefinedTableError):
        await shelf.search.search(ann, SearchQuery((collection,), "the clock", 10))


class LateWhenExact:
    """Never ends where all has to be compared."""

    def __init__(self, own: VectorIndex) -> None:
        self._own = own

    async def find_nearest(self, scope: Scope, question: Question, limit: int) -> dict[int, float]:
        if question.effort.reach is None:
            await Gate().pass_through()
        return await self._own.find_nearest(scope, question, limit)


@pytest.mark.parametrize("legs", [frozenset(Leg), frozenset({Leg.VECTOR})])
async def test_what_cannot_be_exact_in_time_is_compared_as_usual(
    shelf: Shelf, make_scope: MakeScope, legs: frozenset[Leg]
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    index = LateWhenExact(PostgresIndex(shelf.stepped))
    search = SearchService(
        shelf.stepped, shelf.keys, shelf.ledger, shelf.embedder, index=index, seconds=4.0
    )
    query = SearchQuery((collection,), "the clock", 10, legs, quality=Quality.EXACT)
    result = await search.search(ann, query)
    assert result.degraded == {"exact"}
    assert "clock.txt" in [passage.filename for passage in result.passages]


async def test_late_words_are_a_refusal_and_give_their_connections_back(
    shelf: Shelf, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    query = SearchQuery((collection,), "the clock", 10)
    owner = await asyncpg.connect(database_urls.migration)
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE corpus_statistics IN ACCESS EXCLUSIVE MODE")
            refused = await asyncio.gather(
                *(hurried(shelf, 0.5).search(ann, query) for _ in range(12)), return_exceptions=True
            )
    finally:
        await owner.close()
    assert [type(each) for each in refused] == [UnavailableError] * 12
    assert "longer than 0.5 seconds" in str(refused[0])
    results = await asyncio.gather(*(shelf.search.search(ann, query) for _ in range(12)))
    assert all(result.passages and not result.degraded for result in results)
    pool = shelf.stepped._pool
    assert pool.get_idle_size() == pool.get_size()


async def test_who_asked_for_a_leg_alone_is_told_that_it_is_late(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, TEXTS)
    shelf.embedder.gate = Gate()
    query = SearchQuery((collection,), "the clock", 10, frozenset({Leg.VECTOR}))
    with pytest.raises(UnavailableError, match="does not answer"):
        await hurried(shelf).search(ann, query)
