"""How large an index would be if it were built anew is known without building it."""

from collections.abc import AsyncGenerator

import asyncpg
import pytest

from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection
from undercroft.retrieval.spaces.upkeep import IndexHealth

_FILL = """
INSERT INTO things (v)
SELECT (SELECT array_agg(random()) FROM generate_series(1, $1::int) WHERE n > 0)::real[]::vector::halfvec
FROM generate_series(1, $2::int) AS n
"""


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    connection = await asyncpg.connect(database_urls.migration)
    yield connection
    await connection.close()


@pytest.mark.parametrize("dimensions", [8, 256, 384, 768, 1024, 1536, 3072])
async def test_the_size_of_a_fresh_index_is_known(owner: AnyConnection, dimensions: int) -> None:
    vectors = 300
    await owner.execute("CREATE TABLE things (v halfvec)")
    await owner.execute(_FILL, dimensions, vectors)
    await owner.execute(
        f"CREATE INDEX i ON things USING hnsw ((v::halfvec({dimensions})) halfvec_ip_ops)"
    )
    size = await owner.fetchval("SELECT pg_relation_size('i')")
    health = IndexHealth(size, vectors, dimensions)
    assert 0.85 < size / health.fresh_bytes < 1.15


def test_an_index_is_worn_when_a_third_of_it_is_dead() -> None:
    fresh = IndexHealth(0, 100_000, 384).fresh_bytes
    assert not IndexHealth(fresh, 100_000, 384).is_worn
    assert IndexHealth(fresh, 60_000, 384).is_worn
    assert not IndexHealth(100_000, 0, 384).is_worn, "it is small"


@pytest.mark.parametrize("vectors", [0, 5, 100_000])
def test_what_was_built_of_few_vectors_wears_as_what_was_built_of_many(vectors: int) -> None:
    """Built when everything was erased, it would be built anew by no worker ever again."""
    built = IndexHealth(IndexHealth(0, vectors, 384).fresh_bytes, vectors, 384)
    fresh = IndexHealth(0, 100_000, 384).fresh_bytes
    assert IndexHealth(2 * fresh, 100_000, 384).has_worn_since(built)
    assert not IndexHealth(fresh, 100_000, 384).has_worn_since(built)
    assert IndexHealth(3 * built.fresh_bytes, vectors, 384).has_worn_since(built)
