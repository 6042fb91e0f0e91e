"""What holds for every way to run the server: root or not, with or without user namespaces."""

import os
import stat
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from tests.kit.postgres.conftest import FindPostmaster, StartOwner, Strategy


async def test_a_killed_owners_server_is_adopted_with_its_data_and_then_stopped(
    strategy: "Strategy", start_owner: "StartOwner", postmaster: "FindPostmaster"
) -> None:
    data_dir = strategy.data_dir
    owner = start_owner(data_dir, *strategy.options)
    urls = await owner.report()
    connection = await asyncpg.connect(urls["migration"])
    await connection.execute("CREATE TABLE kept AS SELECT 'before the kill' AS word")
    await owner.kill()
    orphan = postmaster(data_dir)
    assert orphan is not None
    assert os.getsid(orphan.pid) != os.getsid(0), "Ctrl-C in the terminal would reach the server"
    assert orphan.uids().real != 0 or strategy.name == "user-namespace"

    heir = start_owner(data_dir, *strategy.options)
    assert await heir.report() == urls
    assert postmaster(data_dir) == orphan
    assert await connection.fetchval("SELECT word FROM kept") == "before the kill"
    await connection.close()
    assert await heir.wait() == 0
    assert postmaster(data_dir) is None

    third = start_owner(data_dir, *strategy.options)
    connection = await asyncpg.connect((await third.report())["migration"])
    assert await connection.fetchval("SELECT word FROM kept") == "before the kill"
    await connection.close()
    home = data_dir / "postgres"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "credentials.json").stat().st_mode) == 0o600


async def test_a_killed_server_recovers_what_was_committed(
    strategy: "Strategy", start_owner: "StartOwner", postmaster: "FindPostmaster"
) -> None:
    data_dir = strategy.data_dir
    owner = start_owner(data_dir, *strategy.options)
    connection = await asyncpg.connect((await owner.report())["migration"])
    await connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
    server = postmaster(data_dir)
    assert server is not None
    server.kill()
    await owner.kill()
    connection.terminate()

    heir = start_owner(data_dir, *strategy.options)
    connection = await asyncpg.connect((await heir.report())["migration"])
    assert await connection.fetchval("SELECT count(*) FROM kept") == 1000
    await connection.close()
    assert await heir.wait() == 0
