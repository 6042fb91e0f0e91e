"""Streams of 100 words at 10 ms each: the model server itself, a bare pass-through, LiteLLM's proxy, and this service.

``python benchmarks/bench_streams.py``; with ``--litellm PATH``, LiteLLM's command in an environment of its own, too.
Retrieval is off: what is measured is the path of a word. Of this service both faces are asked.
"""

import argparse
import asyncio
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from benchmarks.live_service import running_service
from benchmarks.report import header, percentile, publish
from benchmarks.token_servers import MODEL, WORDS

SECONDS = 120.0
STAGGER_SECONDS = 5.0
IDLE_SECONDS = 20.0
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
FIRST_WORD = b"word0 "
REPEATED = b"response.output_text.done"
"""From here on the Responses API says everything again."""


@dataclass(frozen=True, slots=True)
class Server:
    """One that streams.

    Attributes:
        process: Its first one.
        path: What is asked.
    """

    name: str
    url: str
    process: psutil.Process
    path: str
    key: str = "none"

    def body(self) -> dict[str, Any]:
        """The request."""
        said = "Say what you have to say."
        asked = (
            {"input": said}
            if self.path == RESPONSES
            else {"messages": [{"role": "user", "content": said}]}
        )
        return {"model": MODEL, "stream": True, **asked}


@dataclass(frozen=True, slots=True)
class Seen:
    """One stream: seconds to its first word, and all that came."""

    first_word: float
    received: bytes

    def is_whole(self) -> bool:
        """Whether no word is lost."""
        said = self.received.partition(REPEATED)[0]
        return all(b"word%d " % number in said for number in range(WORDS))


async def watch(session: aiohttp.ClientSession, server: Server, delay: float) -> Seen:
    await asyncio.sleep(delay)
    started, first, received = time.perf_counter(), 0.0, b""
    async with session.post(server.path, json=server.body()) as answer:
        async for piece in answer.content.iter_any():
            received += piece
            if not first and FIRST_WORD in received:
                first = time.perf_counter() - started
    return Seen(first, received)


async def measure_server(server: Server, streams: int, stagger: float) -> dict[str, Any]:
    before, began = processor_seconds(server.process), time.perf_counter()
    async with aiohttp.ClientSession(
        server.url,
        headers={"Authorization": f"Bearer {server.key}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(SECONDS),
        raise_for_status=True,
    ) as session:
        delays = [stagger * number / streams for number in range(streams)]
        results = await asyncio.gather(
            *(watch(session, server, delay) for delay in delays), return_exceptions=True
        )
    after, ended = processor_seconds(server.process), time.perf_counter()
    seen = [result for result in results if isinstance(result, Seen) and result.is_whole()]
    firsts = [1000 * one.first_word for one in seen]
    return {
        "server": server.name,
        "streams": streams,
        "arrival": "staggered" if stagger else "burst",
        "failed": streams - len(seen),
        "seconds": round(ended - began, 1),
        "cpu_ms_per_stream": {
            name: round(1000 * (after[name] - before[name]) / streams, 2) for name in after
        },
        "first_word_ms": {
            "p50": round(statistics.median(firsts), 2) if firsts else None,
            "p99": round(percentile(firsts, 99), 2) if firsts else None,
        },
        "resident_mib": round(resident_bytes(server.process) / 2**20, 1),
    }


async def measure_idle(servers: Sequence[Server]) -> dict[str, dict[str, float]]:
    """What each takes a second while nobody asks for anything: it is in what their streams take, too."""
    before = {each.name: processor_seconds(each.process) for each in servers}
    await asyncio.sleep(IDLE_SECONDS)
    after = {each.name: processor_seconds(each.process) for each in servers}
    return {
        server: {
            name: round(1000 * (spent - before[server][name]) / IDLE_SECONDS, 1)
            for name, spent in spent_after.items()
        }
        for server, spent_after in after.items()
    }


def processor_seconds(process: psutil.Process) -> dict[str, float]:
    """Of all its processes, the database's apart; what has ended and was waited for is with its parent."""
    spent = {"service": 0.0, "postgres": 0.0}
    for one in (process, *process.children(recursive=True)):
        name = "postgres" if one.name() == "postgres" else "service"
        times = one.cpu_times()
        spent[name] += times.user + times.system
        if name == "postgres":
            spent[name] += times.children_user + times.children_system
    return spent


def resident_bytes(process: psutil.Process) -> int:
    return process.memory_info().rss


@asynccontextmanager
async def running(command: Sequence[str], port: int) -> AsyncGenerator[psutil.Process]:
    """A server of another's in a process of its own, once it listens."""
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(SECONDS):
                while not await _is_listening(port):
                    if process.returncode is not None:
                        log.seek(0)
                        raise RuntimeError(log.read().decode()[-2000:])
                    await asyncio.sleep(0.1)
            yield psutil.Process(process.pid)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def start_servers(
    stack: AsyncExitStack, litellm: str | None, service_module: str = "undercroft"
) -> list[Server]:
    """The model server first, then whoever stands before it, and this service twice: once for each face."""
    program = (sys.executable, "-m", "benchmarks.token_servers")
    port = free_port()
    upstream = f"http://127.0.0.1:{port}"
    process = await stack.enter_async_context(running((*program, "upstream", str(port)), port))
    servers = [Server("upstream", upstream, process, CHAT)]
    port = free_port()
    command = (*program, "pass-through", str(port), upstream)
    process = await stack.enter_async_context(running(command, port))
    servers.append(Server("pass_through", f"http://127.0.0.1:{port}", process, CHAT))
    if litellm is not None:
        port = free_port()
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        config = Path(folder) / "config.yaml"
        config.write_text(
            f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n"
            f"      api_base: {upstream}/v1\n      api_key: none\n"
        )
        command = (litellm, "--config", str(config), "--port", str(port), "--host", "127.0.0.1")
        process = await stack.enter_async_context(running(command, port))
        servers.append(Server("litellm", f"http://127.0.0.1:{port}", process, CHAT))
    os.environ["UNDERCROFT_UPSTREAM_URL"] = f"{upstream}/v1"
    service = await stack.enter_async_context(running_service(("-m", service_module)))
    key = await service.make_key("bench")
    process = psutil.Process(service.process_id)
    for name, path in (("undercroft_chat", CHAT), ("undercroft_responses", RESPONSES)):
        servers.append(Server(name, service.url, process, path, key))
    return servers


async def measure(sizes: Sequence[int], litellm: str | None) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        servers = await start_servers(stack, litellm)
        for server in servers:
            await measure_server(server, 8, 0.0)
        return {
            "words": WORDS,
            "idle_cpu_ms_per_second": await measure_idle(servers),
            "runs": [
                await measure_server(server, size, stagger)
                for size in sizes
                for stagger in (STAGGER_SECONDS, 0.0)
                for server in servers
            ],
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 50, 200, 1000])
    parser.add_argument("--litellm", help="LiteLLM's command")
    chosen = parser.parse_args()
    document = header("streams")
    document.update(asyncio.run(measure(chosen.streams, chosen.litellm)))
    publish(document)
