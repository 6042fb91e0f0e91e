"""What a server needs before its first client: passwords, a data directory, roles, a database, extensions.

Each step can be interrupted anywhere. The data directory appears by one rename, and what is inside the database is
ensured at every start rather than created once.
"""

import json
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import asyncpg
from asyncpg import Connection, Record

from undercroft.kit.files import sync_folder, write_durably
from undercroft.kit.postgres.cluster import Cluster
from undercroft.kit.postgres.configuration import PORT
from undercroft.kit.postgres.errors import PostgresStartError
from undercroft.kit.sql import load_queries

DATABASE: Final = "undercroft"
SUPERUSER: Final = "postgres"
_QUERIES: Final = load_queries("undercroft.kit.postgres")
_CONNECT_SECONDS: Final = 30.0
_STATEMENT_SECONDS: Final = 120.0
_UNFINISHED: Final = "bootstrap-"


def random_password() -> str:
    """A password of 256 random bits that needs no quoting in a URL."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The passwords of the server's three logins."""

    superuser: str = field(repr=False)
    owner: str = field(repr=False)
    service: str = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the passwords.

        Raises:
            FileNotFoundError: When there are none.
            PostgresStartError: When the file is damaged.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{item.name: str(content[item.name]) for item in fields(cls)})
        except (ValueError, TypeError, KeyError) as error:
            raise PostgresStartError(
                f"{path} is damaged. Restore it from a backup of the data folder."
            ) from error

    @classmethod
    def ensure(cls, path: Path, data: Path, make_password: Callable[[], str]) -> Self:
        """Read the passwords, or make them for a cluster that does not exist yet.

        Raises:
            PostgresStartError: When the file is damaged, or missing although the cluster exists.
        """
        try:
            return cls.load(path)
        except FileNotFoundError:
            if data.exists():
                raise PostgresStartError(
                    f"{path} is missing, and the database in {data} cannot be opened without it. Restore it from a "
                    "backup of the data folder."
                ) from None
        credentials = cls(make_password(), make_password(), make_password())
        write_durably(path, json.dumps(asdict(credentials)))
        return credentials


def database_url(role: str, password: str, socket_folder: Path, database: str = DATABASE) -> str:
    """The ``postgresql://`` URL of a login over the unix socket.

    The port is spelt out because a client would otherwise take it from ``PGPORT``.
    """
    return (
        f"postgresql://{role}:{quote(password, safe='')}@/{database}"
        f"?host={quote(str(socket_folder), safe='/')}&port={PORT}"
    )


def ensure_data_directory(
    cluster: Cluster, superuser_password: str, *, durable: bool, timeout: float
) -> None:
    """Create the data directory if there is none, and clear what an interrupted attempt left.

    Args:
        cluster: The cluster to create.
        superuser_password: Password of its superuser.
        durable: Whether to wait until it is on the disk.
        timeout: Seconds that initdb may take.

    Raises:
        PostgresStartError: When initdb fails.
    """
    for leftover in cluster.folder.glob(f"{_UNFINISHED}*"):
        # An initdb whose supervisor was killed may still write here; what is not gone goes at the next start.
        shutil.rmtree(leftover, ignore_errors=True)
    if cluster.data.exists():
        return
    workshop = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=cluster.folder))
    try:
        cluster.hand_over(workshop)
        password_file = workshop / "password"
        write_durably(password_file, superuser_password)
        cluster.hand_over(password_file)
        cluster.execute(
            "initdb",
            f"--pgdata={workshop / 'data'}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth-local=scram-sha-256",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            "--no-instructions",
            *(() if durable else ("--no-sync",)),
            timeout=timeout,
        )
        (workshop / "data").rename(cluster.data)
        sync_folder(cluster.folder)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


async def ensure_database(credentials: Credentials, socket_folder: Path) -> None:
    """Bring roles, database, rights and extensions to what this release needs.

    Raises:
        PostgresStartError: When the server refuses.
    """
    try:
        async with _superuser(credentials, socket_folder, SUPERUSER) as connection:
            async with connection.transaction():
                await _QUERIES.value(
                    connection, "set_passwords", credentials.owner, credentials.service
                )
                await _QUERIES.execute(connection, "ensure_roles")
            if await _QUERIES.value(connection, "find_database") is None:
                await _QUERIES.execute(connection, "create_database")
        async with _superuser(credentials, socket_folder, DATABASE) as connection:
            await _QUERIES.execute(connection, "ensure_database")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise PostgresStartError(
            f"The embedded PostgreSQL runs but could not be prepared: {error}."
        ) from error


@asynccontextmanager
async def _superuser(
    credentials: Credentials, socket_folder: Path, database: str
) -> "AsyncGenerator[Connection[Record]]":
    connection = await asyncpg.connect(
        database_url(SUPERUSER, credentials.superuser, socket_folder, database),
        timeout=_CONNECT_SECONDS,
        command_timeout=_STATEMENT_SECONDS,
    )
    try:
        yield connection
    finally:
        await connection.close()
