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


def test_an_index_wears_since_it_was_built_whatever_there_was_then() -> None:
    now = IndexHealth(50_000_000, 1_000, 384)
    assert now.has_worn_since(2_000_000, 1_000)
    assert not now.has_worn_since(50_000_000, 1_000)
    assert now.has_worn_since(8_192, 0), "it was empty"
