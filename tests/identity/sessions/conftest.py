"""Sessions over a real database."""

import pytest

from tests.conftest import Member
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.models import SessionTokens
from undercroft.identity.sessions.service import SessionService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
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


async def open_session(
    database: Database, sessions: SessionService, member: Member, user_agent: str | None = None
) -> SessionTokens:
    async with database.transaction(member) as transaction:
        return await sessions.open_session(transaction, member, user_agent)
