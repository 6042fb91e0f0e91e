"""Drops and rebuilds indexes under a running service. Only their owner may; and not inside a transaction."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from undercroft.kit.migrations import connect_owner
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.kit")
_POLL_SECONDS: Final = 1.0

Progress = Callable[[str, int, int], None]
"""Told what is done, and how much of how much."""
Watch = Callable[[str, int, int], Awaitable[None]]
"""Told every second what PostgreSQL is doing, and how much of how much is done. What it raises ends the rebuild."""
_WAITING: Final = "waiting for another command at the table"


@dataclass(frozen=True, slots=True)
class IndexSize:
    """What an index takes on disk.

    Attributes:
        is_valid: Whether searches use it: one whose making was interrupted they do not.
    """

    index_bytes: int
    is_valid: bool


class IndexBusyError(Exception):
    """Another command is at this index."""


async def measure_index(url: str, name: str) -> IndexSize | None:
    """The size of an index; None when there is none."""
    async with connected_owner(url) as connection:
        row = await _QUERIES.maybe(connection, "measure_index", name)
    return None if row is None else IndexSize(row["index_bytes"], row["is_valid"])


async def drop_index(url: str, name: str) -> None:
    """Drop an index without holding up whoever reads and writes its table.

    Raises:
        IndexBusyError: When another command is at it.
    """
    async with connected_owner(url) as connection, _alone(connection, name):
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_quoted(name)}")


async def drop_leftovers(url: str, name: str) -> int:
    """Drop what interrupted rebuilds of an index have left; how many indexes.

    No search uses them, and whoever writes their table may write them as well.

    Raises:
        IndexBusyError: When another command is at it.
    """
    async with connected_owner(url) as connection:
        if not await _list_leftovers(connection, name):
            return 0
        async with _alone(connection, name):
            return await _drop_leftovers(connection, name)


async def rebuild_index(url: str, name: str, watch: Watch) -> None:
    """Build an index anew while the one that there is goes on being used, and put it in its place.

    What an interrupted rebuild has left is dropped first.

    Raises:
        IndexBusyError: When another command is at it.
    """
    async with (
        connected_owner(url) as connection,
        connected_owner(url) as watcher,
        _alone(connection, name),
    ):
        building = asyncio.create_task(_build(connection, name))
        try:
            while not (await asyncio.wait({building}, timeout=_POLL_SECONDS))[0]:
                row = await _QUERIES.maybe(watcher, "watch_index", connection.get_server_pid())
                if row is None:
                    await watch(_WAITING, 0, 0)
                else:
                    # How much there is it takes from statistics, which may be old.
                    await watch(row["phase"], row["done"], max(row["done"], row["total"]))
            building.result()
        finally:
            building.cancel()
            await asyncio.gather(building, return_exceptions=True)


async def _build(connection: AnyConnection, name: str) -> None:
    await _drop_leftovers(connection, name)
    await connection.execute(f"REINDEX INDEX CONCURRENTLY {_quoted(name)}")


async def _list_leftovers(connection: AnyConnection, name: str) -> list[str]:
    rows = await _QUERIES.many(connection, "list_leftovers", f"{name}_cc")
    return [row["name"] for row in rows]


async def _drop_leftovers(connection: AnyConnection, name: str) -> int:
    leftovers = await _list_leftovers(connection, name)
    for leftover in leftovers:
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_quoted(leftover)}")
    return len(leftovers)


@asynccontextmanager
async def connected_owner(url: str) -> AsyncGenerator[AnyConnection]:
    """A connection of the owner's."""
    connection = await connect_owner(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _alone(connection: AnyConnection, name: str) -> AsyncGenerator[None]:
    """Of two commands at one index the second would drop what the first is building. The lock ends with the session."""
    if not await _QUERIES.value(connection, "lock_index", f"undercroft.index.{name}"):
        raise IndexBusyError
    yield


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
