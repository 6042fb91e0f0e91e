"""What the benchmarks of streams hold the service against, each in a process of its own.

``upstream PORT``: an OpenAI-compatible server. Its model ``paced`` says a word every 10 ms, and ``held`` one word and
no more, until it is let go, or who asked has left: when that was is told by ``GET /left``. ``pass-through PORT URL``:
the floor, FastAPI and aiohttp, which hands on the bytes of the server at URL and does nothing else.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator

import aiohttp
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

MODEL = "paced"
HELD_MODEL = "held"
WORDS = 100
GAP_SECONDS = 0.01
_BACKLOG = 8192


def make_upstream() -> FastAPI:
    """A model server."""
    app = FastAPI()
    left: dict[str, float] = {}
    let_go = asyncio.Event()

    @app.get("/v1/models")
    async def models() -> JSONResponse:
        listed = [{"id": model, "object": "model"} for model in (MODEL, HELD_MODEL)]
        return JSONResponse({"object": "list", "data": listed})

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> StreamingResponse:
        asked = await request.json()
        words = (
            _words()
            if asked["model"] == MODEL
            else _held(asked["messages"][-1]["content"], let_go, left)
        )
        return StreamingResponse(words, media_type="text/event-stream")

    @app.get("/left")
    async def tell_left() -> dict[str, float]:
        return left

    @app.post("/let-go")
    async def let_all_go() -> None:
        let_go.set()

    return app


async def _held(asked: str, let_go: asyncio.Event, left: dict[str, float]) -> AsyncGenerator[bytes]:
    """One word, and the end once it is let go; or when its asker left, by the clock that all processes here have."""
    yield _chunk({"content": "word0 "}, None)
    try:
        await let_go.wait()
    except asyncio.CancelledError:
        left[asked] = time.monotonic()
        raise
    yield _chunk({}, "stop", {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6})
    yield b"data: [DONE]\n\n"


async def _words() -> AsyncGenerator[bytes]:
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(WORDS):
        # By the clock and not by the last word: a busy machine makes none late for good.
        await asyncio.sleep(max(0.0, started + number * GAP_SECONDS - loop.time()))
        yield _chunk({"content": f"word{number} "}, None)
    usage = {"prompt_tokens": 5, "completion_tokens": WORDS, "total_tokens": WORDS + 5}
    yield _chunk({}, "stop", usage)
    yield b"data: [DONE]\n\n"


def _chunk(
    delta: dict[str, str], finish_reason: str | None, usage: dict[str, int] | None = None
) -> bytes:
    chunk = {
        "id": "chatcmpl-paced",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        "usage": usage,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def make_pass_through(upstream: str) -> FastAPI:
    """The floor: a proxy that reads nothing of what it hands on."""
    app = FastAPI()
    sessions: list[aiohttp.ClientSession] = []

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> StreamingResponse:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        body = await request.body()
        return StreamingResponse(
            _handed_on(sessions[0], f"{upstream}/v1/chat/completions", body),
            media_type="text/event-stream",
        )

    return app


async def _handed_on(
    session: aiohttp.ClientSession, url: str, body: bytes
) -> AsyncGenerator[bytes]:
    async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
        async for piece in answer.content.iter_any():
            yield piece


def main(kind: str, port: str, upstream: str = "") -> None:
    """Serve on loopback until ended."""
    app = make_upstream() if kind == "upstream" else make_pass_through(upstream)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", backlog=_BACKLOG)


if __name__ == "__main__":
    main(*sys.argv[1:])
