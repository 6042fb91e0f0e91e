"""Weights of a tenant's passages: in the end all are by one formula and one average, whoever makes them."""

import asyncio

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.index.test_statistics import insert_blob
from tests.shelf import Shelf
from tests.stepping import until_blocked
from undercroft.jobs.errors import FencedError
from undercroft.jobs.service import JobQueue
from undercroft.kit.ids import IdSource
from undercroft.retrieval.index.models import REWEIGHT_JOB
from undercroft.retrieval.index.repository import IndexRepository

REPOSITORY = IndexRepository()


@pytest.fixture
async def ann(shelf: Shelf, make_scope: MakeScope) -> Member:
    """Somebody whose passages are by a former formula, and are to be weighted again."""
    ann = await make_scope()
    await insert_blob(shelf.database, ann, ["mill river stone", "mill mill bridge lantern"])
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE corpus_statistics SET formula = 1, weighted_average = 40")
        await JobQueue(IdSource()).enqueue(transaction, ann, REWEIGHT_JOB, {}, dedupe_key="tenant")
    return ann


async def is_stale(shelf: Shelf, scope: Member) -> bool:
    async with shelf.database.transaction(scope) as transaction:
        return await REPOSITORY.is_average_stale(transaction, 0.1)


async def state(shelf: Shelf, scope: Member) -> list[tuple[object, ...]]:
    async with shelf.database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT c.id, c.terms::text, s.weighted_average, s.formula FROM chunks AS c"
            " JOIN corpus_statistics AS s USING (tenant_id) ORDER BY c.id"
        )
    return [tuple(row) for row in rows]


async def test_once_all_are_weighted_they_are_not_stale(shelf: Shelf, ann: Member) -> None:
    assert await is_stale(shelf, ann)
    await shelf.run_jobs(ann)
    assert not await is_stale(shelf, ann)


async def test_what_was_weighted_in_part_is_weighted_again(
    shelf: Shelf, ann: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a job is given up that was killed once too often, or ran for too long."""

    async def lose(*_: object) -> None:
        raise asyncpg.ConnectionDoesNotExistError

    claim = await shelf.claim(ann)
    assert claim is not None
    with monkeypatch.context() as patch:
        patch.setattr(IndexRepository, "reweight_chunks", lose)
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await shelf.handler(claim).run(shelf.context(claim))
    assert await is_stale(shelf, ann)


async def test_an_attempt_that_was_taken_over_weights_nothing(shelf: Shelf, ann: Member) -> None:
    late = await shelf.claim(ann)
    current = await shelf.claim(ann, "running")
    assert late is not None
    assert current is not None
    await shelf.handler(current).run(shelf.context(current))
    await insert_blob(shelf.database, ann, ["ledger " * 400])
    before = await state(shelf, ann)
    with pytest.raises(FencedError):
        await shelf.handler(late).run(shelf.context(late))
    assert await state(shelf, ann) == before


async def test_what_is_indexed_while_the_average_is_renewed_is_weighted_by_the_new_one(
    shelf: Shelf, ann: Member
) -> None:
    """The passages that are weighted again are those that are seen: what comes meanwhile is not among them."""
    async with shelf.database.transaction(ann) as renewing:
        average = await REPOSITORY.renew_average(renewing)
        adding = asyncio.create_task(insert_blob(shelf.database, ann, ["harbour winter orchard"]))
        await until_blocked(shelf.database)
        assert average is not None
        await REPOSITORY.reweight_chunks(renewing, average, 0, 100)
    await adding
    async with shelf.database.transaction(ann) as transaction:
        assert await transaction.fetchval(
            "SELECT bool_and(terms::text = bm25_weights(lexemes, $1)::text) FROM chunks", average
        )
