"""Thousands at once on one process: ``python benchmarks/bench_crowds.py``.

*Watchers* all watch one kept response whose model says nothing more for a while: what each takes of the process's
memory, and that each is told the end. *Streams* are chat completions of such a model, all open at once: how many fail.
Both are begun ``AT_ONCE`` at a time: what is measured is being there, not coming in. However long that takes: the
service waits for the silent model for a quarter of an hour, not for a minute.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from benchmarks.bench_streams import CHAT, RESPONSES, Server, resident_bytes, start_servers
from benchmarks.report import header, publish
from benchmarks.token_servers import HELD_MODEL

SECONDS = 900.0
AT_ONCE = 32
COMPLETED = b"response.completed"
DONE = b"[DONE]"


class Crowd:
    """Readers of streams, each of which stays until its end.

    Args:
        session: Whose connections they are.
        begun: What each has to have received to be there.
        ended: What each has to have received in the end.
    """

    def __init__(self, session: aiohttp.ClientSession, begun: bytes, ended: bytes) -> None:
        self._session = session
        self._begun = begun
        self._ended = ended
        self._coming = asyncio.Semaphore(AT_ONCE)
        self._tasks: list[asyncio.Task[bool]] = []
        self.there = 0

    async def gather(self, count: int, method: str, path: str, body: dict[str, Any] | None) -> None:
        """Return once all are there, or have failed."""
        arrivals = [asyncio.Event() for _ in range(count)]
        self._tasks = [
            asyncio.create_task(self._read(method, path, body, arrived)) for arrived in arrivals
        ]
        await asyncio.gather(*(arrived.wait() for arrived in arrivals))

    async def count_whole(self) -> int:
        """How many were told the end, once all have ended."""
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        return sum(each is True for each in ended)

    async def _read(
        self, method: str, path: str, body: dict[str, Any] | None, arrived: asyncio.Event
    ) -> bool:
        received = b""
        try:
            await self._coming.acquire()
            try:
                answer = await self._session.request(method, path, json=body)
                while self._begun not in received:
                    piece = await answer.content.readany()
                    if not piece:
                        return False
                    received += piece
                self.there += 1
            finally:
                self._coming.release()
                arrived.set()
            return self._ended in received + await answer.read()
        finally:
            arrived.set()


def open_session(server: Server) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        server.url,
        headers={"Authorization": f"Bearer {server.key}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(SECONDS),
        raise_for_status=True,
    )


async def let_go(upstream: Server) -> None:
    async with aiohttp.ClientSession(upstream.url) as session, session.post("/let-go"):
        pass


async def watch(server: Server, upstream: Server, watchers: int) -> dict[str, Any]:
    async with open_session(server) as session:
        body = {"model": HELD_MODEL, "input": "Wait.", "background": True}
        async with session.post(RESPONSES, json=body) as answer:
            response_id = json.loads(await answer.read())["id"]
        path = f"{RESPONSES}/{response_id}?stream=true"
        few = Crowd(session, b"word0 ", COMPLETED)
        # What the first ones take is the process's, as much as theirs.
        await few.gather(AT_ONCE, "GET", path, None)
        before = resident_bytes(server.process)
        many = Crowd(session, b"word0 ", COMPLETED)
        started = time.perf_counter()
        await many.gather(watchers, "GET", path, None)
        seconds, after = time.perf_counter() - started, resident_bytes(server.process)
        await let_go(upstream)
        return {
            "watchers": watchers,
            "there": many.there,
            "told_the_end": await many.count_whole(),
            "kib_each": round((after - before) / watchers / 1024, 1),
            "seconds_to_come_in": round(seconds, 1),
            "others_told_the_end": await few.count_whole(),
        }


async def stream(server: Server, upstream: Server, streams: int) -> dict[str, Any]:
    async with open_session(server) as session:
        before = resident_bytes(server.process)
        crowd = Crowd(session, b"word0 ", DONE)
        body = {
            "model": HELD_MODEL,
            "stream": True,
            "messages": [{"role": "user", "content": "Wait."}],
        }
        started = time.perf_counter()
        await crowd.gather(streams, "POST", CHAT, body)
        seconds, after = time.perf_counter() - started, resident_bytes(server.process)
        await let_go(upstream)
        return {
            "streams": streams,
            "open_at_once": crowd.there,
            "whole": await crowd.count_whole(),
            "kib_each": round((after - before) / streams / 1024, 1),
            "seconds_to_come_in": round(seconds, 1),
        }


async def measure(count: int, kinds: Sequence[str]) -> dict[str, Any]:
    # Two settings are not their defaults, which bound a process to 2,000 requests and 1,000 answers.
    for bound in ("UNDERCROFT_MAX_OPEN_REQUESTS", "UNDERCROFT_MAX_RUNNING_RESPONSES"):
        os.environ[bound] = str(2 * count)
    measured: dict[str, Any] = {}
    for kind in kinds:
        async with AsyncExitStack() as stack:
            started = await start_servers(stack, None, "benchmarks.patient_service")
            servers = {server.name: server for server in started}
            upstream = servers["upstream"]
            if kind == "watchers":
                measured[kind] = await watch(servers["undercroft_responses"], upstream, count)
            else:
                measured[kind] = await stream(servers["undercroft_chat"], upstream, count)
    return measured


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--kinds", nargs="+", default=["watchers", "streams"])
    chosen = parser.parse_args()
    document = header("crowds")
    document.update(asyncio.run(measure(chosen.count, chosen.kinds)))
    publish(document)
