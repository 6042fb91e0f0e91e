"""What every test may ask for: a database, a scope in it, programs beyond Python; and what no test may leave behind."""

import asyncio
import inspect
import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Generator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import httpcore2
import psutil
import pytest

from tests.database_server import fresh_database, shared_server
from tests.measuring import measured_as_needed
from tests.scheduling import pytest_xdist_make_scheduler
from tests.servers.aws import running_moto
from tests.servers.kms import Kms, running_kms
from tests.service_database import template_folder
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls

__all__ = ["pytest_xdist_make_scheduler"]

REQUIRE_PROGRAMS: Final = "UNDERCROFT_TEST_REQUIRE_PROGRAMS"
_MULTIPROCESSING: Final = ("resource_tracker", "forkserver")
_LONGEST_ID: Final = 100
_CHILDREN: Final = pytest.StashKey[set[int]]()


@dataclass(frozen=True, slots=True)
class Member:
    """A user of a tenant, as a scope for transactions."""

    tenant_id: UUID
    principal_id: UUID
    email: str
    actor_id: UUID | None = None
    purpose: str | None = None


class MakeScope(Protocol):
    """Makes a user, in a tenant of its own unless one is given."""

    def __call__(self, tenant_id: UUID | None = None, *, role: str = "member") -> Awaitable[Member]:
        """Insert the user, and the tenant if need be."""
        ...


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[DatabaseUrls]:
    """The run's PostgreSQL server; its own database is the template, so never connect to it."""
    with shared_server(_run_folder(tmp_path_factory)) as urls:
        yield urls


@pytest.fixture(scope="session", autouse=True)
def service_template(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """The database that every service of the run begins with is made once."""
    with template_folder(_run_folder(tmp_path_factory)):
        yield


@pytest.fixture(scope="session", autouse=True)
def tls_context() -> Generator[None]:
    """Thousands of clients of plain HTTP read the machine's certificates once: that takes a processor 20 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


def _run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, whichever of its workers this is."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture
async def database_urls(database_server: DatabaseUrls) -> AsyncGenerator[DatabaseUrls]:
    """A migrated, empty database of this test's own: its two logins."""
    async with fresh_database(database_server) as urls:
        yield urls


@pytest.fixture
async def database(database_urls: DatabaseUrls) -> AsyncGenerator[Database]:
    """A migrated, empty database of this test's own, opened with the service's login."""
    async with Database(database_urls.service, clock=SystemClock(), size=8) as opened:
        yield opened


@pytest.fixture
def make_scope(database: Database) -> MakeScope:
    """Makes tenants and users in this test's database."""
    return scope_maker(database)


def scope_maker(database: Database) -> MakeScope:
    """Makes tenants and users in a database."""
    ids = IdSource()

    async def make(tenant_id: UUID | None = None, *, role: str = "member") -> Member:
        user_id = ids.new()
        member = Member(tenant_id or ids.new(), user_id, f"{user_id.hex}@example.org")
        async with database.transaction(member) as connection:
            if tenant_id is None:
                await connection.execute(
                    "INSERT INTO tenants (id, name) VALUES ($1, $2)",
                    member.tenant_id,
                    f"tenant {member.tenant_id.hex}",
                )
            await connection.execute(
                "INSERT INTO users (id, tenant_id, email, role) VALUES ($1, $2, $3, $4)",
                member.principal_id,
                member.tenant_id,
                member.email,
                role,
            )
        return member

    return make


@pytest.fixture(scope="session")
def kms_server() -> Generator[Kms]:
    """A KMS that counts and misbehaves."""
    with running_moto() as moto, running_kms(moto) as kms:
        yield kms


@pytest.fixture
def kms(kms_server: Kms) -> Kms:
    """The same, behaving."""
    kms_server.behave()
    return kms_server


@pytest.fixture(autouse=True)
def no_stray_tasks(request: pytest.FixtureRequest) -> None:
    """Set up first and torn down last, so that a test's own fixtures have ended their tasks by then."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_stray_tasks")


@pytest.fixture
async def _stray_tasks() -> AsyncGenerator[None]:
    yield
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        _, tasks = await asyncio.wait(tasks, timeout=30)
    assert not tasks, "these tasks still run after the test: " + ", ".join(map(repr, tasks))


def pytest_configure() -> None:
    """Find the programs that distributions keep out of an ordinary user's PATH, such as nginx."""
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long text by its beginning, and bytes by what they are given as.

    A child process has the whole id in its environment, where one string may have 128 KiB on Linux: it would fail to
    start. And files that tests make hold the time they were made at: each process of a run would collect other tests.
    """
    if isinstance(val, bytes):
        return argname
    is_long = isinstance(val, str) and len(val) > _LONGEST_ID
    return ascii(val)[:_LONGEST_ID] if is_long else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs are absent; fail it where they have to be there."""
    for marker in item.iter_markers("needs"):
        missing = [program for program in marker.args if shutil.which(str(program)) is None]
        if missing:
            reason = f"needs {', '.join(missing)}"
            (pytest.fail if os.environ.get(REQUIRE_PROGRAMS) else pytest.skip)(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """With its fixtures: what they start is what is measured or not."""
    with measured_as_needed(item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Remember which child processes fixtures run, also those that have no command line yet as they just start."""
    item.stash[_CHILDREN] = set(_child_ids())
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Fail a test that leaves child processes behind."""
    yield
    strays = _children()
    for pid in item.stash.get(_CHILDREN, set(strays)):
        strays.pop(pid, None)
    assert not strays, f"these child processes still run after the test: {strays}"


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty when it has ended since it was listed."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _children() -> dict[int, str]:
    """Command lines of living child processes by id; not multiprocessing's own, which outlive their first use."""
    found: dict[int, str] = {}
    for pid in _child_ids():
        try:
            command = " ".join(psutil.Process(pid).cmdline())
        except psutil.Error:
            continue
        if command and not any(name in command for name in _MULTIPROCESSING):
            found[pid] = command
    return found


def _child_ids() -> list[int]:
    """From the kernel where it tells: psutil looks at every process of the machine, 8 ms, and this is twice a test."""
    try:
        lists = [thread / "children" for thread in Path("/proc/self/task").iterdir()]
        return [int(pid) for children in lists for pid in children.read_text().split()]
    except OSError:
        return [process.pid for process in psutil.Process().children()]
