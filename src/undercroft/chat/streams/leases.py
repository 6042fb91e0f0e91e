"""The leases of one process: prolonged by one statement for all of them, taken over where another's have run out."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from undercroft.chat.streams.models import Lease
from undercroft.chat.streams.repository import StreamRepository
from undercroft.kit.database import Database

_PRESENCE = timedelta(seconds=10)
"""How long somebody who watches in one process is believed to be there by the others."""


class Leases:
    """Keeps, takes and gives up leases.

    Args:
        database: Where they are.
        process_id: Who takes them.
    """

    def __init__(self, database: Database, process_id: UUID) -> None:
        self._database = database
        self._process_id = process_id
        self._repository = StreamRepository()

    async def renew(self, leases: Sequence[Lease], length: timedelta) -> dict[UUID, bool]:
        """Those that are still held, and whether somebody wants the stream ended."""
        async with self._database.statement_without_scope() as connection:
            return await self._repository.renew(connection, leases, length)

    async def take_over(self, length: timedelta, limit: int) -> list[Lease]:
        """Streams whose holder has not renewed in time; they are this process's from now on."""
        async with self._database.statement_without_scope() as connection:
            return await self._repository.take_over(connection, self._process_id, length, limit)

    async def release(self, leases: Sequence[Lease]) -> None:
        """Give them up, so that they need not run out first."""
        async with self._database.statement_without_scope() as connection:
            await self._repository.release(connection, leases)

    async def list_due_turns(self, response_ids: Sequence[UUID]) -> frozenset[UUID]:
        """Those of the streams before which none is open any more in their conversation."""
        async with self._database.statement_without_scope() as connection:
            return await self._repository.list_due_turns(connection, response_ids)

    async def attend(self, response_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Say that streams which others write are watched; the number of each one's last event."""
        async with self._database.statement_without_scope() as connection:
            return await self._repository.attend(connection, response_ids, _PRESENCE)
