"""An embeddings server as OpenAI's API describes it, over the built-in model; prints its port and serves until ended.

A model name ``fault:KIND:...`` makes it misbehave; ``GET /v1/requests`` tells what it was asked: what
arrived, not what the client believes it sent.
"""

import argparse
import asyncio
import base64
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from undercroft.retrieval.embedding.local import OnnxEmbedder
from undercroft.retrieval.minilm.files import locate_minilm

KEY = "sk-test-4f1c9e"
Body = dict[str, Any]


def _data(body: Body) -> list[Body]:
    data: list[Body] = body["data"]
    return data


def _as_numbers(body: Body) -> None:
    for item in _data(body):
        raw = base64.b64decode(item["embedding"])
        item["embedding"] = np.frombuffer(raw, dtype="<f4").tolist()


def _first_vector(value: object) -> Callable[[Body], None]:
    def change(body: Body) -> None:
        _data(body)[0]["embedding"] = value

    return change


def _packed(*values: float) -> str:
    return base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()


def _project(body: Body) -> None:
    """Into another model's space, of 256 dimensions: near stays near, and no vector is near its own former one."""
    axes = np.linalg.qr(np.random.default_rng(8).normal(size=(384, 256)))[0]
    for item in _data(body):
        vector = np.frombuffer(base64.b64decode(item["embedding"]), "<f4") @ axes
        item["embedding"] = _packed(*(vector / np.linalg.norm(vector)))


CHANGES: dict[str, Callable[[Body], Any]] = {
    "numbers": _as_numbers,
    "reversed": lambda body: _data(body).reverse(),
    "unnormalised": lambda body: [
        item.update(
            embedding=_packed(*(np.frombuffer(base64.b64decode(item["embedding"]), "<f4") * 7))
        )
        for item in _data(body)
    ],
    "projected": _project,
    "no-usage": lambda body: body.pop("usage"),
    "missing": lambda body: _data(body).pop(),
    "twice": lambda body: _data(body)[-1].update(index=0),
    "not-finite": _first_vector(_packed(*[float("nan")] * 384)),
    "overflow": _first_vector([1e308] * 384),
    "zero": _first_vector(_packed(*[0.0] * 384)),
    "short": _first_vector(_packed(*[1.0] * 383)),
    "short-numbers": _first_vector([1.0] * 383),
    "not-base64": _first_vector("é" * 2048),
    "other-shape": lambda body: body.update(data="secret-of-the-server"),
    "huge": lambda body: body.update(padding="x" * 4_000_000),
}


class Server:
    """Answers with real vectors, changed as the model name asks."""

    def __init__(self, embedder: OnnxEmbedder) -> None:
        self._embedder = embedder
        self._requests: list[Body] = []
        self._attempts: Counter[str] = Counter()

    async def requests(self, request: web.Request) -> web.Response:
        wanted = request.query["model"]
        return web.json_response([body for body in self._requests if body["model"] == wanted])

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        body = json.loads(await request.text())
        self._requests.append(body)
        model = body["model"]
        self._attempts[model] += 1
        if not isinstance(body["input"], list) or "" in body["input"]:
            return web.json_response({"error": {"message": "empty input"}}, status=400)
        kind, *details = model.removeprefix("fault:").split(":")
        if kind == "status":
            failures, status, retry_after = details[:3]
            if self._attempts[model] <= int(failures):
                headers = {"Retry-After": _retry_after(retry_after)} if retry_after else {}
                return web.Response(status=int(status), text=KEY, headers=headers)
        if kind == "redirect":
            raise web.HTTPTemporaryRedirect("/v1/elsewhere")
        if kind == "drop" and self._attempts[model] == 1:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if kind == "hang":
            await asyncio.Event().wait()
        return await self._answer(body, kind)

    async def _answer(self, request: Body, kind: str) -> web.Response:
        result = await self._embedder.embed_counted(request["input"])
        body: Body = {
            "object": "list",
            "model": request["model"],
            "data": [
                {"object": "embedding", "index": index, "embedding": _packed(*vector)}
                for index, vector in enumerate(result.vectors)
            ],
            "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
        }
        CHANGES.get(kind, lambda _: None)(body)
        response = web.json_response(body)
        if kind == "huge":
            response.enable_compression(web.ContentCoding.gzip)
        return response


def _retry_after(value: str) -> str:
    if value != "date":
        return value
    return format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)


async def serve(models_dir: Path) -> None:
    embedder = await OnnxEmbedder.load(locate_minilm(models_dir), threads=1)
    server = Server(embedder)
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_post("/v1/embeddings", server.embeddings)
    application.router.add_get("/v1/requests", server.requests)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - how the test learns the port
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("models_dir", type=Path)
    asyncio.run(serve(parser.parse_args().models_dir))
