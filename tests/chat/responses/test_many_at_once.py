"""Many requests of one tenant at once: those that wait to begin leave connections for whatever else there is to do."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

from tests.chat.responses.test_sources import service
from tests.chat.responses.test_streams import in_background
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from tests.stepping import until_blocked
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.metering.models import Spent
from undercroft.metering.service import Charge, Metering


@asynccontextmanager
async def locked(database_urls: DatabaseUrls, *tables: str) -> AsyncGenerator[None]:
    """Tables that nobody writes in meanwhile."""
    owner = await asyncpg.connect(database_urls.migration)
    try:
        async with owner.transaction():
            await owner.execute(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")
            yield
    finally:
        await owner.close()


async def test_those_that_wait_leave_connections_for_others(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    """Kept answers and what is kept nowhere together."""
    ann, bob = await make_scope(), await make_scope()
    metering = Metering(shelf.stepped, IdSource())
    responses = service(shelf, ScriptedModel("One"), metering=metering)

    async def keep(scope: Member) -> None:
        await responses.begin(scope, in_background())

    async def count(scope: Member) -> None:
        async with metering.metered(Charge(scope), "echo", 1) as metered:
            metered.spent = Spent(1)

    async with Database(database_urls.service, clock=SystemClock(), size=1) as observer:
        async with locked(database_urls, "responses", "metered_requests"):
            asked = [
                asyncio.create_task(ask(ann))
                for _ in range(shelf.stepped.size)
                for ask in (keep, count)
            ]
            await until_blocked(observer, shelf.stepped.size // 2)
            async with shelf.stepped.transaction(bob) as transaction:
                assert await transaction.fetchval("SELECT count(*) FROM responses") == 0
        await asyncio.gather(*asked)
    await responses.runs.close()
