"""``undercroft fill-qdrant``: makes Qdrant have what PostgreSQL has, before a worker next compares them."""

from contextlib import AsyncExitStack
from typing import Final

from undercroft.commands.databases import connect_any_database
from undercroft.kit.clock import SystemClock
from undercroft.kit.settings import Settings
from undercroft.operations.errors import OperationError
from undercroft.retrieval.vectors.configured import open_points
from undercroft.retrieval.vectors.synchronising import VectorSync

_SECONDS: Final = 30.0


async def fill_qdrant(settings: Settings) -> int:
    """Compare both sides and mend Qdrant; how many passages were brought there or taken away.

    Raises:
        OperationError: When no Qdrant is configured, or the database was not told of it yet.
        VectorIndexError: When it does not answer.
    """
    points = open_points(settings, SystemClock(), _SECONDS)
    if points is None:
        raise OperationError("No Qdrant is configured: set UNDERCROFT_QDRANT_URL.")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(points.close)
        database = await stack.enter_async_context(connect_any_database(settings))
        sync = VectorSync(database, points)
        if not await sync.is_wanted():
            raise OperationError("The database knows of no Qdrant yet: run `undercroft migrate`.")
        return await sync.compare()
