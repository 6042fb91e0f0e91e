"""Search in libraries of up to a million passages: how long it takes, what it finds, how fast and large they grow.

``PYTHONPATH=. python benchmarks/bench_sizes.py [--passages N] [--questions N] [--data-dir DIR] [--only-write]
[--only-recall]``. A folder that is named is kept, and measured as it is the next time: writing a million passages takes
the most of an hour (``--only-write`` ends after that), measuring them minutes. Each size has a result of its own,
``results/sizes_N.json``; what is found of the nearest, by itself, ``results/recall_N.json``.

One person owns all the documents; of readers each may search one collection with a share of them, drawn by chance.
Legs are measured as their statements, with a vector that is there. A whole search is measured over HTTP, with the
service's own embedding model, and before each the same question is embedded here, by the same model alone: what the
search takes beyond that is told question by question. Exact answers, for the recall, are computed by numpy.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import aiohttp
import numpy as np
import numpy.typing as npt

from benchmarks import size_seed
from benchmarks.bench_ingest import embed, ingest
from benchmarks.bench_permissions import find_scope, open_tenant_key
from benchmarks.live_service import LiveService, running_service
from benchmarks.report import header, publish, summary
from benchmarks.size_corpus import Corpus, make_vocabulary
from benchmarks.size_exact import Nearest, read_sizes
from tests.conftest import Member
from undercroft.commands.keys import create_key
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import render_id
from undercroft.kit.postgres.server import DatabaseUrls, running_urls
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.retrieval.embedding.configured import open_embedder
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.minilm.files import load_tokenizer
from undercroft.retrieval.search.effort import EFFORTS, Effort
from undercroft.retrieval.search.models import Quality, SearchQuery
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.search.service import count_candidates

_TENANT: Final = "library"
_OWNER: Final = "owner@example.org"
_CONCURRENCIES: Final = (1, 8)
_SHOWN: Final = 10
_CANDIDATES: Final = count_candidates(SearchQuery((), "", _SHOWN))
"""As the service searches: passages a leg proposes."""
_RECALL_QUESTIONS: Final = 40
_REACHES: Final = (1, 2, 3, 5)
_INGEST_ROUNDS: Final = 3

Work = Callable[[int], Awaitable[object]]
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Bench:
    """The library, as it is measured."""

    service: LiveService
    database: Database
    session: aiohttp.ClientSession
    embedder: Embedder
    owner: Member
    questions: Sequence[str]
    vectors: npt.NDArray[np.float32]

    async def embed(self, number: int) -> None:
        """The question alone, as the service embeds it."""
        await self.embedder.embed([self.questions[number]])

    async def lexical(
        self, number: int, scope: Member | None = None, collections: Sequence[UUID] = ()
    ) -> list[int]:
        """The lexical leg's proposals, within these collections or everywhere; the owner's."""
        async with self.database.transaction(scope or self.owner) as transaction:
            return await SearchRepository().search_lexical(
                transaction,
                collections,
                self.questions[number],
                candidate_limit=EFFORTS[Quality.BALANCED].ranked,
                limit=_CANDIDATES,
                is_everywhere=not collections,
            )

    async def vector(
        self,
        number: int,
        scope: Member | None = None,
        collections: Sequence[UUID] = (),
        effort: Effort = EFFORTS[Quality.BALANCED],
    ) -> list[int]:
        """The vector leg's proposals, within these collections or everywhere; the owner's."""
        scope = scope or self.owner
        async with self.database.transaction(scope) as transaction:
            near = await SearchRepository().search_vector(
                transaction,
                scope,
                collections,
                self.embedder.model.name,
                self.vectors[number],
                exact_limit=effort.compared,
                reach=effort.reach,
                limit=_CANDIDATES,
                is_everywhere=not collections,
            )
        return list(near)

    async def everywhere(self, number: int) -> None:
        """A whole search over HTTP in all that the owner has."""
        await self._search("/v1/search", {"query": self.questions[number], "limit": _SHOWN})

    async def in_a_store(self, number: int) -> None:
        """A whole search over HTTP in a vector store that holds all documents."""
        store = render_id(COLLECTION_PREFIX, size_seed.collection_id(len(size_seed.SHARES) - 1))
        await self._search(
            f"/v1/vector_stores/{store}/search",
            {"query": self.questions[number], "max_num_results": _SHOWN},
        )

    async def _search(self, path: str, body: dict[str, Any]) -> None:
        async with self.session.post(path, json=body) as answer:
            found = await answer.json()
        assert len(found["data"]) == _SHOWN, found


async def timed(work: Awaitable[Found]) -> tuple[Found, float]:
    """What it answers, and how many milliseconds it takes."""
    started = time.perf_counter()
    answer = await work
    return answer, 1000 * (time.perf_counter() - started)


async def time_many(work: Work, count: int, concurrency: int) -> dict[str, Any]:
    """Milliseconds of each question's, so many at a time, and how many of them a second."""
    waiting = iter(range(count))
    samples: list[float] = []

    async def take() -> None:
        for number in waiting:
            _, took = await timed(work(number))
            samples.append(took)

    started = time.perf_counter()
    await asyncio.gather(*(take() for _ in range(concurrency)))
    seconds = time.perf_counter() - started
    return {"milliseconds": summary(samples, 2), "per_second": round(count / seconds, 1)}


