"""Forgets the events of what ended a day ago. The responses stay, and what they say is shown from there."""

from typing import Final

from undercroft.chat.streams.repository import StreamRepository
from undercroft.kit.database import Database

_BATCH: Final = 200


class OldStreams:
    """Streams that nobody needs any more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = StreamRepository()

    async def forget(self) -> int:
        """Forget them, some at a time; how many."""
        total, count = 0, _BATCH
        while count == _BATCH:
            async with self._database.statement_without_scope() as connection:
                count = await self._repository.forget(connection, _BATCH)
            total += count
        return total
