"""`kill -9` between the effect of a keyed POST and its answer, and after it: either both are there or neither."""

import asyncio
import signal
from pathlib import Path

import asyncpg
import httpx2 as httpx
import pytest

from tests.e2e.api import connect
from tests.e2e.conftest import make_key, start_service, stop_service
from tests.e2e.test_idempotency_http import REPLAYED, assert_replayed, keyed
from tests.stepping import until_waiting_for
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import running_urls


@pytest.mark.slow
async def test_a_killed_request_has_its_effect_and_its_answer_or_neither(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    process, url = start_service(data_dir)
    key, headers = make_key(data_dir, "once", "ann@example.org", "admin"), keyed()

    def send(address: str) -> httpx.Response:
        with connect(address, key) as client:
            return client.post("/v1/groups", json={"name": "readers"}, headers=headers)

    urls = running_urls(data_dir)
    assert urls is not None
    holder = await asyncpg.connect(urls.migration)
    # The service's own login alone is shown what its sessions wait for.
    async with Database(urls.service, clock=SystemClock(), size=1) as watcher:
        async with holder.transaction():
            # The effect waits here: the key is claimed by then.
            await holder.execute("LOCK TABLE groups IN EXCLUSIVE MODE")
            running = asyncio.create_task(asyncio.to_thread(send, url))
            # By its very request: the service has other work, which may wait for something of its own.
            await until_waiting_for(watcher, holder)
            process.send_signal(signal.SIGKILL)
            process.wait()
        with pytest.raises(httpx.TransportError):
            await running
    await holder.close()
    process, url = start_service(data_dir)
    first = await asyncio.to_thread(send, url)
    assert first.status_code == 201, first.text
    assert REPLAYED not in first.headers
    process.send_signal(signal.SIGKILL)
    process.wait()
    process, url = start_service(data_dir)
    try:
        assert_replayed(first, await asyncio.to_thread(send, url))
        with connect(url, key) as client:
            listed = client.get("/v1/groups").json()["data"]
        assert [group["name"] for group in listed] == ["readers"]
    finally:
        stop_service(process)
