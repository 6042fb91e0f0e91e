"""Permissions: what the number of a caller's grants costs a check, a read and a search, and what a search finds of it.

Three callers have 10, 1,000 and 100,000 grants on single documents, of a million in the tenant, and reach nothing by a
collection. The documents of each have an owner of their own, who owns nothing else and needs no grant for them: what
the same search costs the owner is the cost of searching so many documents, and what it costs the caller beyond that is
the check's. What is downloaded the service has made; the mass of documents and grants is written by SQL
(``permission_seed.py``). Vectors have the built-in model's length and lie near topics, as those of texts do: among
directions without any order no index finds its way. Exact answers, for the recall, are computed by numpy.

A search is measured as a client waits for it, over HTTP, and as its bare statements, one after the other, with a vector
that is there: nothing of what every search costs alike is in these.

``PYTHONPATH=. python benchmarks/bench_permissions.py [--small] [--rounds N] [--data-dir DIR]``. Writing the tenant
takes most of the time; a folder that is named is kept, and measured as it is the next time.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

import aiohttp
import numpy as np
import numpy.typing as npt

from benchmarks import permission_seed
from benchmarks.live_service import LiveService, running_service
from benchmarks.permission_seed import SELECTIVITIES, Seed, Shared
from benchmarks.report import header, publish, summary
from tests.conftest import Member
from undercroft.commands.keys import create_key
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls, running_urls
from undercroft.ledger.service import Ledger
from undercroft.retrieval.embedding.models import EmbeddingModel, configured_model
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.search.service import count_candidates
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.repository import KeyRepository
from undercroft.vault.keys.service import KeyRing

Key = TypeVar("Key")

_TENANT: Final = "permissions"
_PAPERS: Final = 5
"""How many documents of each caller's the service has made."""
_SHOWN: Final = 10
_QUERY: Final = SearchQuery((), "", _SHOWN, is_everywhere=True)
_CANDIDATES: Final = count_candidates(_QUERY)
_BOUND: Final = 20_000
"""As the service searches: passages a leg proposes, and how many it looks at."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is."""

    documents: int
    grants: int
    callers: Sequence[int]


FULL: Final = Size(200_000, 1_000_000, (10, 1_000, 100_000))
SMALL: Final = Size(4_000, 10_000, (10, 100, 2_000))


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may search so many documents: by grants, or as their owner."""

    scope: Member
    session: aiohttp.ClientSession
    papers: Sequence[str]
    granted: Sequence[UUID]


class Permissions:
    """The tenant, as it is measured."""

    def __init__(
        self, database: Database, owner: Member, model: EmbeddingModel, rounds: int
    ) -> None:
        self.database = database
        self.owner = owner
        self.model = model
        self.rounds = rounds
        self.legs = SearchRepository()
        draw = np.random.default_rng(1_000)
        self.questions = permission_seed.draw_vectors(rounds, model.dimensions, draw).astype(
            np.float32
        )

    async def check(self, caller: Caller, number: int, function: str) -> None:
        """Ask of one document that was granted."""
        document = caller.granted[number * 7919 % len(caller.granted)]
        async with self.database.transaction(caller.scope) as transaction:
            assert await transaction.fetchval(f"SELECT {function}($1, 'read')", document)

    async def read(self, caller: Caller, number: int) -> None:
        """Download one of the documents that the service has made."""
        paper = caller.papers[number % len(caller.papers)]
        async with caller.session.get(f"/v1/documents/{paper}/content") as answer:
            assert await answer.read()

    async def near(
        self, scope: Member, collections: Sequence[UUID], vector: npt.NDArray[np.float32]
    ) -> list[int]:
        """The vector leg's proposals, within these collections or everywhere."""
        async with self.database.transaction(scope) as transaction:
            near = await self.legs.search_vector(
                transaction,
                scope,
                collections,
                self.model.name,
                vector,
                exact_limit=_BOUND,
                limit=_CANDIDATES,
                is_everywhere=not collections,
            )
        return list(near)

    async def words(self, caller: Caller, number: int) -> list[int]:
        """The lexical leg's proposals."""
        async with self.database.transaction(caller.scope) as transaction:
            return await self.legs.search_lexical(
                transaction,
                [],
                words_of(number),
                candidate_limit=_BOUND,
                limit=_CANDIDATES,
                is_everywhere=True,
            )

    async def search(self, caller: Caller, number: int) -> None:
        """Ask the service, which embeds the question and releases what it finds."""
        question = {"query": words_of(number), "limit": _SHOWN}
        async with caller.session.post("/v1/search", json=question) as answer:
            assert (await answer.json())["data"]

    async def search_bare(self, caller: Caller, number: int) -> None:
        """Both legs, one after the other, and the statements that authorise and read."""
        near = await self.near(caller.scope, [], self.questions[number % self.rounds])
        chunk_ids = list(dict.fromkeys((*near, *await self.words(caller, number))))
        async with self.database.transaction(caller.scope) as transaction:
            await self.legs.list_partly_shared(transaction, chunk_ids)
            assert await self.legs.list_passages(transaction, _QUERY, chunk_ids[:_SHOWN])


