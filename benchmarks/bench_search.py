"""Search: what HTTP, access check and fusion add to the bare work of one search.

The bare work, in this process: embed the question, then the statements of both legs, one after the other.
``PYTHONPATH=. python benchmarks/bench_search.py [--rounds N]``.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import aiohttp

from benchmarks.live_service import LiveService, running_service, sample_questions
from benchmarks.report import header, percentile, publish, summary
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource, parse_id
from undercroft.kit.postgres.server import running_urls
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.retrieval.embedding.configured import open_embedder
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.search.service import count_candidates

_CONCURRENCIES: Final = (1, 8)
_CANDIDATES: Final = count_candidates(SearchQuery((), "", limit=10))
_BOUND: Final = 20_000
"""As the service searches: passages a leg proposes, and how many it looks at."""

Search = Callable[[str], Awaitable[object]]


def over_http(session: aiohttp.ClientSession, store_id: str) -> Search:
    async def search(question: str) -> None:
        path = f"/v1/vector_stores/{store_id}/search"
        async with session.post(path, json={"query": question}) as response:
            assert (await response.json())["data"]

    return search


def bare(database: Database, embedder: Embedder, scope: Scope, collection: UUID) -> Search:
    legs = SearchRepository()
    model = embedder.model.name

    async def search(question: str) -> None:
        vectors = await embedder.embed([question])
        async with database.transaction(scope) as transaction:
            near = await legs.search_vector(
                transaction,
                scope,
                [collection],
                model,
                vectors[0],
                exact_limit=_BOUND,
                limit=_CANDIDATES,
            )
            words = await legs.search_lexical(
                transaction, [collection], question, candidate_limit=_BOUND, limit=_CANDIDATES
            )
        assert near or words

    return search


async def time_all(search: Search, questions: Sequence[str], concurrency: int) -> list[float]:
    """Milliseconds of each question's search, so many at a time."""
    waiting = iter(questions)
    samples: list[float] = []

    async def take() -> None:
        for question in waiting:
            started = time.perf_counter()
            await search(question)
            samples.append(1000 * (time.perf_counter() - started))

    await asyncio.gather(*(take() for _ in range(concurrency)))
    return samples


async def compare(ways: dict[str, Search], questions: list[str], rounds: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for concurrency in _CONCURRENCIES:
        samples: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            # Alternating, so that a drift of the machine meets both alike.
            for name, search in ways.items():
                samples[name] += await time_all(search, questions, concurrency)
        results[f"concurrency_{concurrency}"] = {
            **{f"{name}_ms": summary(times) for name, times in samples.items()},
            "ratio": {
                f"p{percent}": round(
                    percentile(samples["http"], percent) / percentile(samples["bare"], percent), 2
                )
                for percent in (50, 95)
            },
        }
    return results


async def measure_service(service: LiveService, rounds: int) -> dict[str, Any]:
    questions = [question["question"] for question in sample_questions()]
    key = await service.make_key("search")
    store_id = await service.ingest_samples(key)
    collection = parse_id(COLLECTION_PREFIX, store_id)
    urls = await asyncio.to_thread(running_urls, service.settings.data_dir)
    assert urls is not None
    assert collection is not None
    clock = SystemClock()
    async with (
        service.open_session(key) as session,
        aiohttp.ClientSession() as http,
        Database(urls.service, clock=clock, size=max(_CONCURRENCIES)) as database,
    ):
        ids = IdSource(clock)
        ledger = Ledger(database, ids, clock)
        scope = await IdentityService(database, ledger, ids, clock).authenticate(key)
        embedder = await open_embedder(service.settings, http, clock)
        ways = {
            "http": over_http(session, store_id),
            "bare": bare(database, embedder, scope, collection),
        }
        for search in ways.values():
            await time_all(search, questions, max(_CONCURRENCIES))  # opens every connection
        results = await compare(ways, questions, rounds)
        await embedder.close()
    return results


async def measure(rounds: int) -> dict[str, Any]:
    document = header("search")
    async with running_service() as service:
        return document | await measure_service(service, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times that every question is asked")
    publish(asyncio.run(measure(max(1, parser.parse_args().rounds))))


if __name__ == "__main__":
    main()