async def measure_searches(bench: Bench) -> dict[str, Any]:
    """Legs and whole searches, one at a time and several."""
    ways: dict[str, Work] = {
        "lexical": bench.lexical,
        "vector": bench.vector,
        "fused_over_http": bench.everywhere,
        "fused_over_http_in_a_store": bench.in_a_store,
        "embedding": bench.embed,
    }
    for work in ways.values():  # opens every connection, and reads what is asked for into memory
        await time_many(work, len(bench.questions), max(_CONCURRENCIES))
    return {
        f"concurrency_{concurrency}": {
            name: await time_many(work, len(bench.questions), concurrency)
            for name, work in ways.items()
        }
        for concurrency in _CONCURRENCIES
    }


async def measure_beyond(bench: Bench) -> dict[str, Any]:
    """What a whole search takes, and what of it beyond the embedding of its question, in turn."""
    ways: dict[str, Work] = {"everywhere": bench.everywhere, "in_a_store": bench.in_a_store}
    embedding: list[float] = []
    whole: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(len(bench.questions)):
        embedding.append((await timed(bench.embed(number)))[1])
        for name, work in ways.items():
            whole[name].append((await timed(work(number)))[1])
    return {
        "embedding": summary(embedding, 2),
        **{
            name: {
                "whole": summary(times, 2),
                "beyond": summary(
                    [took - alone for took, alone in zip(times, embedding, strict=True)], 2
                ),
            }
            for name, times in whole.items()
        },
    }


async def measure_shares(bench: Bench, nearest: Nearest) -> dict[str, Any]:
    """How long both legs take for who may search a share of the library, and what part of the exact ten they find."""
    measured: dict[str, Any] = {}
    for place, share in enumerate(size_seed.SHARES):
        reader = Member(bench.owner.tenant_id, size_seed.reader_id(place), "")
        collection = size_seed.collection_id(place)
        places = await nearest.find_places(bench.database, bench.owner, collection)
        where: dict[str, Sequence[UUID]] = {"everywhere": (), "in_the_collection": (collection,)}
        found = dict.fromkeys(where, 0)
        times: dict[str, list[float]] = {"lexical_everywhere": []}
        times |= {f"vector_{name}": [] for name in where}
        wanted = 0
        for number in range(nearest.questions):
            exact = nearest.exact(number, places, _SHOWN)
            wanted += len(exact)
            for name, collections in where.items():
                near, took = await timed(bench.vector(number, reader, collections))
                found[name] += len(exact & set(near[:_SHOWN]))
                times[f"vector_{name}"].append(took)
            _, took = await timed(bench.lexical(number, reader))
            times["lexical_everywhere"].append(took)
        measured[f"{share:.2%}"] = {
            "passages": len(places),
            "recall_at_10": {name: round(count / wanted, 4) for name, count in found.items()},
            **{f"{name}_milliseconds": summary(each, 2) for name, each in times.items()},
        }
    return measured


async def measure_qualities(bench: Bench, nearest: Nearest) -> dict[str, Any]:
    """How long the index takes that is asked for ever more, and an exact search, and what each finds."""
    places = np.arange(nearest.passages)
    efforts = {f"index_{reach}": Effort(0, 0, reach) for reach in _REACHES}
    efforts["exact"] = EFFORTS[Quality.EXACT]
    measured: dict[str, Any] = {}
    for name, effort in efforts.items():
        count = nearest.questions // 4 if name == "exact" else nearest.questions
        found, times = 0, list[float]()
        for number in range(count):
            near, took = await timed(bench.vector(number, effort=effort))
            found += len(nearest.exact(number, places, _SHOWN) & set(near[:_SHOWN]))
            times.append(took)
        measured[name] = {
            "recall_at_10": round(found / (count * _SHOWN), 4),
            "vector_milliseconds": summary(times, 2),
        }
    return measured


