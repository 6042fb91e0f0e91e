"""What may be searched is listed where it is little, and asked of the best where it is much: that finds the same."""

from collections.abc import Sequence
from itertools import product
from uuid import UUID

import asyncpg
import numpy as np
import pytest

from tests import rows
from tests.conftest import MakeScope
from tests.retrieval.search.plans import superuser_url
from tests.retrieval.search.test_at_size import (
    DOCUMENTS,
    MODEL,
    SHOWN,
    Library,
    Limits,
    draw_vectors,
    fill,
    near,
    reading,
)
from undercroft.kit.database import Database, Transaction
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection

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


async def find_terms(
    transaction: Transaction, words: Sequence[str], listed: int, collections: Sequence[UUID] = ()
) -> tuple[set[str], list[tuple[str, str]]]:
    """Which of the words are known, and of the others which terms are like them."""
    found = await transaction.fetch(
        "SELECT place, term, is_known FROM similar_terms($1, '{}', $2, NULL, $3, $4, 50)",
        collections,
        not collections,
        words,
        listed,
    )
    word_at = dict(enumerate(words, start=1))
    known = {word_at[row["place"]] for row in found if row["is_known"]}
    return known, [(word_at[row["place"]], row["term"]) for row in found if not row["is_known"]]


async def write_words(urls: DatabaseUrls, words: str, chunk_ids: Sequence[int]) -> None:
    """Have these passages these words and no others."""
    superuser = await asyncpg.connect(superuser_url(urls))
    try:
        written = await superuser.execute(
            "UPDATE chunks SET lexemes = to_tsvector('english', $1) WHERE id = ANY($2)",
            words,
            chunk_ids,
        )
    finally:
        await superuser.close()
    assert written == f"UPDATE {len(chunk_ids)}"


async def test_a_word_is_known_to_whoever_may_search_a_passage_with_it_however_that_is_found(
    library: Library, database: Database, database_urls: DatabaseUrls
) -> None:
    _, places = library.readers[0.1]
    hidden = next(place for place in range(DOCUMENTS) if place not in places)
    await write_words(database_urls, "common hidden", [library.chunk_ids[hidden]])
    words = ["hidden", *(f"word{number}" for number in range(50)), "wordy", "commonn"]
    for reader, readers_places in library.readers.values():
        # As the library numbers its documents: from 1.
        theirs = {f"word{(place + 1) % 50}" for place in readers_places if place != hidden}
        theirs |= {"hidden"} if hidden in readers_places else set()
        async with database.transaction(reader) as transaction:
            answers = [await find_terms(transaction, words, most) for most in (0, 100, 2_000)]
        assert answers[0][0] == theirs
        assert answers[0] == answers[1] == answers[2]


async def test_what_may_be_searched_is_not_listed_for_words_that_are_there(
    library: Library, database: Database
) -> None:
    for searcher, collections in (
        (library.owner, []),
        (library.owner, [library.collection_id]),
        (library.readers[1.0][0], []),
    ):
        words = ["common", "word7", "word8"]
        async with reading(database, searcher) as (transaction, read):
            assert await find_terms(transaction, words, DOCUMENTS, collections) == ({*words}, [])
        # What is listed in vain, and a few passages with each.
        for table in ("documents", "collection_documents", "grants"):
            assert read[table][1] < MORE_THAN_FEW, (table, read[table])


async def test_little_of_what_was_added_is_out_of_order_in_the_index_of_words(
    library: Library, database_urls: DatabaseUrls, owner: AnyConnection
) -> None:
    words = " ".join(f"added{number}" for number in range(200))
    await write_words(database_urls, words, library.chunk_ids[:1_000])
    # Of 8 KB each, all of which is read for each word that is looked up.
    assert await owner.fetchval("SELECT gin_clean_pending_list('chunks_by_lexeme')") <= 40
