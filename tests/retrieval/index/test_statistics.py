"""BM25 inside PostgreSQL: its weights are the formula's, and its statistics follow the chunks whatever happens."""

import asyncio
import math
import random
from collections import Counter
from uuid import UUID

import asyncpg
import numpy as np

from tests import rows
from tests.conftest import MakeScope, Member
from tests.stepping import PATIENCE
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.chunking import Chunk
from undercroft.retrieval.index.models import SealedChunk
from undercroft.retrieval.index.repository import IndexRepository

WORDS = (
    "mill",
    "river",
    "stone",
    "bridge",
    "lantern",
    "harbour",
    "winter",
    "ledger",
    "orchard",
    "candle",
)
REPOSITORY = IndexRepository()


async def insert_blob(database: Database, scope: Member, texts: list[str]) -> UUID:
    """A blob with one chunk for each text, inserted as the indexer does."""
    chunks: list[SealedChunk] = []
    for ordinal, text in enumerate(texts):
        chunk = Chunk(ordinal, 0, len(text), None, (), len(text.split()))
        chunks.append(SealedChunk(chunk, b"", text))
    async with database.transaction(scope) as transaction:
        blob_id = await rows.insert_blob(transaction, scope)
        ids = await REPOSITORY.allocate_chunk_ids(transaction, len(chunks))
        await REPOSITORY.insert_chunks(transaction, blob_id, "english", ids, chunks)
    return blob_id


async def delete_blob(database: Database, scope: Member, blob_id: UUID) -> None:
    async with database.transaction(scope) as transaction:
        await transaction.execute("DELETE FROM blobs WHERE id = $1", blob_id)


async def check_statistics(database: Database, scope: Member) -> None:
    """Statistics equal a recount."""
    async with database.transaction(scope) as transaction:
        terms = await transaction.fetch("SELECT term, chunk_count FROM term_statistics")
        counted = await transaction.fetch(
            "SELECT w.lexeme, count(*) FROM chunks AS c, unnest(c.lexemes) AS w GROUP BY 1"
        )
        corpus = await transaction.fetchrow("SELECT chunk_count, term_total FROM corpus_statistics")
        total = await transaction.fetchrow(
            "SELECT count(*), coalesce(sum(term_count(lexemes)), 0) FROM chunks"
        )
    assert {tuple(row) for row in terms} == {tuple(row) for row in counted}
    assert corpus is not None
    assert total is not None
    assert tuple(corpus) == tuple(total)


async def test_statistics_follow_random_inserts_and_deletes(
    database: Database, make_scope: MakeScope
) -> None:
    draw = random.Random(7)
    ann, other = await make_scope(), await make_scope()
    await insert_blob(database, other, ["mill mill river"])
    blobs: list[UUID] = []
    for _ in range(40):
        if blobs and draw.random() < 0.4:
            await delete_blob(database, ann, blobs.pop(draw.randrange(len(blobs))))
        else:
            texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(3)]
            blobs.append(await insert_blob(database, ann, texts))
    await check_statistics(database, ann)
    for blob_id in blobs:
        await delete_blob(database, ann, blob_id)
    await check_statistics(database, ann)
    async with database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM term_statistics") == 0
    await check_statistics(database, other)


