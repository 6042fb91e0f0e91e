"""How soon a model server notices that nobody wants its answer any more: ``python benchmarks/bench_leaving.py``.

Of an explicit cancel, of a client that leaves a response which is not kept, of one that leaves a chat completion; and
of one that leaves a bare pass-through, the floor. From the request, or the closing of the connection, to the moment at
which the server's own framework tells it. Each alone: what is measured is a way, not a queue.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from benchmarks.bench_streams import FIRST_WORD, RESPONSES, Server, start_servers
from benchmarks.report import header, percentile, publish
from benchmarks.token_servers import HELD_MODEL

SECONDS = 30.0
RESPONSE_ID = "resp_"

Leave = Callable[[aiohttp.ClientSession, aiohttp.ClientResponse, bytes], Awaitable[float]]


async def close(_: aiohttp.ClientSession, answer: aiohttp.ClientResponse, __: bytes) -> float:
    """Leave; when that was."""
    left = time.monotonic()
    answer.close()
    return left


async def cancel(
    session: aiohttp.ClientSession, answer: aiohttp.ClientResponse, received: bytes
) -> float:
    """Cancel what is being read; when that was asked for."""
    begun = received.partition(b'"id":"' + RESPONSE_ID.encode())[2]
    response_id = RESPONSE_ID + begun.partition(b'"')[0].decode()
    asked = time.monotonic()
    async with session.post(f"{RESPONSES}/{response_id}/cancel"):
        pass
    answer.close()
    return asked


async def measure_one(
    session: aiohttp.ClientSession, upstream: Server, path: str, body: dict[str, Any], leave: Leave
) -> float:
    """Milliseconds until the model server knows."""
    said = body["input"] if path == RESPONSES else body["messages"][-1]["content"]
    received = b""
    async with session.post(path, json={"model": HELD_MODEL, "stream": True, **body}) as answer:
        async for piece in answer.content.iter_any():
            received += piece
            if FIRST_WORD in received:
                break
        began = await leave(session, answer, received)
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession(upstream.url) as asking:
        while True:
            async with asking.get("/left") as answer:
                noticed = json.loads(await answer.read()).get(said)
            if noticed is not None:
                return 1000 * (noticed - began)
            await asyncio.sleep(0.01)


def body_of(path: str, said: str, *, is_kept: bool) -> dict[str, Any]:
    if path == RESPONSES:
        return {"input": said, "store": is_kept}
    return {"messages": [{"role": "user", "content": said}]}


async def measure(turns: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        servers = {server.name: server for server in await start_servers(stack, None)}
        ways: dict[str, tuple[Server, Leave, bool]] = {
            "pass_through_left": (servers["pass_through"], close, False),
            "chat_left": (servers["undercroft_chat"], close, False),
            "response_left_unkept": (servers["undercroft_responses"], close, False),
            "response_cancelled": (servers["undercroft_responses"], cancel, True),
        }
        samples: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(-5, turns):
            for name, (server, leave, is_kept) in ways.items():
                async with aiohttp.ClientSession(
                    server.url, headers={"Authorization": f"Bearer {server.key}"}
                ) as session:
                    body = body_of(server.path, f"{name} {turn}", is_kept=is_kept)
                    took = await measure_one(session, servers["upstream"], server.path, body, leave)
                if turn >= 0:
                    samples[name].append(took)
    return {
        "turns": turns,
        "milliseconds": {
            name: {
                "p50": round(statistics.median(each), 2),
                "p99": round(percentile(each, 99), 2),
                "largest": round(max(each), 2),
            }
            for name, each in samples.items()
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    chosen = parser.parse_args()
    document = header("leaving")
    document.update(asyncio.run(measure(chosen.turns)))
    publish(document)
