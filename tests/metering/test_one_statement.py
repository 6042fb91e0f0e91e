"""A request that is kept nowhere begins and ends by one statement each: as exactly, and seen by nobody else."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.conftest import MakeScope
from tests.identity.credentials import Desk
from tests.metering.test_service import TENANT, Bench, bench, count
from tests.round_trips import counted_wire
from tests.stepping import Gate
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.kit.sql import PooledConnection
from undercroft.metering.models import QuotaKind, Spent, Whose
from undercroft.metering.service import Charge, Metering

__all__ = ["bench"]

BEGINNING, ENDING = 1, 1
"""Ways to the database and back."""


async def ask(metering: Metering, scope: Scope, tokens: int = 10) -> None:
    async with metering.metered(Charge(scope), "echo", tokens) as metered:
        metered.spent = Spent(tokens)


async def test_it_goes_to_the_database_twice(
    database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    async with (
        counted_wire(database_urls.service) as (url, wire),
        Database(url, clock=SystemClock(), size=1) as database,
    ):
        metering = Metering(database, IdSource())
        # Statements are prepared once for each connection.
        await ask(metering, ann)
        before = wire.round_trips
        await ask(metering, ann)
        assert wire.round_trips - before == BEGINNING + ENDING


async def test_its_scope_ends_with_its_statement(
    database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    async with Database(database_urls.service, clock=SystemClock(), size=1) as database:
        await ask(Metering(database, IdSource()), ann)
        # The connection that was used is the only one.
        async with database.statement_without_scope() as connection:
            assert await connection.fetchval("SELECT current_tenant()") is None
            assert await connection.fetchval("SELECT current_principal()") is None
            assert await connection.fetchval("SELECT count(*) FROM metered_requests") == 0


@pytest.mark.parametrize(("requests", "tokens"), [(7, None), (None, 70), (7, 1000), (1000, 70)])
async def test_of_many_at_once_exactly_as_many_begin_as_there_is_room_for(
    bench: Bench, make_scope: MakeScope, requests: int | None, tokens: int | None
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, requests, tokens)
    assert await count([ask(bench.metering, ann) for _ in range(20)]) == 7
    # Of those that were refused nothing is left, in windows or out of them.
    assert await bench.used(ann) == (7, 70)
    async with bench.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM metered_requests") == 7


async def test_what_one_quota_refuses_is_counted_in_no_other(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, requests=100)
    await bench.set(ann, Whose(QuotaKind.USER, ann.principal_id), requests=1)
    assert await count([ask(bench.metering, ann) for _ in range(3)]) == 1
    assert [kept.requests for kept in await bench.quotas.list_all(ann)] == [1, 1]


async def test_the_keys_of_an_exchanged_token_are_counted_with_it(
    bench: Bench, make_scope: MakeScope
) -> None:
    desk = Desk(bench.database, make_scope)
    ann = await desk.person()
    held = await desk.key(ann, ("search",))
    robot = await desk.robot(ann.tenant_id)
    exchanged = await desk.exchange.exchange(robot, held.secret)
    acting = await desk.identity.authenticate(exchanged.secret)
    await bench.set(ann, Whose(QuotaKind.KEY, held.id), requests=2)
    assert await count([ask(bench.metering, acting) for _ in range(3)]) == 2


class _LateDatabase(Database):
    """A database whose answer to a statement that it has carried out is late."""

    gate: Gate | None = None

    @asynccontextmanager
    async def scoped_statement(self) -> AsyncGenerator[PooledConnection]:
        async with super().scoped_statement() as connection:
            yield connection
            gate, self.gate = self.gate, None
            if gate is not None:
                await gate.pass_through()


async def test_who_leaves_before_they_know_that_they_were_counted_holds_no_tokens(
    bench: Bench, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, tokens=100)
    async with _LateDatabase(database_urls.service, clock=SystemClock(), size=2) as database:
        database.gate = gate = Gate()
        asking = asyncio.create_task(ask(Metering(database, IdSource()), ann, 50))
        await gate.wait_until_reached()
        assert await bench.used(ann) == (1, 50)
        asking.cancel()
        await asyncio.wait({asking})
    assert asking.cancelled()
    assert await bench.used(ann) == (1, 0)
