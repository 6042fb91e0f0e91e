"""How many of each tenant's requests are at the database at once for what they begin with."""

import asyncio
from uuid import UUID
from weakref import WeakValueDictionary

from undercroft.kit.database import Database


class Doorways:
    """Lets some of what each tenant begins be begun at once, in the order in which it was asked for.

    While one begins it has a connection, for one round trip or for several, and most of that time it waits: for others
    of its tenant, and for an event loop that streams. Half of a process's connections are enough to keep the database
    busy with a thousand that are asked for at once. The others wait here, not in the queue for connections, where a
    wait ends in an error and keeps from the database what goes on already, and other tenants.

    Args:
        database: Whose connections they are.
    """

    def __init__(self, database: Database) -> None:
        self._width = max(1, database.size // 2)
        # Whoever is in one, or waits for it, holds it.
        self._used: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, tenant_id: UUID) -> asyncio.Semaphore:
        """A tenant's, to be entered with ``async with``."""
        doorway = self._used.get(tenant_id)
        if doorway is None:
            doorway = self._used[tenant_id] = asyncio.Semaphore(self._width)
        return doorway
