"""Filters where there is much: what passes is found though it is rare, whether it is listed or asked for."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest

from tests.retrieval.search.test_at_size import (
    DOCUMENTS,
    MODEL,
    SHOWN,
    Library,
    draw_vectors,
)
from undercroft.kit.database import Database
from undercroft.retrieval.filters import Comparison, render_path
from undercroft.retrieval.halfvec import render_vector

_LABEL = """
UPDATE collection_documents AS m SET attributes = jsonb_build_object('part', s.part)
FROM (
    SELECT c.blob_id AS document_id, p.part
    FROM unnest($1::bigint[], $2::text[]) AS p (chunk_id, part) JOIN chunks AS c ON c.id = p.chunk_id
) AS s
WHERE m.document_id = s.document_id
"""
_NEAR = """
SELECT chunk_id FROM search_vector('{}', '{}', true, $1::text::jsonpath, $2, $3::text::halfvec, $4, $5, 15, 10)
ORDER BY score DESC
"""
_WORDS = """
SELECT chunk_id FROM search_lexical('{}', '{}', true, $1::text::jsonpath, 'common', 20000, $2, 1000)
"""


def parts(seed: int) -> Mapping[str, npt.NDArray[np.int64]]:
    """Few, some and many of the documents."""
    places = np.random.default_rng(seed).permutation(DOCUMENTS)
    return {"few": places[:15], "some": places[15:315], "many": places[315:]}


@pytest.mark.parametrize(
    ("exact", "listed"), [(400, 20), (10, 10), (400, 400)], ids=["rare", "asked", "listed"]
)
async def test_what_passes_is_found_however_rare_it_is(
    library: Library, database: Database, exact: int, listed: int
) -> None:
    drawn = parts(3)
    async with database.transaction(library.owner) as transaction:
        for part, places in drawn.items():
            chunks = [library.chunk_ids[place] for place in places]
            await transaction.execute(_LABEL, chunks, [part] * len(chunks))
    async with database.transaction(library.owner) as transaction:
        for part, places in drawn.items():
            path = render_path(Comparison("eq", "part", part))
            found = wanted = 0
            for vector in draw_vectors(10, np.random.default_rng(2)):
                nearest = library.nearest(places, vector)
                near = await transaction.fetch(
                    _NEAR, path, MODEL[0], render_vector(vector), exact, listed
                )
                found += len(nearest & {row["chunk_id"] for row in near})
                wanted += len(nearest)
            assert found >= 0.95 * wanted, (part, found / wanted)
            words = await transaction.fetch(_WORDS, path, listed)
            assert len(words) == min(len(places), 1000)
            assert {row["chunk_id"] for row in words} <= {library.chunk_ids[at] for at in places}
    assert SHOWN == 10
