"""Deleting what is over, of all tenants."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from uuid import UUID

from undercroft.kit.database import Database, Transaction
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection


async def delete_expired(
    database: Database,
    batch: int,
    *,
    find: Callable[[AnyConnection, int], Awaitable[Sequence[tuple[UUID, UUID]]]],
    scope_of: Callable[[UUID], Scope],
    delete: Callable[[Transaction, Sequence[UUID]], Awaitable[int]],
) -> int:
    """Delete all that is over by now, each tenant's in transactions of its own; how many there were.

    Args:
        database: Where it is.
        batch: The most that are looked for at once.
        find: Answers tenant and id of so many.
        scope_of: Whose transactions delete a tenant's.
        delete: Deletes some of a tenant's; how many.
    """
    total, count = 0, batch
    while count == batch:
        async with database.statement_without_scope() as connection:
            expired = await find(connection, batch)
        count = 0
        for tenant_id, rows in groupby(sorted(expired), lambda row: row[0]):
            async with database.transaction(scope_of(tenant_id)) as transaction:
                count += await delete(transaction, [row_id for _, row_id in rows])
        total += count
    return total
