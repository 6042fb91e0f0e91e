"""How often a search goes to the database and back, and that what it brings along ends with its statement."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.conftest import MakeScope
from tests.round_trips import Wire, counted_wire
from tests.shelf import Shelf
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.search.service import SearchService

LEGS = 3
"""Words, spaces and what is near: one statement each, and the first two at once with the embedding."""
READING = 4
"""What is read and what is put on record, and where that begins and ends."""

TEXTS = {
    "mill.txt": "The watermill on the Alder grinds barley for three villages.",
    "clock.txt": "The town clock was repaired by Marta Quill in 1987.",
}


@asynccontextmanager
async def wired(shelf: Shelf, urls: DatabaseUrls) -> AsyncGenerator[tuple[SearchService, Wire]]:
    """The shelf's search, over a wire that counts."""
    async with (
        counted_wire(urls.service) as (url, wire),
        Database(url, clock=SystemClock(), size=2) as database,
    ):
        yield SearchService(database, shelf.keys, shelf.ledger, shelf.embedder), wire


@pytest.mark.parametrize(
    ("text", "is_typed", "more"),
    [
        ("Who repaired the town clock?", False, 0),
        # Which of its words the passages have.
        ("town clock", True, 1),
        # And which passages are as demanded, and whether they are in parts that are shared.
        ('"town clock"', True, 3),
    ],
)
async def test_a_search_goes_to_the_database_as_often_as_it_has_to(
    shelf: Shelf,
    make_scope: MakeScope,
    database_urls: DatabaseUrls,
    text: str,
    is_typed: bool,
    more: int,
) -> None:
    ann = await make_scope()
    await shelf.fill(ann, TEXTS)
    query = SearchQuery((), text, 10, is_everywhere=True, is_typed=is_typed)
    async with wired(shelf, database_urls) as (search, wire):
        counts: list[int] = []
        # A statement is prepared on each connection before it counts as one.
        for _ in range(12):
            before = wire.round_trips
            assert (await search.search(ann, query)).passages
            counts.append(wire.round_trips - before)
    assert min(counts) == counts[-1] == LEGS + READING + more, counts


async def test_no_scope_of_a_leg_stays_with_its_connection(
    shelf: Shelf, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    await shelf.fill(ann, TEXTS)
    query = SearchQuery((), "town clock", 10, is_everywhere=True)
    async with Database(database_urls.service, clock=SystemClock(), size=1) as database:
        search = SearchService(database, shelf.keys, shelf.ledger, shelf.embedder)
        assert (await search.search(replace(ann, purpose="audit"), query)).passages
        # The connection that was used is the only one.
        async with database.statement_without_scope() as connection:
            assert await connection.fetchval("SELECT current_tenant()") is None
            assert await connection.fetchval("SELECT current_principal()") is None
            assert await connection.fetchval("SELECT current_purpose()") is None
            assert await connection.fetchval("SELECT count(*) FROM documents") == 0