async def test_transactions_on_the_same_terms_in_opposite_order_do_not_deadlock(
    database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    forwards, backwards = " ".join(WORDS), " ".join(reversed(WORDS))
    for _ in range(5):
        blobs = await asyncio.gather(
            *(
                insert_blob(database, ann, [text] * 3)
                for text in (forwards, backwards, forwards, backwards)
            )
        )
        await asyncio.gather(
            *(delete_blob(database, ann, blob_id) for blob_id in blobs),
            insert_blob(database, ann, [backwards, forwards]),
        )
    await check_statistics(database, ann)


async def test_scores_are_bm25(database: Database, make_scope: MakeScope) -> None:
    draw = random.Random(11)
    ann = await make_scope()
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(3, 30))) for _ in range(60)]
    await insert_blob(database, ann, texts)
    query = "the ledger of the mill, the mill by the river"
    async with database.transaction(ann) as transaction:
        average = await REPOSITORY.renew_average(transaction)
        rows = await transaction.fetch(
            """
            WITH query AS (
                SELECT ('{' || string_agg(place || ':' || weight, ',' ORDER BY place) || '}/1000000000')::sparsevec AS v
                FROM (
                    SELECT term_position(w.lexeme) AS place,
                        (ln(1 + (60 - s.chunk_count + 0.5) / (s.chunk_count + 0.5)) * cardinality(w.positions))::real
                        AS weight
                    FROM unnest(to_tsvector('english', $1)) AS w JOIN term_statistics AS s ON s.term = w.lexeme
                ) AS terms
            )
            SELECT c.ordinal, -(c.terms <#> query.v) AS score FROM chunks AS c, query ORDER BY c.ordinal
            """,
            query,
        )
    assert average is not None
    expected = bm25([text.split() for text in texts], ["ledger", "mill", "mill", "river"])
    assert np.allclose([row["score"] for row in rows], expected, rtol=1e-4, atol=1e-5)


def bm25(documents: list[list[str]], query: list[str]) -> list[float]:
    """Robertson and Zaragoza's BM25, k1 = 1.6 and b = 0.75, with the idf that cannot be negative."""
    average = sum(map(len, documents)) / len(documents)
    scores: list[float] = []
    for document in documents:
        counts, score = Counter(document), 0.0
        for word in query:
            containing = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
            tf = counts[word]
            norm = tf + 1.6 * (1 - 0.75 + 0.75 * len(document) / average)
            score += idf * tf * 2.6 / norm
        scores.append(score)
    return scores


async def test_reweighting_goes_on_past_chunks_that_are_deleted_under_it(
    database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    gone = await insert_blob(database, ann, ["mill river stone"] * 5)
    kept = await insert_blob(database, ann, ["bridge lantern"] * 2)

    async def reweight() -> int | None:
        async with database.transaction(ann) as transaction:
            return await REPOSITORY.reweight_chunks(transaction, 3.0, 0, 5)

    async with database.transaction(ann) as deletion:
        await deletion.execute("DELETE FROM blobs WHERE id = $1", gone)
        # Not waited for: a batch that waited could, in another order, wait for a delete that waits for it.
        async with asyncio.timeout(PATIENCE):
            last = await reweight()
    async with database.transaction(ann) as transaction:
        assert last == await transaction.fetchval(
            "SELECT max(id) FROM chunks WHERE blob_id = $1", kept
        )


async def test_a_delete_costs_what_it_removes_and_not_its_square(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    words = [f"word{number}" for number in range(60_000)]
    texts = [" ".join(words[start : start + 100]) for start in range(0, len(words), 100)]
    blob_id = await insert_blob(database, ann, texts)
    owner = await asyncpg.connect(database_urls.migration)
    try:
        # Without statistics of its own the planner guesses, and its guess is the better one here.
        await owner.execute("ANALYZE term_statistics")
    finally:
        await owner.close()
    # A statement may take 30 seconds; this one took minutes.
    await delete_blob(database, ann, blob_id)
    await check_statistics(database, ann)


async def test_what_a_former_formula_weighted_is_weighted_again(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await insert_blob(database, ann, ["mill river stone"] * 3)
    owner = await asyncpg.connect(database_urls.migration)
    try:
        await owner.execute(
            "UPDATE corpus_statistics SET formula = 1 WHERE tenant_id = $1", ann.tenant_id
        )
    finally:
        await owner.close()
    async with database.transaction(ann) as transaction:
        assert await REPOSITORY.is_average_stale(transaction, 0.1)
        await REPOSITORY.renew_average(transaction)
        # Not before the last passage: whoever weights them may be given up half-way.
        assert await REPOSITORY.is_average_stale(transaction, 0.1)
        await REPOSITORY.end_reweighting(transaction)
        assert not await REPOSITORY.is_average_stale(transaction, 0.1)
