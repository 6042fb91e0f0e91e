"""`kill -9` between the effect of a keyed POST and its answer, and after it: either both are there or neither."""

import asyncio
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import httpx2 as httpx
import pytest

from tests.e2e.conftest import make_key, start_service, stop_service
from tests.e2e.test_idempotency_http import same
from undercroft.kit.postgres.server import running_urls

_PATIENCE = 60.0
_BLOCKED = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def until_blocked(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(_PATIENCE):
        while not await connection.fetchval(_BLOCKED):
            pass


@pytest.mark.slow
async def test_a_killed_request_has_its_effect_and_its_answer_or_neither(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    process, url = start_service(data_dir)
    headers = {
        "Authorization": f"Bearer {make_key(data_dir, 'once', 'ann@example.org', 'admin')}",
        "Idempotency-Key": str(uuid.uuid4()),
    }

    def send(address: str) -> httpx.Response:
        with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
            return client.post("/v1/groups", json={"name": "readers"})

    urls = running_urls(data_dir)
    assert urls is not None
    holder = await asyncpg.connect(urls.migration)
    # The service's own login alone is shown what its sessions wait for.
    watcher = await asyncpg.connect(urls.service)
    with ThreadPoolExecutor(1) as pool:
        async with holder.transaction():
            # The effect waits here: the key is claimed by then.
            await holder.execute("LOCK TABLE groups IN EXCLUSIVE MODE")
            running = pool.submit(send, url)
            await until_blocked(watcher)
            process.send_signal(signal.SIGKILL)
            process.wait()
        with pytest.raises(httpx.TransportError):
            running.result(timeout=_PATIENCE)
    await holder.close()
    await watcher.close()
    process, url = start_service(data_dir)
    first = await asyncio.to_thread(send, url)
    assert first.status_code == 201, first.text
    assert "Idempotency-Replayed" not in first.headers
    process.send_signal(signal.SIGKILL)
    process.wait()
    process, url = start_service(data_dir)
    try:
        same(first, await asyncio.to_thread(send, url))
        listed = httpx.get(f"{url}/v1/groups", headers=headers, timeout=60).json()["data"]
        assert [group["name"] for group in listed] == ["readers"]
    finally:
        stop_service(process)