async def measure_indexing(bench: Bench) -> dict[str, Any]:
    """How fast files become searchable in a database of this size, against the bare embedder on the same passages."""
    through: list[float] = []
    bare: list[float] = []
    for number in range(_INGEST_ROUNDS):
        # Of a tenant of its own: a content is indexed once for each owner.
        seconds, texts = await ingest(bench.service, f"ingest{time.time_ns()}{number}")
        through.append(len(texts) / seconds)
        bare.append(len(texts) / await embed(bench.embedder, texts))
    return {
        "passages_per_second": summary(through),
        "bare_embedder_passages_per_second": summary(bare),
        "share_of_bare_embedder": summary(
            [rate / floor for rate, floor in zip(through, bare, strict=True)], 2
        ),
    }


@asynccontextmanager
async def opened(
    service: LiveService, wanted: argparse.Namespace
) -> AsyncGenerator[tuple[Bench, DatabaseUrls]]:
    """The library, written unless it is there."""
    urls = await asyncio.to_thread(running_urls, service.settings.data_dir)
    assert urls is not None
    key = await create_key(service.settings, _TENANT, _OWNER, None, None)
    owner, clock = await find_scope(urls, key), SystemClock()
    vocabulary = make_vocabulary(load_tokenizer(service.settings.models_dir).get_vocab())
    async with (
        aiohttp.ClientSession() as http,
        service.open_session(key) as session,
        Database(urls.service, clock=clock, size=max(_CONCURRENCIES)) as database,
    ):
        embedder = await open_embedder(service.settings, http, clock)
        try:
            corpus = Corpus(vocabulary)
            if not await size_seed.is_written(urls.migration):
                # With the first that a tenant keeps it gets its key.
                async with session.post("/v1/vector_stores", json={}):
                    pass
                library = size_seed.Library(
                    owner.tenant_id,
                    owner.principal_id,
                    await open_tenant_key(service, urls, owner),
                    wanted.passages,
                    embedder.model.name,
                    embedder.model.dimensions,
                )
                topics = await corpus.embed_topics(embedder)
                await size_seed.write(urls.migration, library, corpus, topics)
            questions = corpus.questions(wanted.questions)
            vectors = np.concatenate([await embedder.embed([text]) for text in questions])
            yield Bench(service, database, session, embedder, owner, questions, vectors), urls
        finally:
            await embedder.close()


async def measure_recall(bench: Bench, urls: DatabaseUrls) -> dict[str, Any]:
    """What is found of the nearest, by how much may be searched and by how much is looked at."""
    nearest = await Nearest.read(urls.migration, bench.owner, bench.vectors[:_RECALL_QUESTIONS])
    return {
        "passages": nearest.passages,
        "by_share_that_may_be_searched": await measure_shares(bench, nearest),
        "by_quality": await measure_qualities(bench, nearest),
    }


async def measure(bench: Bench, urls: DatabaseUrls) -> dict[str, Any]:
    """All of it."""
    found = await measure_recall(bench, urls)
    return found | {
        "bytes_per_passage": await read_sizes(urls.migration, found["passages"]),
        "beyond_the_embedding_milliseconds": await measure_beyond(bench),
        "searches": await measure_searches(bench),
        "indexing": await measure_indexing(bench),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--data-dir", type=Path, help="what an earlier run has written, or is to")
    parser.add_argument("--only-write", action="store_true", help="write the library, and end")
    parser.add_argument("--only-recall", action="store_true", help="measure what is found alone")
    wanted = parser.parse_args()
    document = header("sizes")
    async with (
        running_service(data_dir=wanted.data_dir) as service,
        opened(service, wanted) as (bench, urls),
    ):
        if wanted.only_write:
            return
        document.update(await (measure_recall if wanted.only_recall else measure)(bench, urls))
    name = "recall" if wanted.only_recall else "sizes"
    document["benchmark"] = f"{name}_{document['passages']}"
    publish(document)


if __name__ == "__main__":
    asyncio.run(main())
