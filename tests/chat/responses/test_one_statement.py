"""A response ends by one statement: its state, its last events and what it took, or nothing of them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.chat.responses.test_sources import id_of, service
from tests.chat.responses.test_streams import in_background, read
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.round_trips import counted_wire
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate, SteppedDatabase, rolled_back, until_blocked
from undercroft.chat.responses.models import ResponseEnd
from undercroft.chat.responses.repository import ResponseRepository
from undercroft.chat.responses.service import ResponseService
from undercroft.chat.streams.models import Lease, Run
from undercroft.kit.clock import SystemClock
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.metering.models import Ending, Spent

BEGINNING = ("BEGIN and the scope", "key", "ledger", "response", "usage", "stream", "COMMIT")
ENDING = ("all of it",)


@asynccontextmanager
async def being_made(shelf: Shelf, ann: Member) -> AsyncGenerator[tuple[ResponseService, Lease]]:
    """A response whose model has said a word, and no more until this ends."""
    gate = Gate()
    responses = service(shelf, ScriptedModel("So ", "it is.", gate=gate))
    begun = id_of(await responses.begin(ann, in_background()))
    await gate.wait_until_reached()
    running = responses.runs.running[begun]
    await responses._process.writer.settle(running.stream)
    yield responses, running.lease
    gate.open()
    assert running.task is not None
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({running.task})


async def state_of(shelf: Shelf, scope: Member) -> tuple[Any, ...]:
    """What there is of the one response: its own state, its stream's, and its request's."""
    async with shelf.database.transaction(scope) as transaction:
        row = await transaction.fetchrow(
            "SELECT r.status, r.sealed_resource, s.last_number, s.ended_at, s.sealed_request,"
            " m.ended_at AS metered_at, m.output_tokens FROM responses AS r"
            " JOIN response_streams AS s ON s.response_id = r.id JOIN metered_requests AS m ON m.id = r.id"
        )
    assert row is not None
    return tuple(row)


async def end(
    shelf: Shelf, scope: Member, lease: Lease, previous: int, sealed: bytes = b"end"
) -> Ending | None:
    run = Run(lease, previous, previous + 1, b"events")
    ended = ResponseEnd("completed", sealed, run, "moved", Spent(1, 2))
    async with shelf.database.scoped_statement() as connection:
        return await ResponseRepository().end_response_alone(connection, scope, ended)


@pytest.mark.parametrize("lost", ["the fence", "the place"])
async def test_who_has_lost_the_stream_changes_nothing(
    shelf: Shelf, make_scope: MakeScope, lost: str
) -> None:
    ann = await make_scope()
    async with being_made(shelf, ann) as (_, lease):
        before = await state_of(shelf, ann)
        last = before[2]
        if lost == "the fence":
            ending = end(shelf, ann, replace(lease, fence=lease.fence + 1), last)
        else:
            ending = end(shelf, ann, lease, last - 1)
        assert await ending is None
        assert await state_of(shelf, ann) == before


async def test_it_ends_in_all_three_places_once(shelf: Shelf, make_scope: MakeScope) -> None:
    ann, eve = await make_scope(), await make_scope()
    async with being_made(shelf, ann) as (_, lease):
        last = (await state_of(shelf, ann))[2]
        # Another tenant's scope ends nothing.
        assert await end(shelf, eve, lease, last) is None
        assert await end(shelf, ann, lease, last) is Ending.SETTLED
        status, sealed, number, ended_at, request, metered_at, taken = await state_of(shelf, ann)
        assert (status, sealed, number, request, taken) == ("completed", b"end", last + 1, None, 2)
        assert ended_at == metered_at
        assert await end(shelf, ann, lease, last) is None


async def test_of_one_whose_source_was_erased_nothing_is_kept(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    async with being_made(shelf, ann) as (_, lease):
        last = (await state_of(shelf, ann))[2]
        async with shelf.database.transaction(ann) as transaction:
            await transaction.execute(
                "UPDATE responses SET data_key_id = NULL, sealed_resource = ''"
            )
        assert await end(shelf, ann, lease, last) is Ending.SETTLED
        assert (await state_of(shelf, ann))[1] == b""


async def test_it_locks_the_response_before_its_stream(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    async with being_made(shelf, ann) as (_, lease):
        last = (await state_of(shelf, ann))[2]
        async with rolled_back(shelf.database, ann) as transaction:
            # As whoever erases it, who has its stream next.
            await transaction.execute("SELECT FROM responses FOR UPDATE")
            ending = asyncio.create_task(end(shelf, ann, lease, last))
            await until_blocked(shelf.database)
            async with asyncio.timeout(PATIENCE):
                await transaction.execute("SELECT FROM response_streams FOR UPDATE NOWAIT")
        assert await ending is Ending.SETTLED


async def test_how_often_a_kept_response_goes_to_the_database(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    async with (
        counted_wire(database_urls.service) as (url, wire),
        SteppedDatabase(url, clock=SystemClock(), size=1) as database,
    ):
        # Its batches of events go over another connection.
        counted = replace(shelf, stepped=database)
        responses = service(counted, ScriptedModel("So it is."))

        async def ask() -> UUID:
            events = await read(responses.stream(ann, in_background()))
            return id_of(events[0]["response"])

        # Statements are prepared, a tenant's key and log looked up, once for each connection and process.
        await ask()
        before = wire.round_trips
        await ask()
        assert wire.round_trips - before == len(BEGINNING) + len(ENDING)
