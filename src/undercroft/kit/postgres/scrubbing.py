"""Rewrites a database so that no file of it holds what was deleted.

A plain VACUUM leaves deleted rows in the pages it frees, and what was written stays in the write-ahead log: a segment
that is no longer needed is renamed for later use, with all its bytes. Measured in tests/e2e/test_scrub.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncpg

from undercroft.kit.postgres.bootstrap import (
    DATABASE,
    SUPERUSER,
    Credentials,
    database_url,
)
from undercroft.kit.postgres.cluster import Cluster
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.kit.postgres")
_CONNECT_SECONDS: Final = 30.0
_RESET_SECONDS: Final = 300.0


async def rewrite_database(
    credentials: Credentials, socket_folder: Path, progress: Callable[[str], None]
) -> None:
    """Write every table and index anew, without what was deleted. Takes as long as it takes."""
    connection = await asyncpg.connect(
        database_url(SUPERUSER, credentials.superuser, socket_folder, DATABASE),
        timeout=_CONNECT_SECONDS,
    )
    try:
        await _QUERIES.execute(connection, "analyze_all")
        progress("statistics are renewed")
        await _QUERIES.execute(connection, "rewrite_all")
        progress("tables are rewritten")
        await _QUERIES.execute(connection, "reindex_all")
        progress("indexes are rebuilt")
        await _QUERIES.value(connection, "forget_statements")
    finally:
        await connection.close()


def forget_log(cluster: Cluster) -> None:
    """Replace the write-ahead log of a server that was shut down cleanly with an empty one.

    After a clean shutdown nothing in it is needed any more. The program refuses where the shutdown was not clean.

    Raises:
        PostgresStartError: When it refuses.
    """
    cluster.execute("pg_resetwal", str(cluster.data), timeout=_RESET_SECONDS)
