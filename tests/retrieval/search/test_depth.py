"""How far the index of vectors is looked through: by how much is in it, and by how much of it may be searched."""

from itertools import product
from typing import Final

import numpy as np

from tests import rows
from tests.conftest import MakeScope
from tests.retrieval.search.test_at_size import (
    MODEL,
    SHOWN,
    Library,
    Limits,
    draw_vectors,
    fill,
    near,
)
from undercroft.kit.database import Database
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls

_QUESTIONS: Final = 40


async def test_the_index_is_looked_through_as_far_as_there_is_much_in_it(
    library: Library, database: Database
) -> None:
    # Near to no topic: there an index has it hardest. Asked for the same 40 whatever is in it, it finds .94 of 3,000.
    questions = np.random.default_rng(4).normal(size=(_QUESTIONS, MODEL[1])).astype(np.float32)
    reader, places = library.readers[1.0]
    found = 0
    async with database.transaction(reader) as transaction:
        for question in questions / np.linalg.norm(questions, axis=1, keepdims=True):
            proposed = await near(transaction, question, Limits(exact=10, blobs=10))
            found += len(library.nearest(places, question) & set(proposed[:SHOWN]))
    assert found >= 0.97 * SHOWN * _QUESTIONS, found


async def test_what_is_rare_is_compared_where_that_takes_less_than_the_index(
    library: Library, database: Database
) -> None:
    reader, places = library.readers[0.01]
    passages = [library.chunk_ids[place] for place in places]
    async with database.transaction(library.owner) as transaction:
        for statement in (_MORE_PASSAGES, _MORE_VECTORS):
            await transaction.execute(statement, passages)
    before = await _scans(database)
    # Three times as many passages as are compared otherwise, of as many documents as are listed.
    limits = Limits(exact=len(passages), blobs=len(passages) // 2)
    async with database.transaction(reader) as transaction:
        found = await near(transaction, library.vectors[0], limits, limit=3 * len(passages))
        await transaction.execute("SELECT pg_stat_force_next_flush()")
    assert len(found) == 3 * len(passages)
    assert await _scans(database) - before == 1, "to find out how rare it is"


async def test_no_more_is_asked_for_at_once_than_the_index_takes(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    await register_model(database_urls.migration, *MODEL)
    ann, vectors = await make_scope(), draw_vectors(20, np.random.default_rng(1))
    async with database.transaction(ann) as transaction:
        await rows.insert_collection(transaction, ann)
        await fill(transaction, vectors)
        for reach, limit in product((1, 3), (1, 10, 50, 300, 400, 600, 1_000, 2_000)):
            limits = Limits(exact=1, blobs=1, reach=reach)
            found = await near(transaction, vectors[0], limits, limit)
            assert len(found) == min(limit, len(vectors)), (reach, limit)


_MORE_PASSAGES = """
INSERT INTO chunks (tenant_id, blob_id, ordinal, start_offset, end_offset, sealed_text, token_count, lexemes, terms)
SELECT c.tenant_id, c.blob_id, o.ordinal, 0, 1, '', 1, c.lexemes, c.terms
FROM chunks AS c CROSS JOIN generate_series(1, 2) AS o (ordinal) WHERE c.id = ANY($1)
"""
_MORE_VECTORS = """
INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
SELECT e.model_id, c.id, c.tenant_id, c.blob_id, e.embedding
FROM chunk_embeddings AS e JOIN chunks AS c ON c.blob_id = e.blob_id AND c.ordinal > 0 WHERE e.chunk_id = ANY($1)
"""


async def _scans(database: Database) -> int:
    """How often the index was asked."""
    async with database.transaction_without_scope() as transaction:
        scans: int = await transaction.fetchval(
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'chunk_embeddings_hnsw_1'"
        )
    return scans
