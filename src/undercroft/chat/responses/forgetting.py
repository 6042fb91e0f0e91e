"""Forgets responses that were kept for a day alone."""

from itertools import groupby
from typing import Final

from undercroft.chat.responses.repository import ResponseRepository
from undercroft.kit.database import Database
from undercroft.ledger.models import LogScope

_BATCH: Final = 200


class PassingResponses:
    """Responses whose time is over."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = ResponseRepository()

    async def forget(self) -> int:
        """Delete them, with their keys and all that was made from them; how many."""
        total, count = 0, _BATCH
        while count == _BATCH:
            count = await self._forget_batch()
            total += count
        return total

    async def _forget_batch(self) -> int:
        async with self._database.statement_without_scope() as connection:
            expired = await self._repository.list_expired(connection, _BATCH)
        forgotten = 0
        for tenant_id, rows in groupby(sorted(expired), lambda row: row[0]):
            async with self._database.transaction(LogScope(tenant_id)) as transaction:
                ids = [response_id for _, response_id in rows]
                forgotten += await self._repository.delete_expired(transaction, ids)
        return forgotten
