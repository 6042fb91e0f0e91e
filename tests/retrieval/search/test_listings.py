"""What may be searched is listed where it is little, and asked of the best where it is much: that finds the same."""

from collections.abc import Sequence
from itertools import product
from uuid import UUID

import numpy as np
import pytest

from tests import rows
from tests.conftest import MakeScope
from tests.retrieval.search.test_at_size import (
    DOCUMENTS,
    MODEL,
    SHOWN,
    Library,
    Limits,
    draw_vectors,
    fill,
    library,
    near,
    owner,
    reading,
)
from undercroft.kit.database import Database, Transaction
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection

__all__ = ["library", "owner"]

MORE_THAN_FEW = 300
"""Documents that are not listed at first."""
WHOLE = Limits(exact=DOCUMENTS, blobs=DOCUMENTS)


async def find_words(
    transaction: Transaction, listed: int, limit: int, collections: Sequence[UUID] = ()
) -> list[int]:
    """The passages with a word that all of them have, where up to so many documents are listed."""
    found = await transaction.fetch(
        "SELECT chunk_id FROM search_lexical($1, '{}', $2, NULL, 'common', 20000, $3, $4)",
        collections,
        not collections,
        listed,
        limit,
    )
    return [row["chunk_id"] for row in found]


async def test_the_best_with_a_word_are_found_of_little_and_of_much(
    library: Library, database: Database
) -> None:
    for reader, places in library.readers.values():
        # All of them are as good, so the oldest are the best.
        best = sorted(library.chunk_ids[place] for place in places)
        async with database.transaction(reader) as transaction:
            for listed, limit in product((0, 100, 2_000), (1, 10, 50, 400)):
                found = await find_words(transaction, listed, limit)
                assert found == best[:limit], (listed, limit)


async def test_more_than_a_few_documents_are_not_listed_where_the_best_may_be_searched(
    library: Library, database: Database, owner: AnyConnection
) -> None:
    await owner.execute("VACUUM documents, grants")
    for searcher, collections in (
        (library.readers[1.0][0], []),
        (library.owner, [library.collection_id]),
    ):
        async with reading(database, searcher) as (transaction, read):
            assert len(await near(transaction, library.vectors[0], WHOLE)) == SHOWN
        # As many as the index is asked for at first, and those that are told; not every one that may be searched.
        assert read["chunk_embeddings"][1] <= 150 + SHOWN, read
        async with reading(database, searcher) as (transaction, read):
            assert len(await find_words(transaction, 2_000, SHOWN, collections)) == SHOWN
        # Of those that have the word all are read; of what may be searched as much as is listed in vain.
        assert read["collection_documents"][1] <= 201 + SHOWN, read


@pytest.mark.usefixtures("library")
async def test_an_index_with_others_passages_is_not_asked_in_vain(
    database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    other, vectors = await make_scope(), draw_vectors(MORE_THAN_FEW, np.random.default_rng(3))
    async with database.transaction(other) as transaction:
        await rows.insert_collection(transaction, other)
        await fill(transaction, vectors)
    await owner.execute("ANALYZE")
    async with reading(database, other) as (transaction, read):
        found = await near(transaction, vectors[0], WHOLE)
        chunks = await transaction.fetch("SELECT id FROM chunks ORDER BY blob_id")
    order = np.argsort(-(vectors @ vectors[0]), kind="stable")[:SHOWN]
    assert set(found) == {chunks[place]["id"] for place in order}
    # Each is compared, and none was come by on a way through the index.
    assert read["chunk_embeddings"][1] == MORE_THAN_FEW, read


async def test_how_often_other_tenants_use_a_word_is_no_work_of_ones_own(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope, owner: AnyConnection
) -> None:
    await register_model(database_urls.migration, *MODEL)
    ann, other = await make_scope(), await make_scope()
    for scope, count in ((ann, MORE_THAN_FEW), (other, 4 * MORE_THAN_FEW)):
        async with database.transaction(scope) as transaction:
            await rows.insert_collection(transaction, scope)
            await fill(transaction, draw_vectors(count, np.random.default_rng(3)))
    await owner.execute("ANALYZE")
    for listed in (100, 2_000):
        async with reading(database, ann) as (transaction, read):
            assert len(await find_words(transaction, listed, SHOWN)) == SHOWN
        # Every passage has the word.
        assert read["chunks"][1] <= MORE_THAN_FEW + SHOWN, read["chunks"]
