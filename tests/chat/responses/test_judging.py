"""All tabs of one caller are judged by one question, which is never older than what it lets them see."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.chat.responses.test_sources import ANSWER, RENT, id_of, request, service
from tests.chat.responses.test_streams import asking
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope
from tests.documents import make_trash
from tests.round_trips import counted_wire
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate
from undercroft.chat.responses.judging import Judgements
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.sharing.errors import AccessRevokedError

TABS = 200
QUESTION = ("BEGIN and the scope", "the response", "COMMIT")


async def test_two_questions_serve_any_number_of_tabs(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann, eve = await make_scope(), await make_scope()
    made = id_of(await service(shelf, ScriptedModel("One.")).create(ann, asking()))
    async with (
        counted_wire(database_urls.service) as (url, wire),
        Database(url, clock=SystemClock(), size=1) as database,
    ):
        judgements = Judgements(database, shelf.keys)
        await judgements.ask(ann, made)
        before = wire.round_trips
        async with asyncio.timeout(PATIENCE):
            judged = await asyncio.gather(*(judgements.ask(ann, made) for _ in range(TABS)))
        assert all(row is not None and row["id"] == made for row in judged)
        # The first one's, and that of all who came while it was under way.
        assert wire.round_trips - before <= 2 * len(QUESTION)
        # A question is of one caller.
        both = await asyncio.gather(judgements.ask(ann, made), judgements.ask(eve, made))
        assert [row is None for row in both] == [False, True]


class Reluctant(Database):
    """A database whose transactions stop at a gate once they have read."""

    gate: Gate | None = None

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncGenerator[Transaction]:
        async with super().transaction(scope) as transaction:
            yield transaction
            if self.gate is not None:
                await self.gate.pass_through()


async def test_who_asks_once_something_is_lost_has_no_part_in_an_earlier_question(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    made = id_of(await service(shelf, ScriptedModel(*ANSWER)).create(ann, request(collection)))
    async with Reluctant(database_urls.service, clock=SystemClock(), size=1) as database:
        judgements = Judgements(database, shelf.keys)
        database.gate = Gate()
        earlier = asyncio.create_task(judgements.ask(ann, made))
        await database.gate.wait_until_reached()
        await make_trash(shelf.documents).put(ann, documents["lease.txt"])
        later = asyncio.create_task(judgements.ask(ann, made))
        await asyncio.sleep(0)
        database.gate.open()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait({earlier, later})
    assert earlier.result() is not None
    with pytest.raises(AccessRevokedError):
        await later
