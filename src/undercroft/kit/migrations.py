"""Forward-only migrations: plain SQL files, checksummed, applied one transaction each under an advisory lock."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final, TypeVar

import asyncpg

from undercroft.kit.database import Database
from undercroft.kit.sql import AnyConnection, load_queries

_Done = TypeVar("_Done")

_QUERIES: Final = load_queries("undercroft.kit")
_CONNECT_SECONDS: Final = 10.0
_LOCK_ATTEMPTS: Final = 20
_LOCK_PAUSE_SECONDS: Final = 0.5
_FILE_NAME: Final = re.compile(r"^(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql$")


class MigrationError(Exception):
    """The database cannot be brought to this program's schema; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``migrations/``."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, in hexadecimal: an applied file must never change."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_folder() -> Path:
    """The migrations that came with this program: in the wheel, or at the root of a checkout."""
    packaged = Path(str(resources.files("undercroft"))) / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "migrations"


def load_migrations(folder: Path) -> list[Migration]:
    """Read and order the migrations of a folder.

    Raises:
        MigrationError: When a file name is not ``NNNN_name.sql`` or the versions are not 1, 2, 3, ...
    """
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.match(path.name)
        if match is None:
            raise MigrationError(f"{path.name} is not named NNNN_name.sql.")
        migrations.append(
            Migration(int(match["version"]), match["name"], path.read_text(encoding="utf-8"))
        )
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError(f"The versions in {folder} are not 1, 2, 3, ... without a gap.")
    return migrations


async def migrate(url: str, migrations: Sequence[Migration]) -> list[Migration]:
    """Apply what is missing, as the owner of the database.

    Each migration commits with its row in ``schema_migrations``, so a crash leaves the database between two
    migrations and never inside one.

    Returns:
        The migrations that were applied now.

    Raises:
        MigrationError: When the owner cannot connect, an applied migration was edited, the database is newer than this
            program, or others hold for long what a migration locks.
    """
    connection = await connect_owner(url)
    try:
        await connection.execute(_BOOTSTRAP)
        return [
            migration
            for migration in migrations
            if await _patiently(partial(_apply, connection, migration, migrations))
        ]
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError(
            "A migration needs a table that a long transaction holds; pg_stat_activity names it. What came before is "
            "applied. Run `undercroft migrate` again."
        ) from error
    finally:
        await connection.close()


