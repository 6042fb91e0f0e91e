"""A refusal is on record, and costs the same statements whether something is hidden or is not there."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from asyncpg.connection import LoggedQuery

from tests.conftest import Member, scope_maker
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.ledger.denials import Target, refusals_recorded
from undercroft.ledger.models import Subject
from undercroft.ledger.service import Ledger

SALT = b"s" * 32


class OverheardDatabase(Database):
    """Keeps what is said in its transactions."""

    def __init__(self, url: str) -> None:
        super().__init__(url, clock=SystemClock())
        self.heard: list[str] = []

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncGenerator[Transaction]:
        """As ever."""
        async with super().transaction(scope) as transaction:
            with transaction.query_logger(self._hear):
                yield transaction

    def _hear(self, query: LoggedQuery) -> None:
        # What the driver asks of types, once for each connection, is asked by whichever search comes to it first.
        if not any(own in query.query for own in ("typeinfo_tree", "current_setting('jit')")):
            self.heard.append(query.query)


@pytest.fixture
async def overheard(database_urls: DatabaseUrls) -> AsyncGenerator[OverheardDatabase]:
    async with OverheardDatabase(database_urls.service) as opened:
        yield opened


async def refuse(database: OverheardDatabase, scope: Member, target: Target | None) -> list[str]:
    """What is said to the database when a thing is not shown."""
    ids = IdSource()
    ledger = Ledger(database, ids, SystemClock())

    async def find(transaction: Transaction) -> Target | None:
        await transaction.fetchval("SELECT 'whose is it'")
        return target

    database.heard.clear()
    with pytest.raises(NotFoundError):
        async with refusals_recorded(database, ledger, scope, "document.read", find):
            raise NotFoundError("document", "file-1")
    return list(database.heard)


async def entries(database: Database, scope: Member) -> list[tuple[str, UUID | None, str]]:
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT resource, owner_id, outcome FROM ledger_pending ORDER BY xid, ordinal"
        )
    return [tuple(row) for row in rows]


async def test_an_id_of_nothing_takes_the_statements_of_what_is_hidden(
    overheard: OverheardDatabase,
) -> None:
    make = scope_maker(overheard)
    asker = await make()
    owner = await make(asker.tenant_id)
    hidden = Target(Subject("file-1", SALT), owner.principal_id)
    await refuse(overheard, asker, hidden)  # caches who is who
    assert await refuse(overheard, asker, None) == await refuse(overheard, asker, hidden)
    tenant = f"tenant_{asker.tenant_id.hex}"
    assert await entries(overheard, asker) == [
        ("file-1", owner.principal_id, "denied"),
        (tenant, None, "denied"),
        ("file-1", owner.principal_id, "denied"),
    ]


async def test_that_ones_own_is_gone_is_no_refusal(overheard: OverheardDatabase) -> None:
    owner = await scope_maker(overheard)()
    await refuse(overheard, owner, Target(Subject("file-1", SALT), owner.principal_id))
    assert await entries(overheard, owner) == []
