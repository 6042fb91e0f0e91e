"""Owners of embedded servers as programs of their own, and the three ways to run a server."""

import asyncio
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from undercroft.kit.clock import Clock, SystemClock
from undercroft.kit.postgres.cluster import Cluster, packaged_installation
from undercroft.kit.postgres.control import find_processes
from undercroft.kit.postgres.launchers import Launcher, UserNamespaceLauncher, moved_cluster
from undercroft.kit.postgres.server import DatabaseUrls, EmbeddedPostgres

_OWNER = Path(__file__).with_name("owner.py")


class Owner:
    """A running ``owner.py``."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, _OWNER, data_dir, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def report(self) -> dict[str, str]:
        """What it printed: its URLs, its error, or nothing if it died."""
        return await asyncio.to_thread(self.read)

    def read(self) -> dict[str, str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {}

    async def kill(self) -> None:
        """SIGKILL: no clean-up of any kind."""
        self._process.kill()
        await self.wait()

    async def wait(self) -> int:
        """Close its input and wait for its end."""
        return await asyncio.to_thread(self.close)

    def close(self) -> int:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            return self._process.wait(60)


class StartOwner(Protocol):
    def __call__(self, data_dir: Path, *options: str) -> Owner: ...


def postmaster_of(data_dir: Path) -> psutil.Process | None:
    home = data_dir.resolve() / "postgres"
    cluster = Cluster(moved_cluster(home) or home, installation=Path())
    return find_processes(cluster)[0] if cluster.data.exists() else None


FindPostmaster = Callable[[Path], psutil.Process | None]


@pytest.fixture
def postmaster() -> FindPostmaster:
    """Finds the postmaster of a data folder."""
    return postmaster_of


@pytest.fixture
def start_owner() -> Iterator[StartOwner]:
    """Starts owners, and ends them and whatever they left running."""
    owners: list[Owner] = []
    folders: set[Path] = set()

    def start(data_dir: Path, *options: str) -> Owner:
        owners.append(Owner(data_dir, *options))
        folders.add(data_dir)
        return owners[-1]

    yield start
    for owner in owners:
        owner.close()
    for folder in folders:
        if (orphan := postmaster_of(folder)) is not None:
            orphan.kill()


class MakeServer(Protocol):
    def __call__(
        self,
        data_dir: Path,
        *,
        launcher: Launcher | None = None,
        clock: Clock = ...,
        start_timeout: float = ...,
        durable: bool = ...,
    ) -> EmbeddedPostgres: ...


@pytest.fixture
def embedded() -> MakeServer:
    """Makes supervisors that do not wait for the disk."""

    def make(
        data_dir: Path,
        *,
        launcher: Launcher | None = None,
        clock: Clock | None = None,
        start_timeout: float = 120.0,
        durable: bool = False,
    ) -> EmbeddedPostgres:
        return EmbeddedPostgres(
            data_dir,
            clock=clock or SystemClock(),
            start_timeout=start_timeout,
            durable=durable,
            launcher=launcher,
        )

    return make


@pytest.fixture(scope="session")
def used_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose server ran once: copying it is ten times cheaper than a first use."""
    folder = tmp_path_factory.mktemp("used") / "data"
    owner = Owner(folder)
    assert "service" in owner.read()
    assert owner.close() == 0
    return folder


@pytest.fixture
def data_dir(used_folder: Path, tmp_path: Path) -> Path:
    """A data folder of this test's own, which has been used before."""
    return Path(shutil.copytree(used_folder, tmp_path / "data"))


@pytest.fixture(scope="module")
def shared_folder(
    used_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, DatabaseUrls]]:
    """A data folder and its running server, for tests that leave it as it is."""
    folder = Path(shutil.copytree(used_folder, tmp_path_factory.mktemp("shared") / "data"))
    owner = Owner(folder)
    yield folder, DatabaseUrls(**owner.read())
    owner.close()


@dataclass(frozen=True)
class Strategy:
    """One way to run a server, and a data folder that fits it."""

    name: str
    data_dir: Path
    options: tuple[str, ...] = field(default=())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can pass, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="undercroft-test-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["direct", "user-namespace", "unprivileged-user"])
def strategy(request: pytest.FixtureRequest, tmp_path: Path, open_folder: Path) -> Strategy:
    name: str = request.param
    options: tuple[str, ...] = ("--launcher", name)
    is_root = os.geteuid() == 0
    closed = tmp_path / "closed to others"
    closed.mkdir(mode=0o700)
    if name == "direct" and is_root:
        return _direct_as_other_user(open_folder, options)
    if name == "user-namespace" and not UserNamespaceLauncher().works(closed):
        pytest.skip("this machine does not permit user namespaces")
    if name == "unprivileged-user":
        if not is_root:
            pytest.skip("only root can become another user")
        options += ("--state-folder", str(open_folder))
    return Strategy(name, closed / "data", options)


def _direct_as_other_user(folder: Path, options: tuple[str, ...]) -> Strategy:
    """Root cannot run a server directly; its owner becomes ``nobody``."""
    program = packaged_installation() / "bin" / "postgres"
    if not all(parent.stat().st_mode & 0o001 for parent in program.parents):
        pytest.skip(f"{program} is closed to other users, so root cannot try this one")
    uid = pwd.getpwnam("nobody").pw_uid
    data_dir = folder / "data"
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, uid, uid)
    return Strategy("direct", data_dir, (*options, "--uid", str(uid)))