def words_of(number: int) -> str:
    """A question: its words stand in one in fifty of the documents, and in one in a thousand."""
    return f"word{number % 50} term{number % 977}"


Work: TypeAlias = Callable[[Caller, int], Awaitable[None]]


async def compare(callers: dict[int, Caller], rounds: int, work: Work) -> dict[str, Any]:
    """Milliseconds of the same work for each caller, in turn, so that a drift of the machine meets all alike."""
    return _by_grants(await _take_turns(callers, rounds, work))


async def compare_with_owners(
    callers: dict[int, Caller], owners: dict[int, Caller], rounds: int, work: Work
) -> dict[str, Any]:
    """The same, and beside each caller whoever owns the documents that the caller was granted."""
    both = {(count, True): caller for count, caller in callers.items()}
    both |= {(count, False): owner for count, owner in owners.items()}
    samples = await _take_turns(both, rounds, work)
    granted = {count: times for (count, by_grant), times in samples.items() if by_grant}
    owned = {count: times for (count, by_grant), times in samples.items() if not by_grant}
    over = {
        count: statistics.median(granted[count]) / statistics.median(owned[count])
        for count in granted
    }
    return {
        **_by_grants(granted),
        "milliseconds_of_the_owner_by_documents": {
            str(count): summary(times, 3) for count, times in owned.items()
        },
        "granted_over_owned": {str(count): round(ratio, 3) for count, ratio in over.items()},
        "ratio_of_granted_over_owned": round(max(over.values()) / min(over.values()), 2),
    }


