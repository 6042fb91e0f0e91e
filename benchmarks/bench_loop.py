"""Stalls of the API's event loop while the samples are ingested and answers stream, beside an idle service.

Reads the service's own ``undercroft_loop_lag_seconds``: ``python benchmarks/bench_loop.py``.
"""

import asyncio
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.live_service import LiveService, running_service
from benchmarks.report import write_report
from undercroft.commands.client import ServiceClient

STREAMS = 4
QUESTIONS = ("How much is the deposit?", "What is the flood excess?", "Who is the landlord?")
IDLE_SECONDS = 10.0


async def lag_buckets(url: str) -> dict[float, float]:
    """Timers by how late they ran at most, cumulative."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    return {
        float(sample.labels["le"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "undercroft_loop_lag_seconds_bucket"
    }


def difference(before: dict[float, float], after: dict[float, float]) -> dict[str, Any]:
    counts = {bound: after[bound] - before[bound] for bound in sorted(after)}
    total = counts[float("inf")]
    return {
        "timers": total,
        "over_10_ms": total - counts[0.01],
        "over_50_ms": total - counts[0.05],
        "over_100_ms": total - counts[0.1],
        "cumulative": {str(bound): count for bound, count in counts.items()},
    }


async def stream_until(stop: asyncio.Event, client: ServiceClient, store_id: str) -> int:
    answers = 0
    while not stop.is_set():
        async for _ in client.ask(store_id, QUESTIONS[answers % len(QUESTIONS)]):
            pass
        answers += 1
    return answers


async def measure() -> dict[str, Any]:
    async with running_service() as service:
        key = await service.make_key("bench")
        async with ServiceClient(service.url, key) as client:
            return await measure_service(service, client, key)


async def measure_service(service: LiveService, client: ServiceClient, key: str) -> dict[str, Any]:
    start = await lag_buckets(service.url)
    await asyncio.sleep(IDLE_SECONDS)
    idle = await lag_buckets(service.url)
    store_id = await client.find_or_create_store("samples")
    stop = asyncio.Event()
    streams = [asyncio.create_task(stream_until(stop, client, store_id)) for _ in range(STREAMS)]
    await service.ingest_samples(key)
    stop.set()
    answers = sum(await asyncio.gather(*streams))
    busy = await lag_buckets(service.url)
    return {
        "idle": difference(start, idle),
        "ingesting_and_streaming": difference(idle, busy),
        "answers_streamed": answers,
    }


if __name__ == "__main__":
    write_report("loop", asyncio.run(measure()))
