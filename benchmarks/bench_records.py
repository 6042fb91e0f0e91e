"""Reading an encrypted record, ledgered, beside the same route with both switched off, both over HTTP.

Processor time of the whole process tree, PostgreSQL's included, and latency: ``python benchmarks/bench_records.py``.

Latency is held against the plain route's and one commit. What comes every 20 ms finds processors that slept and caches
that are cold: a commit takes three times as long then as in a loop. So of requests that come at even intervals the
commit is measured at the same intervals, and in a loop as well.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import psutil

from benchmarks.live_service import LiveService, running_service
from benchmarks.plain_service import POLICIES, TABLE
from benchmarks.report import header, publish, summary
from benchmarks.rivals import Rival, load_in_turn, pace_in_turn
from undercroft.kit.ids import parse_id
from undercroft.kit.postgres.server import running_urls

CLIENTS = 16
PACE = 50.0
"""Requests in a second that leave the processors mostly idle: then latency is not time in their queue."""
RECORDS = 200
FIELDS = 16
LETTERS = "abcdefghijklmnopqrstuvwxyz "


def make_data(number: int) -> dict[str, Any]:
    """About 2 KB of JSON."""
    draw = random.Random(number)  # noqa: S311 - text to be read
    return {f"field{field}": "".join(draw.choices(LETTERS, k=100)) for field in range(FIELDS)} | {
        "number": number
    }


def owner_url(service: LiveService) -> str:
    urls = running_urls(service.settings.data_dir)
    if urls is None:
        raise RuntimeError("the service's database does not run")
    return urls.migration


async def keep_records(service: LiveService, key: str) -> list[str]:
    """Through the API: encrypted."""
    schema = {
        "name": "notes",
        "schema": {"type": "object", "additionalProperties": True},
        "sensitive_fields": ["/field0"],
    }
    async with service.open_session(key) as session:
        async with session.post("/v1/schemas", json=schema) as answer:
            schema_id = (await answer.json())["id"]
        ids: list[str] = []
        for number in range(RECORDS):
            body = {"schema": schema_id, "data": make_data(number)}
            async with session.post("/v1/records", json=body) as answer:
                ids.append((await answer.json())["id"])
    return ids


async def keep_plain_records(service: LiveService, ids: Sequence[str]) -> None:
    """The data of the same ones, in the clear."""
    connection = await asyncpg.connect(owner_url(service))
    try:
        await connection.execute(TABLE)
        tenant_id = await connection.fetchval("SELECT tenant_id FROM users")
        await connection.executemany(
            "INSERT INTO plain_parts (record_id, tenant_id, version, data) VALUES ($1, $2, 1, $3)",
            [
                (_uuid(record_id), tenant_id, json.dumps(make_data(number)))
                for number, record_id in enumerate(ids)
            ],
        )
        await connection.execute(POLICIES)
    finally:
        await connection.close()


async def measure_commits(
    service: LiveService, count: int, rate: float | None = None
) -> list[float]:
    """Seconds of a transaction that inserts one row of an entry's size, on this disk.

    One after the other, or so many a second.
    """
    connection = await asyncpg.connect(owner_url(service))
    seconds: list[float] = []
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS bench_commits (leaf text NOT NULL)")
        for _ in range(count):
            if rate is not None:
                await asyncio.sleep(1 / rate)
            started = time.perf_counter()
            await connection.execute("INSERT INTO bench_commits VALUES ($1)", "x" * 600)
            seconds.append(time.perf_counter() - started)
    finally:
        await connection.close()
    return seconds


async def make_rival(name: str, service: LiveService) -> Rival:
    """A service with its records; the plain one has their data in the clear as well."""
    key = await service.make_key("bench")
    ids = await keep_records(service, key)
    if name == "plain":
        await keep_plain_records(service, ids)
    paths = [f"/v1/records/{record_id}" for record_id in ids]
    return Rival(name, service.url, key, paths, [psutil.Process(service.process_id)])


async def measure(rounds: int, requests: int) -> dict[str, Any]:
    async with (
        running_service() as kept,
        running_service(("-m", "benchmarks.plain_service")) as plain,
    ):
        rivals = [await make_rival("kept", kept), await make_rival("plain", plain)]
        await load_in_turn(rivals, clients=CLIENTS, rounds=rounds, requests=requests)
        await pace_in_turn(rivals, rate=PACE, rounds=rounds, requests=requests // 10)
        paced = await measure_commits(kept, requests // 10, PACE)
        commits = await measure_commits(kept, 200)
    return report(rivals[0], rivals[1], commits, paced)


def report(
    kept: Rival, plain: Rival, commits: Sequence[float], paced_commits: Sequence[float]
) -> dict[str, Any]:
    ratios = [mine / floor for mine, floor in zip(kept.cpu_seconds, plain.cpu_seconds, strict=True)]
    p50 = {rival.name: statistics.median(rival.latencies) * 1000 for rival in (kept, plain)}
    paced = {rival.name: statistics.median(rival.paced_latencies) * 1000 for rival in (kept, plain)}
    commit = statistics.median(commits) * 1000
    paced_commit = statistics.median(paced_commits) * 1000
    return {
        "clients": CLIENTS,
        "cpu_ratio": summary(ratios, 3),
        "cpu_ms_per_request": {
            rival.name: summary([1000 * seconds for seconds in rival.cpu_seconds], 3)
            for rival in (kept, plain)
        },
        "requests_per_second": {rival.name: summary(rival.rates) for rival in (kept, plain)},
        "latency_ms": {
            rival.name: {
                "p50": round(p50[rival.name], 2),
                "p95": round(1000 * statistics.quantiles(rival.latencies, n=20)[18], 2),
            }
            for rival in (kept, plain)
        },
        "commit_ms": summary([1000 * second for second in commits], 2),
        "latency_over_plain_and_commit": round(p50["kept"] / (p50["plain"] + commit), 2),
        "paced_requests_per_second": PACE,
        "paced_latency_ms": {name: round(median, 2) for name, median in paced.items()},
        "paced_commit_ms": summary([1000 * second for second in paced_commits], 2),
        "paced_latency_over_plain_and_commit": round(paced["kept"] / (paced["plain"] + commit), 2),
        "paced_latency_over_plain_and_paced_commit": round(
            paced["kept"] / (paced["plain"] + paced_commit), 2
        ),
    }


def _uuid(wire: str) -> UUID:
    found = parse_id("rec_", wire)
    if found is None:
        raise ValueError(f"{wire} is no record's id")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=3000, help="of a round, each service")
    chosen = parser.parse_args()
    document = header("records")
    document.update(asyncio.run(measure(chosen.rounds, chosen.requests)))
    publish(document)
