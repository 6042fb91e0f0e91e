"""What an external PostgreSQL must be, checked before the service starts on it."""

from typing import Final

import asyncpg

from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.kit")
_CONNECT_SECONDS: Final = 10.0


class PreflightError(Exception):
    """The database cannot be used as it is; the message says what to change."""


async def check_server(url: str) -> None:
    """Check version, extension and rights of the service's login.

    Raises:
        PreflightError: When it does not answer, PostgreSQL is older than 15, pgvector is missing or older than 0.8, or
            the login stands above row-level security or may create objects.
    """
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS, statement_cache_size=0)
    except ValueError as error:
        # What asyncpg says of it may quote a piece of a password that was not percent-encoded.
        raise PreflightError(
            "UNDERCROFT_DATABASE_URL is not a database's URL: postgresql://LOGIN:PASSWORD@HOST:PORT/DATABASE, in which "
            "special characters are percent-encoded."
        ) from error
    except (OSError, asyncpg.PostgresError) as error:
        raise PreflightError(
            f"The database of UNDERCROFT_DATABASE_URL does not answer: {error}."
        ) from error
    try:
        server = await _QUERIES.one(connection, "inspect_server")
    finally:
        await connection.close()
    if server["version"] < 150_000:
        raise PreflightError("Undercroft needs PostgreSQL 15 or newer.")
    version = server["vector_version"]
    if version is None or tuple(int(part) for part in version.split(".")[:2]) < (0, 8):
        raise PreflightError(
            "Undercroft needs the extension pgvector 0.8 or newer: CREATE EXTENSION vector as a superuser."
        )
    if server["is_above_policies"] or server["is_owner"]:
        raise PreflightError(
            "The login of UNDERCROFT_DATABASE_URL is a superuser, has BYPASSRLS or owns the database, so that "
            "row-level security would not bind it. Give the service a plain login; see docs/postgresql.md."
        )
    if server["may_create"]:
        # A table, type or function of the service's own could be taken for one that a function with its definer's
        # rights means. Every function here pins its search_path; this is the second lock on that door.
        raise PreflightError(
            "The login of UNDERCROFT_DATABASE_URL may create objects in the database, as PUBLIC may unless told "
            "otherwise. As the database's owner: "
            f'REVOKE CREATE, TEMPORARY ON DATABASE "{server["database_name"]}" FROM PUBLIC; '
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC; and from this login, where it has a grant of its own."
        )