async def _take_turns(
    callers: Mapping[Key, Caller], rounds: int, work: Work
) -> dict[Key, list[float]]:
    samples: dict[Key, list[float]] = {key: [] for key in callers}
    for number in range(-max(3, rounds // 10), rounds):
        # Whoever asks a question first warms the caches for whoever asks it next.
        for key, caller in list(callers.items())[:: -1 if number % 2 else 1]:
            started = time.perf_counter()
            await work(caller, abs(number))
            if number >= 0:
                samples[key].append(1000 * (time.perf_counter() - started))
    return samples


def _by_grants(samples: Mapping[int, list[float]]) -> dict[str, Any]:
    summaries = {str(count): summary(times, 3) for count, times in samples.items()}
    medians = [each["median"] for each in summaries.values()]
    return {
        "ratio_of_medians": round(max(medians) / min(medians), 2),
        "milliseconds_by_grants_of_the_caller": summaries,
    }


async def measure_recall(
    bench: Permissions, callers: dict[int, Caller], vectors: npt.NDArray[np.float32]
) -> dict[str, Any]:
    """Of the exact ten nearest that each may search, the part that is among the first ten found."""
    searchers: dict[str, tuple[Member, UUID | None]] = {
        f"{share:.2%} by a collection": (
            Member(bench.owner.tenant_id, permission_seed.reader_id(place), ""),
            permission_seed.collection_id(place),
        )
        for place, share in enumerate(SELECTIVITIES)
    }
    searchers |= {f"{count} grants": (each.scope, None) for count, each in callers.items()}
    recall: dict[str, Any] = {}
    for name, (scope, collection) in searchers.items():
        places = await list_places(bench, scope, collection, len(vectors))
        found = {"everywhere": 0, "in_the_collection": 0}
        wanted = 0
        for question in bench.questions:
            order = np.argsort(-(vectors[places] @ question), kind="stable")[:_SHOWN]
            exact = {permission_seed.chunk_id(int(place) + 1) for place in places[order]}
            wanted += len(exact)
            near = await bench.near(scope, [], question)
            found["everywhere"] += len(exact & set(near[:_SHOWN]))
            if collection is not None:
                near = await bench.near(scope, [collection], question)
                found["in_the_collection"] += len(exact & set(near[:_SHOWN]))
        if collection is None:
            del found["in_the_collection"]
        recall[name] = {
            "documents": len(places),
            **{where: round(count / wanted, 3) for where, count in found.items()},
        }
    return recall


async def list_places(
    bench: Permissions, scope: Member, collection: UUID | None, count: int
) -> npt.NDArray[np.int64]:
    """Places of the seeded documents that somebody was granted, by a collection or one by one."""
    async with bench.database.transaction(bench.owner) as transaction:
        rows = await transaction.fetch(
            "SELECT document_id FROM collection_documents WHERE collection_id = $1"
            " UNION ALL SELECT document_id FROM grants WHERE user_id = $2 AND document_id IS NOT NULL",
            collection,
            scope.principal_id,
        )
    numbers = np.array([permission_seed.number_of(row["document_id"]) for row in rows], object)
    return numbers[(numbers > 0) & (numbers <= count)].astype(np.int64) - 1


async def share_papers(owner: aiohttp.ClientSession, address: str) -> list[str]:
    """Documents that the service makes for an owner, and grants to somebody to read them."""
    papers: list[str] = []
    for number in range(_PAPERS):
        form = aiohttp.FormData()
        text = f"Paper {number} for {address}. " * 40
        form.add_field("file", text.encode(), filename="paper.txt", content_type="text/plain")
        async with owner.post("/v1/documents", data=form) as answer:
            paper = (await answer.json())["id"]
        terms = {
            "resource": paper,
            "grantee": {"user": address},
            "actions": ["search", "read", "download"],
        }
        async with owner.post("/v1/grants", json=terms) as answer:
            await answer.read()
        papers.append(paper)
    return papers


async def find_scope(urls: DatabaseUrls, key: str) -> Member:
    """Whose key it is."""
    clock = SystemClock()
    async with Database(urls.service, clock=clock, size=1) as database:
        ids = IdSource(clock)
        identity = IdentityService(database, Ledger(database, ids, clock), ids, clock)
        principal = await identity.authenticate(key)
    return Member(principal.tenant_id, principal.principal_id, "")


async def open_tenant_key(service: LiveService, urls: DatabaseUrls, owner: Member) -> bytes:
    """What the data keys of the tenant are wrapped with."""
    clock = SystemClock()
    async with (
        Database(urls.service, clock=clock, size=1) as database,
        open_key_provider(service.settings, database) as provider,
    ):
        async with database.transaction(owner) as transaction:
            key = await KeyRepository().find_current_tenant_key(transaction)
        assert key is not None
        return await KeyRing(provider, IdSource(clock)).open_tenant_key(key)


async def sign_up(
    stack: AsyncExitStack, service: LiveService, urls: DatabaseUrls, name: str
) -> tuple[Member, aiohttp.ClientSession]:
    """A user of the tenant, and what they ask with."""
    key = await create_key(service.settings, _TENANT, f"{name}@example.org", None, None)
    session = await stack.enter_async_context(service.open_session(key))
    return await find_scope(urls, key), session


async def measure(service: LiveService, size: Size, rounds: int) -> dict[str, Any]:
    urls = await asyncio.to_thread(running_urls, service.settings.data_dir)
    assert urls is not None
    model = configured_model(service.settings)
    async with AsyncExitStack() as stack:
        first, session = await sign_up(stack, service, urls, "owner")
        # It has the tenant's key made.
        await share_papers(session, "owner@example.org")
        people = {
            count: (
                await sign_up(stack, service, urls, f"caller{count}"),
                await sign_up(stack, service, urls, f"owner{count}"),
            )
            for count in size.callers
        }
        papers = {
            count: await share_papers(owner, f"caller{count}@example.org")
            for count, (_, (_, owner)) in people.items()
        }
        shared = [
            Shared(owner.principal_id, caller.principal_id, count - _PAPERS)
            for count, ((caller, _), (owner, _)) in people.items()
        ]
        seed = Seed(
            first.tenant_id,
            first.principal_id,
            await open_tenant_key(service, urls, first),
            shared,
            size.documents,
            size.grants - len(shared) * _PAPERS,
            model.name,
            model.dimensions,
        )
        vectors = await permission_seed.write(urls.migration, seed)
        database = await stack.enter_async_context(
            Database(urls.service, clock=SystemClock(), size=2)
        )
        bench = Permissions(database, first, model, rounds)
        callers: dict[int, Caller] = {}
        owners: dict[int, Caller] = {}
        for count, ((scope, session), (owner, owning)) in people.items():
            places = await list_places(bench, scope, None, size.documents)
            documents = [permission_seed.document_id(int(place) + 1) for place in places]
            callers[count] = Caller(scope, session, papers[count], documents)
            owners[count] = Caller(owner, owning, papers[count], documents)
        return {
            "seeded": asdict(size),
            **await measure_all(bench, callers, owners, vectors.astype(np.float32)),
        }


async def measure_all(
    bench: Permissions,
    callers: dict[int, Caller],
    owners: dict[int, Caller],
    vectors: npt.NDArray[np.float32],
) -> dict[str, Any]:
    many = 5 * bench.rounds
    checks = {
        name: await compare(callers, many, partial(bench.check, function=name))
        for name in ("ways_to", "ways_to_document")
    }
    return {
        "check": checks,
        "read_over_http": await compare_with_owners(callers, owners, many, bench.read),
        "search_over_http": await compare_with_owners(callers, owners, many, bench.search),
        "search_statements": await compare_with_owners(callers, owners, many, bench.search_bare),
        "recall": await measure_recall(bench, callers, vectors),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a minute's worth of it")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--data-dir", type=Path, help="what an earlier run has written, or is to")
    wanted = parser.parse_args()
    document = header("permissions")
    async with running_service(data_dir=wanted.data_dir) as service:
        document.update(await measure(service, SMALL if wanted.small else FULL, wanted.rounds))
    publish(document)


if __name__ == "__main__":
    asyncio.run(main())
