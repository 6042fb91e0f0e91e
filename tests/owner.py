"""The database's owner: does what the service may not, as whoever has the disk can, or as time does."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection


@asynccontextmanager
async def past_policies(urls: DatabaseUrls, *tables: str) -> AsyncGenerator[AnyConnection]:
    """A connection of the owner's, whom the policies of these tables hold again afterwards."""
    connection = await asyncpg.connect(urls.migration)
    try:
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        yield connection
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    finally:
        await connection.close()
