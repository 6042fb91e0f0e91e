"""Every implementation of the vector index, over one test's database."""

import os
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pytest
from qdrant_client import AsyncQdrantClient

from tests.conftest import MakeScope
from tests.retrieval.vectors.archive import Archive, fill_archive
from tests.servers.qdrant_server import serving
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.migrations import want_outside_index
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.search.nearest import PostgresIndex
from undercroft.retrieval.vectors.outside import Compared, OutsideIndex
from undercroft.retrieval.vectors.points import Points
from undercroft.retrieval.vectors.protocol import VectorIndex
from undercroft.retrieval.vectors.synchronising import VectorSync

LIVE: Final = "UNDERCROFT_TEST_QDRANT_URL"
ALWAYS_ASKED: Final = Compared(documents=0, passages=20)
"""The archive is small: by its own limits nothing outside would be asked."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """A vector index.

    Attributes:
        settle: Waits until it has what PostgreSQL has.
    """

    index: VectorIndex
    settle: Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Qdrant:
    """One Qdrant and what is kept in it."""

    client: AsyncQdrantClient
    points: Points
    sync: VectorSync
    index: OutsideIndex


@pytest.fixture
async def qdrant(database: Database, database_urls: DatabaseUrls) -> AsyncGenerator[Qdrant]:
    """The client's local mode: the same client and the same calls, answered in this process."""
    async with _opened(database, database_urls, AsyncQdrantClient(":memory:")) as opened:
        yield opened


@pytest.fixture(params=["postgresql", "qdrant-local", "qdrant-rest", "qdrant-server"])
async def implementation(
    request: pytest.FixtureRequest, database: Database, database_urls: DatabaseUrls
) -> AsyncGenerator[Implementation]:
    """Each of them; Qdrant by its client's local mode, by that behind HTTP, and by a server where one is named."""
    own = PostgresIndex(database)
    if request.param == "postgresql":
        yield Implementation(own, _nothing)
        return
    async with AsyncExitStack() as stack:
        match request.param:
            case "qdrant-local":
                client = AsyncQdrantClient(":memory:")
            case "qdrant-rest":
                client = _by_http(await stack.enter_async_context(serving()))
            case _:
                client = _live()
        qdrant = await stack.enter_async_context(_opened(database, database_urls, client))
        yield Implementation(qdrant.index, qdrant.sync.bring_pending)


@pytest.fixture
async def archive(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> Archive:
    """1,000 documents, and readers with grants on some of them."""
    return await fill_archive(database, database_urls, make_scope)


def _live() -> AsyncQdrantClient:
    url = os.environ.get(LIVE)
    if url is None:
        pytest.skip(f"{LIVE} names no Qdrant server")
    return _by_http(url)


def _by_http(url: str) -> AsyncQdrantClient:
    return AsyncQdrantClient(url=url, timeout=60, check_compatibility=False, trust_env=False)


@asynccontextmanager
async def _opened(
    database: Database, urls: DatabaseUrls, client: AsyncQdrantClient
) -> AsyncGenerator[Qdrant]:
    await want_outside_index(urls.migration, is_wanted=True)
    points = Points(client, SystemClock(), seconds=60)
    index = OutsideIndex(database, points, PostgresIndex(database), ALWAYS_ASKED)
    with warnings.catch_warnings():
        # Its local mode says that it has no payload indexes, which change no answer.
        warnings.filterwarnings("ignore", message="Payload indexes have no effect")
        try:
            yield Qdrant(client, points, VectorSync(database, points), index)
            for collection in (await client.get_collections()).collections:
                if collection.name.startswith(await _prefix(database)):
                    await client.delete_collection(collection.name)
        finally:
            await points.close()


async def _prefix(database: Database) -> str:
    async with database.transaction_without_scope() as transaction:
        index_id = await transaction.fetchval("SELECT id FROM outside_index")
    return f"undercroft-{index_id.hex}-"


async def _nothing() -> int:
    return 0
