"""Indexes are built anew and dropped under a running service, and an interrupted command can be run again."""

import asyncio
from collections.abc import AsyncGenerator

import asyncpg
import pytest

from tests.stepping import PATIENCE
from undercroft.kit import index_upkeep
from undercroft.kit.index_upkeep import IndexBusyError, drop_index, measure_index, rebuild_index
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection

FILL = """
INSERT INTO things (v)
SELECT (SELECT array_agg(random()) FROM generate_series(1, 64) WHERE n > 0)::real[]::vector::halfvec(64)
FROM generate_series(1, 3000) AS n
"""


async def nothing(phase: str, done: int, total: int) -> None:
    del phase, done, total


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    connection = await asyncpg.connect(database_urls.migration)
    await connection.execute(
        "CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY, v halfvec(64))"
    )
    await connection.execute("CREATE INDEX things_hnsw ON things USING hnsw (v halfvec_ip_ops)")
    await connection.execute(FILL)
    yield connection
    await connection.close()


async def indexes(owner: AnyConnection) -> list[str]:
    rows = await owner.fetch(
        "SELECT indexname FROM pg_indexes WHERE tablename = 'things' ORDER BY 1"
    )
    return [row["indexname"] for row in rows]


async def test_what_was_deleted_leaves_the_index_with_a_rebuild(
    owner: AnyConnection, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_upkeep, "_POLL_SECONDS", 0.001)
    await owner.execute("DELETE FROM things WHERE id % 3 > 0")
    await owner.execute("VACUUM things")
    before = await measure_index(database_urls.migration, "things_hnsw")
    heard: list[tuple[str, int, int]] = []

    async def hear(phase: str, done: int, total: int) -> None:
        heard.append((phase, done, total))

    await rebuild_index(database_urls.migration, "things_hnsw", hear)
    after = await measure_index(database_urls.migration, "things_hnsw")
    assert before is not None
    assert after is not None
    assert after.is_valid
    assert after.index_bytes < before.index_bytes / 2
    assert {phase for phase, _, _ in heard} & {"building index", "building index: loading tuples"}
    assert all(0 <= done <= total for _, done, total in heard)


async def test_the_table_is_written_and_read_meanwhile(
    owner: AnyConnection, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebuild waits for whoever writes, and nobody waits for it."""
    monkeypatch.setattr(index_upkeep, "_POLL_SECONDS", 0.01)
    waits = asyncio.Event()

    async def hear(phase: str, done: int, total: int) -> None:
        del done, total
        if phase.startswith("waiting for writers"):
            waits.set()

    async with owner.transaction():
        await owner.execute("INSERT INTO things (v) SELECT v FROM things LIMIT 1")
        building = asyncio.create_task(rebuild_index(database_urls.migration, "things_hnsw", hear))
        async with asyncio.timeout(PATIENCE):
            await waits.wait()
        another = await asyncpg.connect(database_urls.migration)
        await another.execute("SET lock_timeout = '2s'")
        await another.execute("INSERT INTO things (v) SELECT v FROM things LIMIT 1")
        await another.fetch("SELECT id FROM things ORDER BY id LIMIT 1")
        await another.close()
        assert not building.done()
    await building
    assert await indexes(owner) == ["things_hnsw"]


async def test_what_an_interrupted_rebuild_left_is_dropped(
    owner: AnyConnection, database_urls: DatabaseUrls
) -> None:
    builder = await asyncpg.connect(database_urls.migration)
    await builder.execute("SET statement_timeout = '2s'")
    async with owner.transaction():
        # Keeps it from its end, however fast it is.
        await owner.execute("LOCK TABLE things IN ROW EXCLUSIVE MODE")
        with pytest.raises(asyncpg.QueryCanceledError):
            await builder.execute("REINDEX INDEX CONCURRENTLY things_hnsw")
    await builder.close()
    assert len(await indexes(owner)) == 2
    await rebuild_index(database_urls.migration, "things_hnsw", nothing)
    assert await indexes(owner) == ["things_hnsw"]


async def test_two_commands_are_not_at_one_index(
    owner: AnyConnection, database_urls: DatabaseUrls
) -> None:
    await owner.execute(
        "SELECT pg_advisory_lock(hashtextextended('undercroft.index.things_hnsw', 0))"
    )
    with pytest.raises(IndexBusyError):
        await rebuild_index(database_urls.migration, "things_hnsw", nothing)
    with pytest.raises(IndexBusyError):
        await drop_index(database_urls.migration, "things_hnsw")


async def test_an_index_that_is_gone_is_dropped_again(
    owner: AnyConnection, database_urls: DatabaseUrls
) -> None:
    for _ in range(2):
        await drop_index(database_urls.migration, "things_hnsw")
    assert await indexes(owner) == []
    assert await measure_index(database_urls.migration, "things_hnsw") is None


async def test_whoever_watches_a_rebuild_hears_of_it_while_it_waits_to_begin(
    owner: AnyConnection, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease is prolonged by that."""
    monkeypatch.setattr(index_upkeep, "_POLL_SECONDS", 0.01)
    heard = asyncio.Event()

    async def hear(phase: str, done: int, total: int) -> None:
        del done, total
        if phase.startswith("waiting for another command"):
            heard.set()

    async with owner.transaction():
        await owner.execute("LOCK TABLE things IN SHARE UPDATE EXCLUSIVE MODE")
        building = asyncio.create_task(rebuild_index(database_urls.migration, "things_hnsw", hear))
        async with asyncio.timeout(PATIENCE):
            await heard.wait()
    await building