async def connect_owner(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection of the owner's, to be closed by the caller.

    Raises:
        MigrationError: When the owner cannot connect.
    """
    try:
        return await asyncpg.connect(url, timeout=_CONNECT_SECONDS, statement_cache_size=0)
    except ValueError as error:
        # What asyncpg says of it may quote a piece of a password that was not percent-encoded.
        raise MigrationError(
            "The owner's database URL is malformed; percent-encode the special characters in it."
        ) from error
    except (OSError, asyncpg.PostgresError) as error:
        raise MigrationError(f"The database does not let its owner in: {error}.") from error


async def _patiently(work: Callable[[], Awaitable[_Done]]) -> _Done:
    """Begin anew where a lock is not to be had at once; raises as the work does once that was tried often enough.

    A migration may lock tables in another order than a request that is under way. PostgreSQL looks for a deadlock after
    a second, and would end either of the two; the migration gives up before, and the request goes on.
    """
    for _ in range(_LOCK_ATTEMPTS - 1):
        try:
            return await work()
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(_LOCK_PAUSE_SECONDS)
    return await work()


async def _apply(
    connection: AnyConnection, migration: Migration, known: Sequence[Migration]
) -> bool:
    async with connection.transaction():
        # Two `migrate` at once: the second waits here, then finds the row of the first and does nothing.
        await _QUERIES.value(connection, "lock_migrations")
        rows = await _QUERIES.many(connection, "list_applied_migrations")
        checksums = {int(row["version"]): str(row["checksum"]) for row in rows}
        _check_history(checksums, known)
        if migration.version in checksums:
            return False
        await connection.execute(_TIMEOUTS)
        await connection.execute(migration.sql)
        await _QUERIES.execute(
            connection,
            "insert_applied_migration",
            migration.version,
            migration.name,
            migration.checksum,
        )
        return True


def _check_history(checksums: dict[int, str], known: Sequence[Migration]) -> None:
    by_version = {migration.version: migration for migration in known}
    for version, checksum in checksums.items():
        migration = by_version.get(version)
        if migration is None:
            raise MigrationError(
                f"The database has migration {version}, which this program does not know. "
                "Run a newer Undercroft on it."
            )
        if migration.checksum != checksum:
            raise MigrationError(
                f"Migration {version} was edited after it was applied. "
                "Restore the file and put the change in a new migration."
            )


async def grant_service_role(url: str, login: str) -> None:
    """Let a login act as the service. Run as the owner; harmless when it may already.

    Raises:
        MigrationError: When there is no such login.
    """
    connection = await connect_owner(url)
    try:
        if not await _QUERIES.value(connection, "role_exists", login):
            raise MigrationError(f"The database has no login '{login}'; create it first.")
        await _QUERIES.value(connection, "grant_service_role", login)
    finally:
        await connection.close()


async def register_model(url: str, name: str, dimensions: int) -> None:
    """Make room for an embedding model's vectors: its number and its index. Run as the owner.

    Raises:
        MigrationError: When the model is known with another number of dimensions, or an index of another model is being
            built.
    """
    connection = await connect_owner(url)
    try:
        if await _QUERIES.value(connection, "is_model_registered", name, dimensions):
            return
        # Whoever writes vectors queues behind who waits for this lock; and who builds an index anew, which may take
        # hours, waits for every transaction: for this one, too.
        await connection.execute(_LOCK_TIMEOUT)
        await _patiently(
            lambda: _QUERIES.value(connection, "register_embedding_model", name, dimensions)
        )
    except asyncpg.RaiseError as error:
        raise MigrationError(f"The embedding model cannot be used: {error}.") from error
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError(
            f"There is no index for '{name}' yet, and none can be made while vectors are being written for long or "
            "another model's index is being built anew (`undercroft embeddings status`). "
            "Run `undercroft migrate` again."
        ) from error
    finally:
        await connection.close()


async def adopt_model(url: str, name: str) -> None:
    """Make a registered model the default one, if nothing is indexed yet or there is no default. Run as the owner."""
    connection = await connect_owner(url)
    try:
        await _QUERIES.execute(connection, "adopt_embedding_model", name)
    finally:
        await connection.close()


async def want_outside_index(url: str, *, is_wanted: bool) -> None:
    """Have vectors brought to an index outside from now on, or no more. Run as the owner.

    Raises:
        MigrationError: When vectors are being written for so long that it would keep others waiting.
    """
    connection = await connect_owner(url)
    try:
        await _QUERIES.value(connection, "want_outside_index", is_wanted)
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError(
            "Documents are being indexed, so nothing was changed about Qdrant. Run `undercroft migrate` again."
        ) from error
    finally:
        await connection.close()


async def describe_pending(database: Database) -> str | None:
    """None when the database has this program's schema, else what to do about it."""
    known = len(load_migrations(migrations_folder()))
    try:
        async with database.transaction_without_scope() as transaction:
            if not await _QUERIES.value(transaction, "is_migrated"):
                return "the database is empty; run `undercroft migrate`"
            version = int(await _QUERIES.value(transaction, "get_schema_version"))
    except asyncpg.InsufficientPrivilegeError:
        # So while a first start has its tables and has not let its login in yet.
        return "the service's login has no rights yet; run `undercroft migrate`"
    if version == known:
        return None
    if version > known:
        return f"the database is at migration {version}, this program knows {known}; run a newer Undercroft"
    return f"the database is at migration {version} of {known}; run `undercroft migrate`"


# Not a named query: these run before the schema exists, or set the session for arbitrary migration SQL.
_BOOTSTRAP: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""
_LOCK_TIMEOUT: Final = "SET lock_timeout = '500ms'"
_TIMEOUTS: Final = "SET LOCAL lock_timeout = '500ms'; SET LOCAL statement_timeout = '5s';"
