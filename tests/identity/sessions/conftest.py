"""Sessions over a real database."""

from collections.abc import AsyncGenerator

import asyncpg
import pytest

from tests.conftest import Member
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.models import SessionTokens
from undercroft.identity.sessions.service import SessionService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.service import Ledger


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database, IdSource(), SystemClock())


@pytest.fixture
def identity(database: Database, ledger: Ledger) -> IdentityService:
    return IdentityService(database, ledger, IdSource(), SystemClock())


@pytest.fixture
def sessions(database: Database, ledger: Ledger) -> SessionService:
    return SessionService(database, ledger, IdSource())


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


async def open_session(
    database: Database, sessions: SessionService, member: Member, user_agent: str | None = None
) -> SessionTokens:
    async with database.transaction(member) as transaction:
        return await sessions.open_session(transaction, member, user_agent)
