"""What is hidden beside what is absent, over HTTP: whether the time of a 404 tells that there is something.

The same route is asked for another user's thing, which the caller may know nothing of, and for an id that was never
given out, one after the other in random order: ``python benchmarks/bench_timing.py``. The share of pairs in which what
is hidden takes longer is 0.5 where time tells nothing.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import aiohttp

from benchmarks.live_service import LiveService, running_service
from benchmarks.report import header, publish, summary
from undercroft.commands.keys import create_key

_TENANT: Final = "timing"


@dataclass(slots=True)
class Pair:
    """One route, and the seconds that both kinds of id took, one sample for each turn.

    Attributes:
        hidden: The id of a thing that is another's.
        body: What is sent, for a POST.
    """

    name: str
    method: str
    path: str
    hidden: str
    body: dict[str, Any] | None = None
    hidden_seconds: list[float] = field(default_factory=list[float])
    absent_seconds: list[float] = field(default_factory=list[float])

    def absent(self) -> str:
        """An id of the same kind that nobody has."""
        return f"{self.hidden.rpartition('_' if '_' in self.hidden else '-')[0]}{self._separator()}{uuid4().hex}"

    def _separator(self) -> str:
        return "_" if "_" in self.hidden else "-"

    def report(self) -> dict[str, Any]:
        """Medians, their ratio, and how often the hidden one was the slower of a pair."""
        pairs = list(zip(self.hidden_seconds, self.absent_seconds, strict=True))
        hidden, absent = ([1000 * one for one in side] for side in zip(*pairs, strict=True))
        return {
            "hidden_ms": summary(hidden, 3),
            "absent_ms": summary(absent, 3),
            "ratio": round(statistics.median(hidden) / statistics.median(absent), 3),
            "hidden_is_slower": round(sum(mine > other for mine, other in pairs) / len(pairs), 3),
        }


async def make_things(session: aiohttp.ClientSession) -> list[Pair]:
    """One of each kind, with what reads, changes or deletes it."""

    async def post(path: str, **body: Any) -> str:  # noqa: ANN401 - a request's body
        async with session.post(path, **body) as answer:
            return str((await answer.json())["id"])

    form = aiohttp.FormData()
    form.add_field("file", b"The ferry leaves at nine.", filename="ferry.txt")
    document = await post("/v1/documents", data=form)
    store = await post("/v1/vector_stores", json={"name": "ferries"})
    schema = await post("/v1/schemas", json={"name": "notes", "schema": {}})
    record = await post("/v1/records", json={"schema": schema, "data": {"a": 1}})
    response = await post("/v1/responses", json={"model": "extractive", "input": "When?"})
    body = {"resource": document, "grantee": {"tenant": True}, "actions": ["read"]}
    return [
        Pair("document", "GET", "/v1/documents/{}", document),
        Pair("content", "GET", "/v1/documents/{}/content", document),
        Pair("deletion", "DELETE", "/v1/documents/{}", document),
        Pair("file", "GET", "/v1/files/{}", document),
        Pair("vector store", "GET", "/v1/vector_stores/{}", store),
        Pair("search", "POST", "/v1/vector_stores/{}/search", store, {"query": "When?"}),
        Pair("record", "GET", "/v1/records/{}", record),
        Pair("response", "GET", "/v1/responses/{}", response),
        Pair("grant", "POST", "/v1/grants", document, body),
    ]


async def ask(session: aiohttp.ClientSession, pair: Pair, thing: str) -> float:
    """Seconds until it is refused."""
    body = None if pair.body is None else dict(pair.body)
    if body is not None and "resource" in body:
        body["resource"] = thing
    started = time.perf_counter()
    async with session.request(pair.method, pair.path.format(thing), json=body) as answer:
        await answer.read()
    seconds = time.perf_counter() - started
    if answer.status != 404:
        raise RuntimeError(f"{pair.method} {pair.path} answered {answer.status}, which is no 404")
    return seconds


async def compare(session: aiohttp.ClientSession, pairs: Sequence[Pair], turns: int) -> None:
    """Ask for both kinds in turn; the first turns only warm."""
    draw = random.Random(1)  # noqa: S311 - an order
    for turn in range(-20, turns):
        for pair in pairs:
            kinds = [(pair.hidden, pair.hidden_seconds), (pair.absent(), pair.absent_seconds)]
            draw.shuffle(kinds)
            for thing, samples in kinds:
                seconds = await ask(session, pair, thing)
                if turn >= 0:
                    samples.append(seconds)


async def measure(service: LiveService, turns: int) -> dict[str, Any]:
    keys = [
        await create_key(service.settings, _TENANT, f"{name}@example.org", None, None)
        for name in ("owner", "stranger")
    ]
    async with service.open_session(keys[0]) as owner:
        pairs = await make_things(owner)
    async with aiohttp.ClientSession(
        service.url, headers={"Authorization": f"Bearer {keys[1]}"}
    ) as stranger:
        await compare(stranger, pairs, turns)
    return {"turns": turns, "routes": {pair.name: pair.report() for pair in pairs}}


async def main(turns: int) -> dict[str, Any]:
    async with running_service() as service:
        return await measure(service, turns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=300)
    chosen = parser.parse_args()
    document = header("timing")
    document.update(asyncio.run(main(chosen.turns)))
    publish(document)
