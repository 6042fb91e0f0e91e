"""`undercroft fill-qdrant`: an operator has Qdrant filled now, and is told what is missing for it."""

import warnings
from collections.abc import Generator

import asyncpg
import numpy as np
import pytest
from pydantic import AnyHttpUrl, SecretStr

from tests import rows
from tests.conftest import MakeScope
from tests.retrieval.search.test_at_size import MODEL, draw_vectors, fill
from tests.servers.qdrant_server import serving
from undercroft.commands.databases import bring_up_to_date
from undercroft.commands.qdrant import fill_qdrant
from undercroft.kit.database import Database
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.settings import Settings
from undercroft.operations.errors import OperationError
from undercroft.retrieval.vectors.errors import VectorIndexError


async def _refuse_tables(database_urls: DatabaseUrls) -> None:
    """As an external database has to be."""
    owner = await asyncpg.connect(database_urls.migration)
    try:
        name = await owner.fetchval("SELECT current_database()")
        await owner.execute(f'REVOKE CREATE, TEMPORARY ON DATABASE "{name}" FROM PUBLIC')
        await owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    finally:
        await owner.close()


@pytest.fixture(autouse=True)
def _local_mode() -> Generator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Payload indexes have no effect")
        yield


def settings_of(urls: DatabaseUrls, qdrant_url: str | None) -> Settings:
    return Settings(
        database_url=SecretStr(urls.service),
        migration_url=SecretStr(urls.migration),
        qdrant_url=None if qdrant_url is None else AnyHttpUrl(qdrant_url),
    )


async def test_what_there_is_is_brought_once(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    await register_model(database_urls.migration, *MODEL)
    ann = await make_scope()
    async with database.transaction(ann) as transaction:
        await rows.insert_key(transaction, ann)
        await fill(transaction, draw_vectors(12, np.random.default_rng(5)))
    await _refuse_tables(database_urls)
    async with serving() as url:
        settings = settings_of(database_urls, url)
        with pytest.raises(OperationError, match="undercroft migrate"):
            await fill_qdrant(settings)
        await bring_up_to_date(database_urls, settings)
        assert await fill_qdrant(settings) == 12
        assert await fill_qdrant(settings) == 0


async def test_without_a_server_it_is_said(database_urls: DatabaseUrls) -> None:
    with pytest.raises(OperationError, match="UNDERCROFT_QDRANT_URL"):
        await fill_qdrant(settings_of(database_urls, None))
    await _refuse_tables(database_urls)
    settings = settings_of(database_urls, "http://127.0.0.1:1")
    await bring_up_to_date(database_urls, settings)
    with pytest.raises(VectorIndexError):
        await fill_qdrant(settings)
