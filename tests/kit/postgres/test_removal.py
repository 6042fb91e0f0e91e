"""A database that is thrown away: nothing of it is left, and its folder can be used again."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from undercroft.kit.postgres.cluster import Cluster
from undercroft.kit.postgres.removal import erase_cluster

if TYPE_CHECKING:
    from tests.kit.postgres.conftest import FindPostmaster, MakeServer


async def test_an_erased_database_is_gone_and_its_folder_begins_anew(
    data_dir: Path, embedded: "MakeServer", postmaster: "FindPostmaster"
) -> None:
    server = embedded(data_dir)
    urls = await server.start()
    connection = await asyncpg.connect(urls.migration)
    await connection.execute("CREATE TABLE public.remembered ()")
    await connection.close()
    process = postmaster(data_dir)
    assert process is not None
    await server.erase()
    assert not process.is_running()
    assert await asyncio.to_thread(os.listdir, data_dir) == []
    async with embedded(data_dir) as again:
        connection = await asyncpg.connect(again.migration)
        assert await connection.fetchval("SELECT to_regclass('public.remembered')") is None
        await connection.close()


def test_a_cluster_that_was_moved_is_erased_where_it_is(tmp_path: Path) -> None:
    home, moved = tmp_path / "postgres", tmp_path / "elsewhere"
    home.mkdir()
    (home / "moved.json").touch()
    (moved / "data").mkdir(parents=True)
    (moved / "installation-1").mkdir()
    (moved / "postgresql.conf").touch()
    erase_cluster(Cluster(moved, installation=Path()), home)
    assert list(tmp_path.iterdir()) == []


def test_after_a_crash_in_the_middle_no_half_of_a_database_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "postgres"
    (home / "data" / "base").mkdir(parents=True)

    def crash(*_: object, **__: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", crash)
        with pytest.raises(InterruptedError):
            erase_cluster(Cluster(home, installation=Path()), home)
    assert not (home / "data").exists()
    erase_cluster(Cluster(home, installation=Path()), home)
    assert not home.exists()
