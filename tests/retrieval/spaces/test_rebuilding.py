"""Workers build worn indexes anew by themselves: where it is measured to be worthwhile, one of them, not for ever."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from undercroft.kit.index_upkeep import measure_index
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection
from undercroft.retrieval.spaces.models import SpaceModel
from undercroft.retrieval.spaces.rebuilding import IndexRebuilds, find_rebuild
from undercroft.retrieval.spaces.repository import SpaceRepository
from undercroft.retrieval.spaces.service import SpaceAdministration
from undercroft.retrieval.spaces.upkeep import index_name

WIDE, DIMENSIONS = "wide", 1900
"""So wide that each of its vectors takes a page: few of them make an index that is worth a look."""
FILLED = 400
LEASE = timedelta(minutes=2)

_FILL = """
INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
SELECT $1, 1000000 + n, $2, gen_random_uuid(), (
    SELECT array_agg(sin(n * d)) FROM generate_series(1, 1900) AS d
)::real[]::vector::halfvec
FROM generate_series(1, $3::int) AS n
"""


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    connection = await asyncpg.connect(database_urls.migration)
    yield connection
    await connection.close()


@pytest.fixture
async def ann(make_scope: MakeScope) -> Member:
    return await make_scope()


@pytest.fixture
async def wide(
    shelf: Shelf, database_urls: DatabaseUrls, owner: AnyConnection, ann: Member
) -> SpaceModel:
    """A model with an index of vectors without passages, to which nothing but the size matters."""
    await register_model(database_urls.migration, WIDE, DIMENSIONS)
    (model,) = [
        it for it in await SpaceAdministration(shelf.database).list_models() if it.name == WIDE
    ]
    for key in await owner.fetch(
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = 'chunk_embeddings'::regclass"
    ):
        await owner.execute(f"ALTER TABLE chunk_embeddings DROP CONSTRAINT {key['conname']}")
    await owner.execute("ALTER TABLE chunk_embeddings NO FORCE ROW LEVEL SECURITY")
    await owner.execute(_FILL, model.id, ann.tenant_id, FILLED)
    return model


async def wear(owner: AnyConnection) -> None:
    """Delete all but a tenth."""
    await owner.execute(
        "DELETE FROM chunk_embeddings WHERE chunk_id > $1::bigint", 1_000_000 + FILLED // 10
    )
    await owner.execute("VACUUM chunk_embeddings")


async def size_of(urls: DatabaseUrls, model: SpaceModel) -> int:
    size = await measure_index(urls.migration, index_name(model.id))
    assert size is not None
    assert size.is_valid
    return size.index_bytes


async def test_an_index_is_built_anew_once_it_is_worn_by_one_worker(
    shelf: Shelf, database_urls: DatabaseUrls, owner: AnyConnection, wide: SpaceModel
) -> None:
    workers = [IndexRebuilds(shelf.database, database_urls.migration) for _ in range(2)]
    full = await size_of(database_urls, wide)
    assert await workers[0].rebuild_worn() == 0, "all of it is in use"
    await wear(owner)
    assert await size_of(database_urls, wide) == full
    assert sum(await asyncio.gather(*(it.rebuild_worn() for it in workers))) == 1
    assert await size_of(database_urls, wide) < full / 5
    found = await SpaceRepository().find_rebuild(owner, wide.id)
    assert found is not None
    assert found["ended_at"] is not None
    assert (found["index_bytes"], found["vectors"]) == (
        await size_of(database_urls, wide),
        FILLED // 10,
    )
    shown = await find_rebuild(database_urls.migration, wide)
    assert shown is not None
    assert shown.ended_at == found["ended_at"]
    assert await workers[0].rebuild_worn() == 0


async def test_one_that_is_large_though_it_was_built_anew_is_left_alone(
    shelf: Shelf, database_urls: DatabaseUrls, owner: AnyConnection, wide: SpaceModel
) -> None:
    rebuilds, repository = IndexRebuilds(shelf.database, database_urls.migration), SpaceRepository()
    await wear(owner)
    fence = await repository.claim_rebuild(owner, wide.id, LEASE, 0)
    assert fence is not None
    as_it_is = await size_of(database_urls, wide)
    await repository.end_rebuild(owner, wide.id, fence, as_it_is, FILLED // 10)
    assert await rebuilds.rebuild_worn() == 0
    await owner.execute("DELETE FROM chunk_embeddings WHERE chunk_id > 1000010")
    assert await rebuilds.rebuild_worn() == 1, "it has worn since"


async def test_while_another_worker_has_it_nobody_else_builds(
    shelf: Shelf, database_urls: DatabaseUrls, owner: AnyConnection, wide: SpaceModel
) -> None:
    rebuilds, repository = IndexRebuilds(shelf.database, database_urls.migration), SpaceRepository()
    await wear(owner)
    first = await repository.claim_rebuild(owner, wide.id, LEASE, 0)
    assert first is not None
    assert await rebuilds.rebuild_worn() == 0
    # Its worker was killed, and its lease ends.
    await owner.execute("UPDATE index_rebuilds SET leased_until = now() - interval '1 second'")
    shown = await find_rebuild(database_urls.migration, wide)
    assert shown is not None
    assert not shown.is_under_way, "nobody is at it"
    second = await repository.claim_rebuild(owner, wide.id, LEASE, first)
    assert second is not None
    assert second == first + 1
    assert not await repository.report_rebuild(owner, wide.id, first, "building", 1, 2, LEASE)
    assert await repository.report_rebuild(owner, wide.id, second, "building", 1, 2, LEASE)
    await repository.release_rebuild(owner, wide.id, first)
    assert await rebuilds.rebuild_worn() == 0, "who was taken over releases nothing"
    await repository.release_rebuild(owner, wide.id, second)
    assert await rebuilds.rebuild_worn() == 1


@pytest.mark.usefixtures("wide")
async def test_who_measured_before_another_one_built_does_not_build_once_more(
    shelf: Shelf, database_urls: DatabaseUrls, owner: AnyConnection
) -> None:
    await wear(owner)
    another = IndexRebuilds(shelf.database, database_urls.migration)
    built: list[int] = []

    class Overtaken(IndexRebuilds):
        async def _count(self, model: SpaceModel) -> int:
            if not built:
                built.append(0)
                built.append(await another.rebuild_worn())
            return await super()._count(model)

    assert await Overtaken(shelf.database, database_urls.migration).rebuild_worn() == 0
    assert built == [0, 1]


async def interrupt(urls: DatabaseUrls, name: str) -> None:
    """Begin to build an index anew, and break off."""
    builder = await asyncpg.connect(urls.migration)
    writer = await asyncpg.connect(urls.migration)
    try:
        # The writer keeps it from its end.
        await writer.execute("BEGIN; LOCK TABLE chunk_embeddings IN ROW EXCLUSIVE MODE")
        await builder.execute("SET statement_timeout = '3s'")
        with pytest.raises(asyncpg.QueryCanceledError):
            await builder.execute(f"REINDEX INDEX CONCURRENTLY {name}")
    finally:
        await writer.close()
        await builder.close()


@pytest.mark.parametrize("is_worn", [True, False])
async def test_what_an_interrupted_rebuild_has_left_is_dropped_by_the_next_round(
    shelf: Shelf, database_urls: DatabaseUrls, owner: AnyConnection, wide: SpaceModel, is_worn: bool
) -> None:
    """Whether or not the index is worn still: one that broke off after the exchange has left the old one."""
    if is_worn:
        await wear(owner)
    name = index_name(wide.id)
    leftover = f"SELECT to_regclass('{name}_ccnew') IS NOT NULL"
    await interrupt(database_urls, name)
    assert await owner.fetchval(leftover)
    rebuilds = IndexRebuilds(shelf.database, database_urls.migration)
    assert await rebuilds.rebuild_worn() == is_worn
    assert not await owner.fetchval(leftover)
