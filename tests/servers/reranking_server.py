"""A reranking server as Cohere, Jina and TEI describe theirs; prints its port and serves until ended.

It prefers texts that share words with the question. A model name ``fault:KIND:...`` makes it misbehave; TEI is asked
without one, so for it the fault is the first folder of the path. ``GET /requests`` tells what arrived.
"""

import asyncio
import json
from typing import Any

from aiohttp import web

KEY = "sk-rerank-77b1"


def score(query: str, text: str) -> float:
    """The share of the question's words that the text has."""
    words = query.lower().split()
    return sum(word in text.lower().split() for word in words) / max(1, len(words))


class Server:
    """Answers in the form that was asked for, or as a fault says."""

    def __init__(self) -> None:
        self._requests: list[dict[str, Any]] = []

    async def requests(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self._requests)

    async def rerank(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"message": "wrong key"}, status=401)
        body = json.loads(await request.text())
        self._requests.append(body)
        is_tei = "texts" in body
        texts = body["texts"] if is_tei else body["documents"]
        if "" in texts or not body["query"]:
            return web.json_response({"message": "empty text"}, status=400)
        kind = request.match_info["fault"] if is_tei else body["model"].removeprefix("fault:")
        if kind.startswith("status-"):
            return web.Response(status=int(kind.removeprefix("status-")), text=KEY)
        if kind == "redirect":
            raise web.HTTPTemporaryRedirect("/none/rerank")
        if kind == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if kind == "hang":
            await asyncio.Event().wait()
        name = "score" if is_tei else "relevance_score"
        results: list[dict[str, Any]] = [
            {"index": index, name: score(body["query"], text), "document": {"text": text}}
            for index, text in enumerate(texts)
        ]
        results.sort(key=lambda result: -result[name])
        changed = _change(kind, results, name)
        return web.json_response(changed if is_tei else {"id": "r", "results": changed})


def _change(kind: str, results: list[dict[str, Any]], name: str) -> object:
    first, others = results[0], results[1:]
    changed: dict[str, object] = {
        "missing": others,
        "twice": [*results, first],
        "outside": [{**first, "index": len(results)}, *others],
        "negative": [{**first, "index": -1}, *others],
        "not-finite": [{**first, name: float("nan")}, *others],
        "other-shape": "secret-of-the-server",
        "huge": [{**first, "padding": "x" * 1_000_000}, *others],
    }
    return changed.get(kind, results)


async def serve() -> None:
    server = Server()
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_post("/{fault}/rerank", server.rerank)
    application.router.add_get("/requests", server.requests)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - how the test learns the port
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
