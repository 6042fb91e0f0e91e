"""Whoever leaves while documents are searched costs nothing any more: also the statements end, in PostgreSQL."""

import asyncio
from contextlib import aclosing

import asyncpg
import pytest

from tests.chat.responses.test_sources import RENT, service
from tests.chat.responses.test_streams import asking, is_searching, until
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope
from tests.shelf import Shelf
from tests.stepping import count_blocked, until_blocked
from undercroft.chat.responses.room import RunLimits
from undercroft.kit.postgres.server import DatabaseUrls


@pytest.mark.parametrize("store", [True, False])
async def test_a_search_ends_in_the_database_when_its_reader_leaves(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope, store: bool
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    model = ScriptedModel("Never said.")
    responses = service(shelf, model, limits=RunLimits(grace_seconds=0))
    owner = await asyncpg.connect(database_urls.migration)
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE chunks IN ACCESS EXCLUSIVE MODE")
            async with aclosing(responses.stream(ann, asking(collection, store=store))) as events:
                await until(events, is_searching)
                if store:
                    await until_blocked(shelf.database)
                else:
                    # What is not kept is made as fast as it is read.
                    reading = asyncio.create_task(anext(events))
                    await until_blocked(shelf.database)
                    reading.cancel()
                    await asyncio.wait({reading})
            # At once, and not by a deadline: whoever left has waited for that.
            assert await count_blocked(shelf.database) == 0
    finally:
        await owner.close()
    assert not responses.runs.running
    assert model.requests == []
