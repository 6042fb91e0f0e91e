"""How many of each tenant's requests are at the database at once for what they begin with."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from undercroft.kit.database import Database
from undercroft.kit.errors import UnavailableError

_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5


class Doorways:
    """Lets some of what each tenant begins be begun at once, in the order in which it was asked for.

    While one begins it has a connection, for one round trip or for several, and most of that time it waits: for others
    of its tenant, and for an event loop that streams. Half of a process's connections are enough to keep the database
    busy with a thousand that are asked for at once. The others wait here, not in the queue for connections, where they
    would keep from the database what goes on already.

    Args:
        database: Whose connections they are.
        seconds: The longest that one waits.
    """

    def __init__(self, database: Database, *, seconds: float = _SECONDS) -> None:
        self._width = max(1, database.size // 2)
        self._seconds = seconds
        # Whoever is in one, or waits for it, holds it.
        self._used: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def through(self, tenant_id: UUID) -> AsyncGenerator[None]:
        """The tenant's turn, until the context ends.

        Raises:
            UnavailableError: When it does not come in time.
        """
        doorway = self._used.setdefault(tenant_id, asyncio.Semaphore(self._width))
        try:
            async with asyncio.timeout(self._seconds):
                await doorway.acquire()
        except TimeoutError as error:
            raise UnavailableError(
                "More is being begun than the service can take; try again in a moment.",
                retry_after=_RETRY_SECONDS,
            ) from error
        try:
            yield
        finally:
            doorway.release()
