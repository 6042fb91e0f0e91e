"""Ingestion: how fast the sample corpus becomes searchable, against the bare embedder on the same chunks.

``PYTHONPATH=. python benchmarks/bench_ingest.py [--rounds N]``. Each round is a tenant of its own, because a content is
indexed once for each owner. The floor leaves out the title and headings that are embedded with a chunk, so it is low.

Beside the rates it tells whose processor time a chunk takes. The embedder alone uses every processor, so the rate comes
no nearer to its own than `share_of_processor_time`: the embedder's over all that is spent, PostgreSQL and all others.
"""

import argparse
import asyncio
import time
from typing import Any, Final

import aiohttp
import psutil

from benchmarks.live_service import SAMPLES, LiveService, running_service
from benchmarks.report import header, publish, summary
from undercroft.commands.client import ServiceClient
from undercroft.kit.clock import SystemClock
from undercroft.retrieval.embedding.configured import open_embedder
from undercroft.retrieval.embedding.protocol import Embedder

_PARTS: Final = ("api", "parsers", "postgresql", "worker")


async def ingest(service: LiveService, tenant: str) -> tuple[float, list[str]]:
    """Seconds until all samples of a new tenant can be searched, and the texts of their chunks."""
    key = await service.make_key(tenant)
    started = time.perf_counter()
    store_id = await service.ingest_samples(key)
    seconds = time.perf_counter() - started
    texts: list[str] = []
    async with ServiceClient(service.url, key) as client, service.open_session(key) as session:
        assert not await client.list_failed(store_id)
        for file_id in await client.list_files(store_id):
            path = f"/v1/vector_stores/{store_id}/files/{file_id}/content"
            async with session.get(path) as response:
                texts.extend(part["text"] for part in (await response.json())["data"])
    return seconds, texts


async def embed(embedder: Embedder, texts: list[str]) -> float:
    started = time.perf_counter()
    await embedder.embed(texts)
    return time.perf_counter() - started


def processor_seconds(service: psutil.Process) -> dict[str, float]:
    """So far, of each part of the service and of this process; what has ended and was waited for is with its parent."""
    own = psutil.Process().cpu_times()
    spent = {"client": own.user + own.system, **dict.fromkeys(_PARTS, 0.0)}
    for process in (service, *service.children(recursive=True)):
        try:
            times, command = process.cpu_times(), process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if process.name().startswith("postgres"):
            part = "postgresql"
        elif process == service:
            part = "api"
        else:
            part = "worker" if "worker" in command else "parsers"
        spent[part] += times.user + times.system
        if part in {"postgresql", "parsers"}:
            spent[part] += times.children_user + times.children_system
    return spent


async def measure(rounds: int) -> dict[str, Any]:
    document = header("ingest")
    documents = sum(path.is_file() for path in (SAMPLES / "documents").rglob("*"))
    texts: list[str] = []
    through: list[float] = []
    bare: list[float] = []
    spent, alone = dict.fromkeys(("client", *_PARTS), 0.0), 0.0
    async with running_service() as service, aiohttp.ClientSession() as http:
        process = psutil.Process(service.process_id)
        embedder = await open_embedder(service.settings, http, SystemClock())
        for number in range(rounds):
            # Alternating, so that a drift of the machine meets both alike.
            before = processor_seconds(process)
            seconds, texts = await ingest(service, f"ingest{number}")
            after = processor_seconds(process)
            through.append(seconds)
            bare.append(await embed(embedder, texts))
            for part in spent:
                spent[part] += after[part] - before[part]
            alone += processor_seconds(process)["client"] - after["client"]
        await embedder.close()
    document |= {
        "documents": documents,
        "chunks": len(texts),
        "documents_per_second": summary([documents / seconds for seconds in through]),
        "chunks_per_second": summary([len(texts) / seconds for seconds in through]),
        "bare_embedder_chunks_per_second": summary([len(texts) / seconds for seconds in bare]),
        "share_of_bare_embedder": summary(
            [floor / seconds for floor, seconds in zip(bare, through, strict=True)], 2
        ),
    }
    chunks = rounds * len(texts)
    document |= {
        "processor_milliseconds_of_a_chunk": {
            part: round(1000 * seconds / chunks, 2) for part, seconds in sorted(spent.items())
        },
        "processor_milliseconds_of_a_chunk_of_the_bare_embedder": round(1000 * alone / chunks, 2),
        "share_of_processor_time": round(alone / sum(spent.values()), 2),
    }
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    publish(asyncio.run(measure(max(1, parser.parse_args().rounds))))


if __name__ == "__main__":
    main()
