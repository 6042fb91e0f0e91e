"""The server that suits this user and machine: first use, hostile folders, stale files, rivals, failures."""

import asyncio
import os
import shutil
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from undercroft.kit.clock import SystemClock
from undercroft.kit.postgres.cluster import Cluster
from undercroft.kit.postgres.errors import DataFolderInUseError, PostgresStartError
from undercroft.kit.postgres.launchers import launcher_for
from undercroft.kit.postgres.server import DatabaseUrls, running_urls

if TYPE_CHECKING:
    from tests.kit.postgres.conftest import FindPostmaster, MakeServer, StartOwner


async def _value(url: str, query: str, *arguments: object) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


@pytest.fixture
def urls(shared_folder: tuple[Path, DatabaseUrls]) -> DatabaseUrls:
    return shared_folder[1]


async def test_the_logins_have_no_more_rights_than_they_need(urls: DatabaseUrls) -> None:
    rights = """
        SELECT rolname, rolsuper, rolbypassrls, rolreplication, rolcreaterole, rolcreatedb
        FROM pg_roles WHERE rolname LIKE 'undercroft%' ORDER BY rolname
    """
    service = await asyncpg.connect(urls.service)
    owner = await asyncpg.connect(urls.migration)
    try:
        assert [tuple(row) for row in await service.fetch(rights)] == [
            ("undercroft_owner", False, False, False, True, True),
            ("undercroft_service", False, False, False, False, False),
        ]
        database_owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1"
        assert await service.fetchval(database_owner, "undercroft") == "undercroft_owner"
        for statement in (
            "SET ROLE undercroft_owner",
            "CREATE TABLE public.mine ()",
            "CREATE SCHEMA mine",
            "CREATE TEMP TABLE mine ()",
            "ALTER ROLE undercroft_service BYPASSRLS",
            "SELECT pg_read_file('postmaster.pid')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.execute("ALTER ROLE undercroft_service BYPASSRLS")
    finally:
        await service.close()
        await owner.close()


async def test_the_database_is_what_the_design_asks_for(urls: DatabaseUrls) -> None:
    connection = await asyncpg.connect(urls.service)
    try:
        extensions = await connection.fetch("SELECT extname FROM pg_extension")
        assert {row["extname"] for row in extensions} >= {
            "vector",
            "pg_trgm",
            "unaccent",
            "pg_stat_statements",
        }
        settings = {
            row["name"]: row["setting"]
            for row in await connection.fetch("SELECT name, setting FROM pg_settings")
        }
    finally:
        await connection.close()
    wanted = {
        "listen_addresses": "",
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "password_encryption": "scram-sha-256",
        "log_statement": "none",
        "synchronous_commit": "on",
    }
    assert {name: settings[name] for name in wanted} == wanted
    locale = "SELECT format('%s %s', datlocprovider, datlocale) FROM pg_database WHERE datname = 'undercroft'"
    assert await _value(urls.service, locale) == "b C.UTF-8"


async def test_a_password_is_required_and_never_shown(urls: DatabaseUrls, tmp_path: Path) -> None:
    password = urlsplit(urls.service).password
    assert password
    assert password not in repr(urls)
    wrong = urls.service.replace(password, "guess")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(wrong)
    without = urls.service.replace(f":{password}", "")
    with pytest.raises(asyncpg.PostgresError):
        await asyncpg.connect(without, passfile=str(tmp_path / "absent"))
    superuser = wrong.replace("undercroft_service", "postgres")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(superuser)


async def test_the_log_holds_nothing_that_a_client_sent(
    shared_folder: tuple[Path, DatabaseUrls],
) -> None:
    data_dir, urls = shared_folder
    with pytest.raises(asyncpg.PostgresError):
        await _value(urls.service, "SELECT 'secret-literal'::int")
    with pytest.raises(asyncpg.PostgresError):
        await _value(urls.service, "SELECT length($1::text) / 0", "secret-parameter")
    with pytest.raises(asyncpg.PostgresError):
        await _value(
            urls.migration, "DO $$ BEGIN RAISE WARNING 'secret-warning'; PERFORM 1 / 0; END $$"
        )
    log = _logs(data_dir)
    assert "ready to accept connections" in log
    assert "secret" not in log


def _logs(data_dir: Path) -> str:
    return "".join(path.read_text() for path in (data_dir / "postgres" / "log").iterdir())


async def test_the_urls_of_a_running_server_are_known_to_its_neighbours(
    embedded: "MakeServer", data_dir: Path
) -> None:
    assert running_urls(data_dir) is None
    async with embedded(data_dir) as urls:
        assert running_urls(data_dir) == urls
        (data_dir / "postgres" / "ready").unlink()
        assert running_urls(data_dir) is None, "a server whose roles may be missing is not ready"
    assert running_urls(data_dir) is None


async def test_a_second_owner_is_refused_until_the_first_is_gone(
    embedded: "MakeServer", start_owner: "StartOwner", data_dir: Path
) -> None:
    owner = start_owner(data_dir)
    assert "service" in await owner.report()
    with pytest.raises(DataFolderInUseError, match=f"{data_dir} is in use .*process [0-9]+"):
        await embedded(data_dir).start()
    assert running_urls(data_dir) is not None, "the refused one must not have touched the server"
    await owner.kill()
    async with embedded(data_dir):
        with pytest.raises(DataFolderInUseError):
            await embedded(data_dir).start()


@pytest.mark.parametrize(
    "name",
    ["with space", "Gewölbe-地下", "a,b", 'it\'s "quoted" \\ # %41 & = ?', "long" * 40],
    ids=["space", "not-ascii", "comma", "quotes", "long"],
)
async def test_any_folder_name_works(
    embedded: "MakeServer", used_folder: Path, tmp_path: Path, name: str
) -> None:
    data_dir = tmp_path / name
    shutil.copytree(used_folder, data_dir)
    server = embedded(data_dir)
    urls = await server.start()
    run = data_dir / "postgres" / "run"
    short = run.readlink() if run.is_symlink() else None
    assert await _value(urls.service, "SELECT current_user") == "undercroft_service"
    assert running_urls(data_dir) == urls
    await server.stop()
    if short is not None:
        assert not short.exists()


async def test_a_folder_name_that_would_break_the_configuration_is_refused(
    embedded: "MakeServer", tmp_path: Path
) -> None:
    for name in ("a\nfsync = off", "lone \udcff byte"):
        with pytest.raises(PostgresStartError, match="control character"):
            await embedded(tmp_path / name).start()


async def test_an_unusable_folder_is_named(embedded: "MakeServer", tmp_path: Path) -> None:
    blocking = tmp_path / "file"
    blocking.touch()
    with pytest.raises(PostgresStartError, match=r"file cannot be used: .*--data-dir"):
        await embedded(blocking).start()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_folder_is_named(embedded: "MakeServer", tmp_path: Path) -> None:
    read_only = tmp_path / "read-only"
    read_only.mkdir(mode=0o500)
    with pytest.raises(PostgresStartError, match=r"Permission denied.*must be writable"):
        await embedded(read_only).start()


async def test_pid_files_whose_number_belongs_to_another_program_are_ignored(
    embedded: "MakeServer", data_dir: Path
) -> None:
    async with embedded(data_dir):
        home = data_dir / "postgres"
        pid_file = (home / "data" / "postmaster.pid").read_text()
        socket_lock = (home / "run" / ".s.PGSQL.5432.lock").read_text()
    ours = str(os.getppid())
    pid = pid_file.splitlines()[0]
    (home / "data" / "postmaster.pid").write_text(pid_file.replace(pid, ours, 1))
    (home / "run" / ".s.PGSQL.5432.lock").write_text(socket_lock.replace(pid, ours, 1))
    assert running_urls(data_dir) is None
    async with embedded(data_dir) as urls:
        assert await _value(urls.service, "SELECT 1") == 1
    assert psutil.pid_exists(int(ours))


async def test_a_server_left_with_other_settings_is_restarted(
    embedded: "MakeServer", start_owner: "StartOwner", postmaster: "FindPostmaster", data_dir: Path
) -> None:
    owner = start_owner(data_dir)
    await owner.report()
    orphan = postmaster(data_dir)
    await owner.kill()
    async with embedded(data_dir, durable=True) as urls:
        assert await _value(urls.service, "SHOW fsync") == "on"
        assert postmaster(data_dir) not in (None, orphan)


async def test_a_moved_folder_is_the_same_and_a_copied_one_another(
    embedded: "MakeServer", start_owner: "StartOwner", postmaster: "FindPostmaster", data_dir: Path
) -> None:
    first, second, copy = data_dir, data_dir.with_name("second"), data_dir.with_name("copy")
    shutil.copytree(first, copy)
    owner = start_owner(first)
    await owner.report()
    orphan = postmaster(first)
    await owner.kill()
    first.rename(second)
    async with embedded(copy) as copied_urls:
        assert postmaster(second) == orphan, "starting a copy must leave the original alone"
        async with embedded(second) as urls:
            assert postmaster(second) not in (None, orphan)
            assert await _value(urls.service, "SELECT 1") == 1
            assert await _value(copied_urls.service, "SELECT 1") == 1


@pytest.mark.parametrize("step", ["killed-during-initdb", "killed-at-launch"])
async def test_a_first_use_that_is_killed_is_completed_by_the_next(
    embedded: "MakeServer", start_owner: "StartOwner", tmp_path: Path, step: str
) -> None:
    assert await start_owner(tmp_path, "--launcher", step).report() == {}
    assert running_urls(tmp_path) is None
    async with embedded(tmp_path) as urls:
        assert await _value(urls.migration, "SELECT current_user") == "undercroft_owner"
        assert await _value(urls.service, "SELECT current_user") == "undercroft_service"
    home = tmp_path / "postgres"
    assert not list(home.glob("bootstrap-*"))


async def test_lost_passwords_are_reported_and_not_replaced(
    embedded: "MakeServer", data_dir: Path
) -> None:
    credentials = data_dir / "postgres" / "credentials.json"
    credentials.write_text('{"owner": 1}')
    with pytest.raises(PostgresStartError, match="damaged"):
        await embedded(data_dir).start()
    credentials.unlink()
    with pytest.raises(PostgresStartError, match="missing"):
        await embedded(data_dir).start()
    assert not credentials.exists()


async def test_a_failed_start_shows_the_log_and_leaves_nothing(
    embedded: "MakeServer", postmaster: "FindPostmaster", data_dir: Path
) -> None:
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(
        PostgresStartError, match=r"ended while starting.*\n.*FATAL: .*incompatible"
    ):
        await embedded(data_dir).start()
    assert postmaster(data_dir) is None
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("18\n")
    async with embedded(data_dir) as urls:
        assert await _value(urls.service, "SELECT 1") == 1


class _Gate:
    """Holds a start up until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def settle(self, home: Path) -> Cluster:
        self.reached.set()
        self.opened.wait(60)
        return launcher_for(home).settle(home)


async def test_a_cancelled_start_leaves_nothing(
    embedded: "MakeServer", postmaster: "FindPostmaster", data_dir: Path
) -> None:
    gate = _Gate()
    starting = asyncio.create_task(embedded(data_dir, launcher=gate).start())
    await asyncio.to_thread(gate.reached.wait, 60)
    starting.cancel()
    done, _ = await asyncio.wait([starting], timeout=0.5)
    assert not done, "its thread still sets up a server that nobody would stop"
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert postmaster(data_dir) is None
    async with embedded(data_dir) as urls:
        assert await _value(urls.service, "SELECT 1") == 1


async def test_processes_that_a_killed_server_left_make_room_for_the_next(
    embedded: "MakeServer",
    start_owner: "StartOwner",
    postmaster: "FindPostmaster",
    data_dir: Path,
) -> None:
    owner = start_owner(data_dir)
    await owner.report()
    server = postmaster(data_dir)
    assert server is not None
    stuck = next(child for child in server.children() if "checkpointer" in child.cmdline()[0])
    stuck.suspend()
    server.kill()
    await owner.kill()
    async with embedded(data_dir) as urls:
        assert not stuck.is_running()
        assert await _value(urls.service, "SELECT 1") == 1


class _Failing:
    """Runs a server that ends at once while a file exists, and counts how often it did."""

    def __init__(self, folder: Path) -> None:
        self.broken = folder / "broken"
        self.tries = folder / "tries"

    def settle(self, home: Path) -> Cluster:
        cluster = launcher_for(home).settle(home)
        script = (
            f"case \"$*\" in *bin/postgres*) if [ -e '{self.broken}' ]; then echo >> '{self.tries}'; exit 1; fi;; esac;"
            ' exec "$@"'
        )
        return replace(cluster, prefix=("/bin/sh", "-c", script, "sh", *cluster.prefix))


async def test_a_server_that_does_not_come_up_again_is_tried_until_it_does(
    embedded: "MakeServer", postmaster: "FindPostmaster", data_dir: Path, tmp_path: Path
) -> None:
    failing = _Failing(tmp_path)
    server = embedded(data_dir, launcher=failing)
    async with server as urls:
        watching = asyncio.create_task(server.keep_running())
        failing.broken.touch()
        running = postmaster(data_dir)
        assert running is not None
        running.kill()
        async with asyncio.timeout(60):
            while not failing.tries.exists():
                await asyncio.to_thread(os.sched_yield)
        failing.broken.unlink()
        async with asyncio.timeout(60):
            while running_urls(data_dir) is None:
                assert not watching.done(), watching
                await asyncio.to_thread(os.sched_yield)
        assert await _value(urls.service, "SELECT 1") == 1
        watching.cancel()
        await asyncio.wait([watching])


class _Stalling:
    """Runs a program in the server's place that never becomes ready."""

    def settle(self, home: Path) -> Cluster:
        cluster = launcher_for(home).settle(home)
        script = 'case "$*" in *bin/postgres*) exec sleep 600;; esac; exec "$@"'
        return replace(cluster, prefix=("/bin/sh", "-c", script, "sh", *cluster.prefix))


class _HurryingClock(SystemClock):
    """A hundred seconds pass at each look."""

    def __init__(self) -> None:
        self._elapsed = 0.0

    def now(self) -> datetime:
        raise AssertionError("deadlines are measured on the monotonic clock")

    def monotonic(self) -> float:
        self._elapsed += 100
        return self._elapsed


async def test_a_start_without_progress_is_given_up(embedded: "MakeServer", data_dir: Path) -> None:
    stalled = embedded(data_dir, launcher=_Stalling(), clock=_HurryingClock(), start_timeout=150)
    with pytest.raises(PostgresStartError, match="no progress for 150 s"):
        await stalled.start()
    assert not [child for child in psutil.Process().children() if child.name() == "sleep"]
    async with embedded(data_dir) as urls:
        assert await _value(urls.service, "SELECT 1") == 1
