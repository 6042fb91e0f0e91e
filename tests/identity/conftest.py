"""What tests of identity may ask for."""

from collections.abc import AsyncGenerator

import asyncpg
import pytest

from tests.conftest import MakeScope
from tests.identity.credentials import Desk
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection


@pytest.fixture
def desk(database: Database, make_scope: MakeScope) -> Desk:
    """Issues credentials."""
    return Desk(database, make_scope)


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    """The database's owner, made to see past every policy."""
    connection = await asyncpg.connect(database_urls.migration)
    try:
        for row in await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ):
            await connection.execute(f"ALTER TABLE {row['tablename']} NO FORCE ROW LEVEL SECURITY")
        yield connection
    finally:
        await connection.close()
