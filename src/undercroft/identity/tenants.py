"""Every tenant, one after the other: for operators, who work on all of them."""

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from undercroft.kit.database import Database, Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.identity")
_PAGE: Final = 500


async def each_tenant(transaction: Transaction) -> AsyncIterator[UUID]:
    """The tenants in the order of their ids, in whatever scope the transaction is at the time."""
    last = UUID(int=0)
    while True:
        rows = await _QUERIES.many(transaction, "list_tenants", last, _PAGE)
        for row in rows:
            yield row["tenant_id"]
        if len(rows) < _PAGE:
            return
        last = rows[-1]["tenant_id"]


async def list_tenants(database: Database) -> list[UUID]:
    """The tenants that there are now, in the order of their ids."""
    async with database.transaction_without_scope() as transaction:
        return [tenant_id async for tenant_id in each_tenant(transaction)]
