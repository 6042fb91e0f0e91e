"""What is outside becomes what is here, whatever comes between."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import numpy as np
import pytest

from tests import rows
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_at_size import MODEL, draw_vectors, fill
from tests.retrieval.vectors.archive import SHOWN, ask, find
from tests.retrieval.vectors.conftest import Qdrant
from tests.stepping import PATIENCE, Gate, rolled_back
from undercroft.kit.database import Database
from undercroft.kit.migrations import register_model, want_outside_index
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.spaces.service import SpaceAdministration
from undercroft.retrieval.vectors.errors import VectorIndexError
from undercroft.retrieval.vectors.models import Point, Space
from undercroft.retrieval.vectors.points import Points
from undercroft.retrieval.vectors.synchronising import VectorSync

VECTORS: Final = draw_vectors(40, np.random.default_rng(4))
_ALL: Final = "SELECT id FROM chunks ORDER BY id"


@pytest.fixture
async def ann(
    qdrant: Qdrant, database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> Member:
    """Somebody whose first documents are outside."""
    await register_model(database_urls.migration, *MODEL)
    member = await make_scope()
    async with database.transaction(member) as transaction:
        await rows.insert_key(transaction, member)
        await fill(transaction, VECTORS[:20])
    await qdrant.sync.bring_pending()
    assert await outside(qdrant) == await here(database, member)
    return member


async def outside(qdrant: Qdrant) -> list[int]:
    """The ids that Qdrant has, of all its collections."""
    ids: list[int] = []
    for collection in (await qdrant.client.get_collections()).collections:
        found, _ = await qdrant.client.scroll(collection.name, limit=10_000)
        ids += [each.id for each in found if isinstance(each.id, int)]
    return sorted(ids)


async def here(database: Database, member: Member) -> list[int]:
    """The ids that the tenant has."""
    async with database.transaction(member) as transaction:
        return [row["id"] for row in await transaction.fetch(_ALL)]


async def change(database: Database, member: Member, statement: str) -> None:
    async with database.transaction(member) as transaction:
        await transaction.execute(statement)


async def notes(database: Database, member: Member) -> int:
    async with database.transaction(member) as transaction:
        count: int = await transaction.fetchval("SELECT count(*) FROM pending_vectors")
    return count


async def end_leases(database: Database, member: Member) -> None:
    """As if a minute had gone."""
    async with database.transaction(member) as transaction:
        await transaction.execute(
            "WITH again AS (DELETE FROM pending_vectors RETURNING tenant_id, chunk_ids)"
            " INSERT INTO pending_vectors (tenant_id, chunk_ids) SELECT tenant_id, chunk_ids FROM again"
        )


async def test_what_is_inserted_and_deleted_is_brought_and_nothing_that_was_rolled_back(
    qdrant: Qdrant, database: Database, ann: Member
) -> None:
    async with rolled_back(database, ann) as transaction:
        await fill(transaction, VECTORS[20:])
    assert await qdrant.sync.bring_pending() == 0
    async with database.transaction(ann) as transaction:
        await fill(transaction, VECTORS[20:])
    assert await notes(database, ann) == 1
    assert await qdrant.sync.bring_pending() == 1
    assert len(await outside(qdrant)) == 40
    await change(database, ann, "DELETE FROM chunks")
    assert await notes(database, ann) == 1
    assert await qdrant.sync.bring_pending() == 1
    assert await outside(qdrant) == []
    assert await notes(database, ann) == 0


class Breaking(Points):
    """Fails, or waits for something, before or after it has put points."""

    def __init__(self, qdrant: Qdrant, before: Callable[[], Awaitable[None]] | None = None) -> None:
        self.__dict__.update(vars(qdrant.points))
        self._before = before

    async def put(self, space: Space, points: Sequence[Point]) -> None:
        if self._before is None:
            raise VectorIndexError("gone")
        await self._before()
        await super().put(space, points)


async def test_what_a_crash_or_an_outage_left_is_brought_after_its_lease(
    qdrant: Qdrant, database: Database, ann: Member
) -> None:
    async with database.transaction(ann) as transaction:
        await fill(transaction, VECTORS[20:])
    dying = VectorSync(database, Breaking(qdrant))
    dying._prepared |= qdrant.sync._prepared
    assert await dying.bring_pending() == 0
    assert await notes(database, ann) == 1
    assert await qdrant.sync.bring_pending() == 0, "it is another's for a minute"
    await end_leases(database, ann)
    assert await qdrant.sync.bring_pending() == 1
    assert await outside(qdrant) == await here(database, ann)


async def test_what_is_put_after_another_has_taken_it_away_does_not_stay(
    qdrant: Qdrant, database: Database, ann: Member
) -> None:
    async with database.transaction(ann) as transaction:
        await fill(transaction, VECTORS[20:])
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go_on.wait()

    slow = VectorSync(database, Breaking(qdrant, wait))
    slow._prepared |= qdrant.sync._prepared
    bringing = asyncio.create_task(slow.bring_pending())
    await reached.wait()
    await change(database, ann, "DELETE FROM chunks WHERE id IN (SELECT max(id) FROM chunks)")
    await qdrant.sync.bring_pending()
    go_on.set()
    await bringing
    assert len(await outside(qdrant)) == 39
    assert await outside(qdrant) == await here(database, ann)


async def test_both_sides_are_compared_and_mended(
    qdrant: Qdrant, database: Database, ann: Member
) -> None:
    assert await qdrant.sync.compare() == 0
    (collection,) = (await qdrant.client.get_collections()).collections
    model_id = int(collection.name.rsplit("-", 1)[1])
    async with database.transaction_without_scope() as transaction:
        index_id = await transaction.fetchval("SELECT id FROM outside_index")
    space, ids = Space(index_id, model_id), await here(database, ann)
    await qdrant.points.remove(space, ids[:3])
    stray = Point(max(ids) + 1_000, ann.tenant_id, VECTORS[0])
    await qdrant.points.put(space, [stray])
    # Whoever has just begun leaves it to what begins by it.
    assert await VectorSync(database, qdrant.points).compare_again() == 0
    assert await qdrant.sync.compare_again() == 4
    assert await outside(qdrant) == ids
    await qdrant.points.remove(space, ids[:1])
    failing = VectorSync(database, Breaking(qdrant))
    failing._prepared |= qdrant.sync._prepared
    assert await failing.compare_again() == 0
    assert await qdrant.sync.compare() == 1


async def test_a_server_that_was_emptied_is_filled_again_and_not_asked_meanwhile(
    qdrant: Qdrant, database: Database, ann: Member
) -> None:
    for collection in (await qdrant.client.get_collections()).collections:
        await qdrant.client.delete_collection(collection.name)
    with pytest.raises(VectorIndexError):
        await find(qdrant.index, ann, ask(VECTORS[0]))
    started = VectorSync(database, Breaking(qdrant))
    assert await started.bring_pending() == 0
    # It was found empty, and could not be filled: PostgreSQL answers.
    assert len(await find(qdrant.index, ann, ask(VECTORS[0]))) == SHOWN
    assert await outside(qdrant) == []
    await VectorSync(database, qdrant.points).bring_pending()
    assert await outside(qdrant) == await here(database, ann)


async def test_a_model_that_is_no_more_has_no_place_left(
    qdrant: Qdrant, ann: Member, database: Database
) -> None:
    del ann
    async with database.transaction_without_scope() as transaction:
        index_id = await transaction.fetchval("SELECT id FROM outside_index")
    await qdrant.points.make(Space(index_id, 99), 4)
    await qdrant.client.create_collection("somebody-elses", vectors_config={})
    await qdrant.sync.compare()
    names = {each.name for each in (await qdrant.client.get_collections()).collections}
    assert f"undercroft-{index_id.hex}-99" not in names
    assert "somebody-elses" in names
    assert len(names) == 2


async def test_of_a_retired_model_nothing_stays(
    qdrant: Qdrant, database: Database, database_urls: DatabaseUrls, ann: Member
) -> None:
    await register_model(database_urls.migration, "incoming", 8)
    await qdrant.sync.bring_pending()
    before = {each.name for each in (await qdrant.client.get_collections()).collections}
    assert len(before) == 2
    spaces = SpaceAdministration(database)
    (model,) = [it for it in await spaces.list_models() if it.name == "incoming"]
    await spaces.retire("incoming")
    await qdrant.sync.bring_pending()
    (left,) = (await qdrant.client.get_collections()).collections
    assert not left.name.endswith(f"-{model.id}")
    assert await outside(qdrant) == await here(database, ann)
    await VectorSync(database, qdrant.points).bring_pending()
    assert len((await qdrant.client.get_collections()).collections) == 1, "nor is it made again"
    # Brought back, it has a place again.
    await register_model(database_urls.migration, "incoming", 8)
    await qdrant.sync.bring_pending()
    assert {each.name for each in (await qdrant.client.get_collections()).collections} == before


class Paused(Points):
    """Waits before it lists what is there: what may take an hour."""

    def __init__(self, qdrant: Qdrant, gate: Gate) -> None:
        self.__dict__.update(vars(qdrant.points))
        self._gate = gate

    async def list_ids(self, space: Space, first: int, limit: int) -> tuple[list[int], int | None]:
        await self._gate.pass_through()
        return await super().list_ids(space, first, limit)


async def test_a_model_that_comes_during_a_comparison_keeps_its_place(
    qdrant: Qdrant, database: Database, database_urls: DatabaseUrls, ann: Member
) -> None:
    del ann
    gate = Gate()
    comparing = asyncio.create_task(VectorSync(database, Paused(qdrant, gate)).compare())
    await gate.wait_until_reached()
    await register_model(database_urls.migration, "incoming", 8)
    await qdrant.sync.bring_pending()
    places = await qdrant.client.get_collections()
    assert len(places.collections) == 2
    gate.open()
    await comparing
    assert await qdrant.client.get_collections() == places


async def test_a_model_that_nothing_was_compared_for_leaves_it_incomplete(
    qdrant: Qdrant, database: Database, database_urls: DatabaseUrls, ann: Member
) -> None:
    del ann
    gate = Gate()
    (place,) = (await qdrant.client.get_collections()).collections
    await qdrant.client.delete_collection(place.name)
    comparing = asyncio.create_task(VectorSync(database, Paused(qdrant, gate)).compare())
    await gate.wait_until_reached()
    await register_model(database_urls.migration, "incoming", 8)
    gate.open()
    await comparing
    async with database.transaction_without_scope() as transaction:
        assert not await transaction.fetchval("SELECT is_complete FROM outside_index")
    await qdrant.sync.bring_pending()
    async with database.transaction_without_scope() as transaction:
        assert await transaction.fetchval("SELECT is_complete FROM outside_index")


async def test_what_is_not_wanted_any_more_is_neither_noted_nor_asked(
    qdrant: Qdrant, database: Database, database_urls: DatabaseUrls, ann: Member
) -> None:
    await want_outside_index(database_urls.migration, is_wanted=False)
    async with database.transaction(ann) as transaction:
        await fill(transaction, VECTORS[20:])
    assert await notes(database, ann) == 0
    assert await qdrant.sync.bring_pending() == 0
    assert len(await find(qdrant.index, ann, ask(VECTORS[0]))) == SHOWN
    await want_outside_index(database_urls.migration, is_wanted=True)
    # What came meanwhile is brought before anything is asked.
    await VectorSync(database, qdrant.points).bring_pending()
    assert await outside(qdrant) == await here(database, ann)


async def test_what_is_being_inserted_while_it_becomes_wanted_is_not_missed(
    qdrant: Qdrant, database: Database, database_urls: DatabaseUrls, ann: Member
) -> None:
    await want_outside_index(database_urls.migration, is_wanted=False)
    async with database.transaction(ann) as transaction:
        await fill(transaction, VECTORS[20:])
        wanting = asyncio.create_task(want_outside_index(database_urls.migration, is_wanted=True))
        async with asyncio.timeout(PATIENCE):
            while not await transaction.fetchval(_IS_WAITED_FOR):
                pass
    await wanting
    await VectorSync(database, qdrant.points).bring_pending()
    assert await outside(qdrant) == await here(database, ann)


_IS_WAITED_FOR: Final = """
SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'chunk_embeddings'::regclass AND NOT granted)
"""
