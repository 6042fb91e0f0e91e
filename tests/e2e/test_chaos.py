"""Many streams while processes are killed: what each watcher saw is the log, and nothing is lost, twice or stuck."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from uuid import UUID

import aiohttp
import asyncpg
import psutil
import pytest

from tests.e2e.chaos import LOST, Crowd, Event, StillGoingOnError, Told
from tests.e2e.conftest import make_key, start_service, stop_service
from tests.servers.model_server import KEY, ModelServer, running_model_server
from undercroft.kit.ids import parse_id
from undercroft.kit.postgres.server import DatabaseUrls, running_urls

STREAMS = int(os.environ.get("UNDERCROFT_TEST_CHAOS_STREAMS", "12"))
SECONDS = int(os.environ.get("UNDERCROFT_TEST_CHAOS_SECONDS", "12"))
SEED = int(os.environ.get("UNDERCROFT_TEST_CHAOS_SEED", "1"))
WORDS = 60
_FEWEST_KILLS = 2
_PATIENCE = 180.0


class Processes:
    """Two services on one database, the first of which runs it."""

    def __init__(self, data_dir: Path, settings: dict[str, str]) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._running: dict[str, tuple[subprocess.Popen[bytes], str]] = {}
        self.start("first")
        urls = running_urls(data_dir)
        assert urls is not None
        self.urls: DatabaseUrls = urls
        self.start("second")

    @property
    def addresses(self) -> list[str]:
        return [url for _, url in self._running.values()]

    def start(self, name: str) -> None:
        beside = {"UNDERCROFT_DATABASE_URL": self.urls.service} if name == "second" else {}
        self._running[name] = start_service(self._data_dir, {**self._settings, **beside})

    def kill(self, name: str) -> None:
        """One service; of the database, which the first one starts again, its postmaster."""
        if name != "postgres":
            process = self._running[name][0]
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.start(name)
            return
        for child in psutil.Process(self._running["first"][0].pid).children():
            if child.name() == "postgres":
                child.kill()

    def stop(self) -> None:
        for name in ("second", "first"):
            stop_service(self._running[name][0])


@pytest.fixture
def paced() -> Generator[ModelServer]:
    with running_model_server() as server:
        yield server


@pytest.mark.slow
async def test_killed_processes_lose_nothing_and_say_nothing_twice(
    paced: ModelServer, tmp_path: Path
) -> None:
    """Seeded by ``UNDERCROFT_TEST_CHAOS_SEED``: what is killed, and when clients leave; not how the processes run."""
    draw = random.Random(SEED)
    settings = {
        "UNDERCROFT_UPSTREAM_URL": paced.base_url,
        "UNDERCROFT_UPSTREAM_KEY": KEY,
        "UNDERCROFT_UPSTREAM_CONTINUES": "true",
    }
    processes = await asyncio.to_thread(Processes, tmp_path / "data", settings)
    try:
        key = make_key(tmp_path / "data", "main", "main@example.org")
        async with aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"},
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=60, sock_read=30),
        ) as session:
            crowd = Crowd(session, lambda: processes.addresses, draw, "paced", SECONDS + _PATIENCE)
            conversations = [await make_conversation(session, processes) for _ in range(3)]
            told = [
                Told(
                    f"chaos-{SEED}-{number}", " ".join(f"w{number}n{word}" for word in range(WORDS))
                )
                for number in range(STREAMS)
            ]
            async with asyncio.TaskGroup() as tasks:
                for number, each in enumerate(told):
                    # A third of them take turns in conversations; a quarter is sent twice at once.
                    place = conversations[number % 3] if number % 3 == 0 else None
                    for _ in range(2 if number % 4 == 0 else 1):
                        tasks.create_task(crowd.send(each, place))
                tasks.create_task(asyncio.to_thread(wreck, processes, draw))
            for each in told:
                await assert_told(crowd, each)
            await assert_conversations(session, processes, conversations)
        await assert_nothing_runs(processes.urls, told)
    finally:
        await asyncio.to_thread(processes.stop)


def wreck(processes: Processes, draw: random.Random) -> None:
    """Kill one process after the other; each is started again, which takes the seconds between."""
    until, kills = time.monotonic() + SECONDS, 0
    while kills < _FEWEST_KILLS or time.monotonic() < until:
        processes.kill(draw.choice(("first", "second", "postgres")))
        kills += 1


async def make_conversation(session: aiohttp.ClientSession, processes: Processes) -> str:
    async with session.post(f"{processes.addresses[0]}/v1/conversations", json={}) as made:
        return str((await made.json())["id"])


async def assert_told(crowd: Crowd, told: Told) -> None:
    """One response for all sends of a key; every watcher saw the log's own events, from wherever it was."""
    (response_id,) = told.ids
    log: list[Event] = []
    async with asyncio.timeout(_PATIENCE):
        while not log or log[-1]["type"] != "response.completed":
            try:
                await crowd.watch(response_id, log, stays=True)
            except (*LOST, StillGoingOnError):
                await asyncio.sleep(0.1)
    assert [event["sequence_number"] for event in log] == list(range(len(log)))
    text = "".join(event["delta"] for event in log if event["type"] == "response.output_text.delta")
    assert text == told.words == log[-1]["response"]["output"][0]["content"][0]["text"]
    for seen in told.seen:
        assert seen == log


async def assert_conversations(
    session: aiohttp.ClientSession, processes: Processes, conversations: list[str]
) -> None:
    """Turns are whole, in order, and answered once: each question is followed by its own answer."""
    for conversation in conversations:
        url = f"{processes.addresses[0]}/v1/conversations/{conversation}/items"
        async with session.get(url, params={"order": "asc", "limit": "100"}) as listed:
            items = (await listed.json())["data"]
        said = [(item["role"], item["content"][0]["text"]) for item in items]
        assert [role for role, _ in said] == ["user", "assistant"] * (len(said) // 2)
        assert [text for _, text in said[::2]] == [text for _, text in said[1::2]]


async def assert_nothing_runs(urls: DatabaseUrls, told: list[Told]) -> None:
    """No lease is held, no response is unfinished, and each key was charged once."""
    owner = await asyncpg.connect(urls.migration)
    try:
        for table in ("responses", "response_streams"):
            await owner.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        assert (
            await owner.fetchval("SELECT count(*) FROM response_streams WHERE ended_at IS NULL")
            == 0
        )
        kept = {
            row["id"]: row["status"]
            for row in await owner.fetch("SELECT id, status FROM responses")
        }
    finally:
        await owner.close()
    ids: set[UUID | None] = {parse_id("resp_", each) for one in told for each in one.ids}
    assert set(kept) == ids
    assert set(kept.values()) == {"completed"}
