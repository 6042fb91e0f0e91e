"""A library of 3,000 documents: made once by each process that runs tests, and copied for each test that wants it."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass

import asyncpg
import numpy as np
import pytest

from tests import rows
from tests.conftest import scope_maker
from tests.database_server import fresh_database
from tests.retrieval.search.test_at_size import (
    DOCUMENTS,
    GRANTS,
    MEMBERSHIPS,
    MODEL,
    SHARES,
    Library,
    draw_vectors,
    fill,
)
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection


@dataclass(frozen=True, slots=True)
class LibraryTemplate:
    """The library, and the database that is copied: nobody connects to it."""

    urls: DatabaseUrls
    library: Library


@pytest.fixture(scope="session")
def library_template(database_server: DatabaseUrls) -> Generator[LibraryTemplate]:
    """To make it takes a processor four seconds, to copy it a tenth of one."""
    with asyncio.Runner() as runner:
        database = fresh_database(database_server)
        urls = runner.run(database.__aenter__())
        try:
            yield LibraryTemplate(urls, runner.run(_make_library(urls)))
        finally:
            runner.run(database.__aexit__(None, None, None))


async def _make_library(urls: DatabaseUrls) -> Library:
    await register_model(urls.migration, *MODEL)
    draw = np.random.default_rng(1)
    async with Database(urls.service, clock=SystemClock(), size=2) as database:
        make_scope = scope_maker(database)
        ann = await make_scope()
        vectors = draw_vectors(DOCUMENTS, draw)
        readers = {
            share: (
                await make_scope(ann.tenant_id),
                draw.permutation(DOCUMENTS)[: max(1, round(share * DOCUMENTS))],
            )
            for share in SHARES
        }
        async with database.transaction(ann) as transaction:
            collection_id = await rows.insert_collection(transaction, ann)
            ids = await fill(transaction, vectors)
            await transaction.execute(MEMBERSHIPS, collection_id)
            for reader, places in readers.values():
                granted = [ids[place] for place in places]
                await transaction.execute(GRANTS, granted, reader.principal_id)
            chunks = await transaction.fetch("SELECT id FROM chunks ORDER BY blob_id")
    owner = await asyncpg.connect(urls.migration)
    await owner.execute("ANALYZE")
    await owner.close()
    return Library(ann, collection_id, [row["id"] for row in chunks], vectors, readers)


@pytest.fixture
async def database_urls(
    request: pytest.FixtureRequest, database_server: DatabaseUrls
) -> AsyncGenerator[DatabaseUrls]:
    """A database of this test's own: with the library where the test asks for that, else empty."""
    template: DatabaseUrls | None = None
    if "library_template" in request.fixturenames:
        template = request.getfixturevalue("library_template").urls
    async with fresh_database(database_server, template=template) as urls:
        yield urls


@pytest.fixture
def library(library_template: LibraryTemplate) -> Library:
    """3,000 documents, and readers with grants on some of them."""
    return library_template.library


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    """A connection that may change functions."""
    connection = await asyncpg.connect(database_urls.migration)
    # pgvector's own settings are nobody's but a superuser's until a session has loaded it.
    await connection.execute("SELECT '[1]'::vector")
    yield connection
    await connection.close()
