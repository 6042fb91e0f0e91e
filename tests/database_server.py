"""The PostgreSQL server that all workers of one test run share, and a fresh database on it for each test.

The first test that needs it starts this file as a process of its own. Each worker holds a shared lock on one file for
as long as it lives; the server stops once it gets that lock exclusively, so also after every worker was killed.
"""

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
from filelock import FileLock

from undercroft.kit.clock import SystemClock
from undercroft.kit.migrations import (
    grant_service_role,
    load_migrations,
    migrate,
    migrations_folder,
)
from undercroft.kit.postgres.server import DatabaseUrls, EmbeddedPostgres
from undercroft.kit.sql import AnyConnection

_USERS: Final = "server.users"
_URLS: Final = "server.json"
_EMPTY: Final = "test_empty"
"""The name of a database as it is before it is migrated."""
_MEMORY: Final = Path("/dev/shm")  # noqa: S108
_MEMORY_BYTES: Final = 4 << 30


@contextmanager
def shared_server(folder: Path) -> Generator[DatabaseUrls]:
    """The run's server, whose database is migrated and serves as the template of every other.

    Args:
        folder: The same for every worker of one run, and for no other run.
    """
    users = os.open(folder / _USERS, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        with FileLock(folder / "server.starting"):
            if not (folder / _URLS).exists():
                _start(folder)
        yield DatabaseUrls(**json.loads((folder / _URLS).read_text(encoding="utf-8")))
    finally:
        os.close(users)


@asynccontextmanager
async def fresh_database(
    server: DatabaseUrls, *, is_migrated: bool = True, template: DatabaseUrls | None = None
) -> AsyncGenerator[DatabaseUrls]:
    """A copy of the migrated database, of another that nobody is connected to, or an empty one; dropped afterwards."""
    name = f"test_{uuid4().hex}"
    copied = urlsplit((template or server).migration).path.removeprefix("/")
    if not is_migrated:
        copied = _EMPTY
    owner = await asyncpg.connect(_with_database(server.migration, "postgres"))
    try:
        # Without fsync, copying files is faster than logging each page.
        await owner.execute(f"CREATE DATABASE {name} TEMPLATE {copied} STRATEGY file_copy")
        try:
            yield DatabaseUrls(
                service=_with_database(server.service, name),
                migration=_with_database(server.migration, name),
            )
        finally:
            await _wait_until_unused(owner, name)
            # Without FORCE: that may not end an autovacuum of a superuser's, which this ends by itself.
            await owner.execute(f"DROP DATABASE {name}")
    finally:
        await owner.close()


async def withdraw_public_rights(urls: DatabaseUrls) -> None:
    """Close a fresh database as ``docs/postgresql.md`` asks for: a copy does not have the rights of its template."""
    name = urlsplit(urls.migration).path.removeprefix("/")
    login = urlsplit(urls.service).username
    owner = await asyncpg.connect(urls.migration)
    try:
        await owner.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        await owner.execute(f"GRANT CONNECT ON DATABASE {name} TO {login}")
    finally:
        await owner.close()


async def _wait_until_unused(owner: AnyConnection, name: str) -> None:
    """A killed client's backend takes a moment to notice; the owner may not end those of the service's login."""
    for _ in range(1500):
        if not await owner.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = $1 AND backend_type = 'client backend'",
            name,
        ):
            return
        await asyncio.sleep(0.02)


def _with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _start(folder: Path) -> None:
    # Not measured: it ends after the tests' coverage was put together.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")
    }
    with subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # Ctrl-C ends the tests first, and with them the lock that keeps the server.
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("The tests' PostgreSQL did not start; see above.")
        process.returncode = 0


async def _serve(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="undercroft-test-", dir=_fast_folder()) as data:
        server = EmbeddedPostgres(Path(data), clock=SystemClock(), durable=False)
        async with server as urls:
            await _prepare_template(urls)
            document = {"service": urls.service, "migration": urls.migration}
            (folder / _URLS).write_text(json.dumps(document), encoding="utf-8")
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await asyncio.to_thread(_wait_for_users, folder)


def _fast_folder() -> Path | None:
    """Where copying a database takes a processor 30 ms, not 130, if there is room; else None, for the usual place."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES:
        return _MEMORY
    return None


async def _prepare_template(urls: DatabaseUrls) -> None:
    owner = await asyncpg.connect(_with_database(urls.migration, "postgres"))
    try:
        await _prefer_cloning(owner)
        template = urlsplit(urls.migration).path.removeprefix("/")
        await owner.execute(f"CREATE DATABASE {_EMPTY} TEMPLATE {template} STRATEGY file_copy")
    finally:
        await owner.close()
    await migrate(urls.migration, load_migrations(migrations_folder()))
    await grant_service_role(urls.migration, str(urlsplit(urls.service).username))


async def _prefer_cloning(owner: AnyConnection) -> None:
    """Copy files inside the kernel: 20 ms a database where it takes 110 otherwise. Not every file system can."""
    await owner.execute("SET file_copy_method = clone")
    try:
        await owner.execute("CREATE DATABASE test_cloning TEMPLATE template0 STRATEGY file_copy")
    except asyncpg.PostgresError:
        return
    await owner.execute("DROP DATABASE test_cloning")
    await owner.execute("ALTER ROLE CURRENT_USER SET file_copy_method = clone")


def _wait_for_users(folder: Path) -> None:
    users = os.open(folder / _USERS, os.O_RDWR)
    fcntl.flock(users, fcntl.LOCK_EX)
    # Still locked until this process ends: a worker that comes now waits, then starts a server of its own.
    (folder / _URLS).unlink()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
