"""Search proposes freely and releases only what may be read when it is read."""

import asyncio
import io
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.documents import make_documents
from undercroft.commands.databases import bring_up_to_date
from undercroft.commands.worker.wiring import open_worker
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.egress import open_client
from undercroft.kit.errors import NotFoundError, UnavailableError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.embedding.configured import open_embedder
from undercroft.retrieval.embedding.models import EmbeddingModel
from undercroft.retrieval.embedding.protocol import Embedder, Embeddings, Vectors
from undercroft.retrieval.index.service import IndexService
from undercroft.retrieval.search import effort
from undercroft.retrieval.search.effort import EFFORTS
from undercroft.retrieval.search.models import Leg, Quality, SearchQuery
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.search.service import SearchService, count_candidates
from undercroft.vault.keys.service import KeyRing

TEXTS = {
    "mill.txt": "The watermill on the Alder grinds barley for three villages.",
    "clock.txt": "The town clock was repaired by Marta Quill in 1987.",
    "boat.txt": "A ferry crosses the estuary twice a day, weather permitting.",
}


class SilentEmbedder:
    """An embedder whose server is down."""

    model = EmbeddingModel("all-minilm-l6-v2", 384, 256)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        del texts
        raise UnavailableError("The embedding server is down.")

    async def embed_counted(self, texts: Sequence[str]) -> Embeddings:
        return Embeddings(await self.embed(texts), 0)

    async def close(self) -> None:
        return None


class Library:
    """Indexed documents, and the services over them."""

    def __init__(self, database: Database, keys: KeyRing, embedder: Embedder, folder: Path) -> None:
        ids = IdSource()
        self.keys = keys
        self.ledger = ledger = Ledger(database, ids, SystemClock())
        self.database = database
        self.documents = make_documents(database, folder, keys, limit=100_000)
        self.collections = CollectionService(
            database, keys, ledger, ids, IndexService(JobQueue(ids))
        )
        self.embedder = embedder
        self.search = SearchService(database, keys, ledger, embedder)

    async def fill(self, scope: Member, texts: dict[str, str]) -> tuple[UUID, dict[str, UUID]]:
        """A collection with these documents, indexed."""
        made = {
            name: (
                await self.documents.import_file(
                    scope, io.BytesIO(text.encode()), name, "user_data"
                )
            ).id
            for name, text in texts.items()
        }
        collection = await self.collections.create(scope, "papers", {}, list(made.values()))
        while (await self.collections.get(scope, collection.id)).counts.in_progress:  # noqa: ASYNC110 - another task's work
            await asyncio.sleep(0.02)  # a worker's progress can only be asked for
        return collection.id, made

    async def names(self, scope: Member, collection_id: UUID, text: str) -> list[str]:
        result = await self.search.search(scope, SearchQuery((collection_id,), text, 10))
        return [passage.filename for passage in result.passages]


@pytest.fixture
async def library(
    database: Database, database_urls: DatabaseUrls, tmp_path: Path
) -> AsyncGenerator[Library]:
    settings = Settings(data_dir=tmp_path)
    await bring_up_to_date(database_urls, settings)
    async with AsyncExitStack() as stack:
        worker = await open_worker(stack, settings, database_urls.service)
        running = asyncio.create_task(worker.run())
        client = await stack.enter_async_context(open_client())
        embedder = await open_embedder(settings, client, SystemClock())
        stack.push_async_callback(embedder.close)
        keys = KeyRing(await KeyFile.open(settings.key_path), IdSource())
        yield Library(database, keys, embedder, tmp_path)
        await worker.stop()
        await running


async def test_search_finds_by_words_and_by_meaning_and_never_nothing(
    library: Library, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection_id, _ = await library.fill(ann, TEXTS)
    assert (await library.names(ann, collection_id, "Who repaired the clock?"))[0] == "clock.txt"
    assert (await library.names(ann, collection_id, "boat schedule"))[0] == "boat.txt"
    assert (await library.names(ann, collection_id, "watermill xyzzy"))[0] == "mill.txt"
    assert await library.names(ann, collection_id, "xyzzy qwrtk") != []


async def test_scores_are_made_of_ranks(library: Library, make_scope: MakeScope) -> None:
    ann = await make_scope()
    collection_id, _ = await library.fill(ann, TEXTS)
    query = SearchQuery((collection_id,), "Who repaired the town clock?", 10)
    passages = (await library.search.search(ann, query)).passages
    scores = [passage.score for passage in passages]
    assert scores == sorted(scores, reverse=True)
    legal = {
        round((a + b) * 61 / 2, 9)
        for a in [0.0, *(1 / (60 + rank) for rank in range(1, 4))]
        for b in [0.0, *(1 / (60 + rank) for rank in range(1, 4))]
    }
    assert {round(score, 9) for score in scores} <= legal


async def test_words_answer_alone_when_the_embedder_is_down(
    library: Library, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection_id, _ = await library.fill(ann, TEXTS)
    search = SearchService(library.database, library.keys, library.ledger, SilentEmbedder())
    query = SearchQuery((collection_id,), "Who repaired the clock?", 10)
    result = await search.search(ann, query)
    assert [passage.filename for passage in result.passages] == ["clock.txt"]
    assert result.degraded == {Leg.VECTOR}
    with pytest.raises(UnavailableError):
        await search.search(ann, SearchQuery((collection_id,), "x", 10, frozenset({Leg.VECTOR})))


async def test_what_takes_too_long_to_compare_is_searched_as_usual_and_says_so(
    library: Library, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    collection_id, _ = await library.fill(ann, TEXTS)
    query = SearchQuery((collection_id,), "town clock", 10, quality=Quality.EXACT)
    whole = await library.search.search(ann, query)
    assert whole.degraded == frozenset()
    exact = EFFORTS[Quality.EXACT]
    for bounded in (replace(exact, seconds=0.0), replace(exact, compared=2)):
        monkeypatch.setattr(effort, "EFFORTS", {**EFFORTS, Quality.EXACT: bounded})
        result = await library.search.search(ann, query)
        assert result.degraded == {"exact"}
        assert [it.filename for it in result.passages] == [it.filename for it in whole.passages]


async def test_another_users_collection_does_not_exist(
    library: Library, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    colleague = await make_scope(ann.tenant_id, role="admin")
    collection_id, _ = await library.fill(ann, TEXTS)
    for other in (stranger, colleague):
        with pytest.raises(NotFoundError):
            await library.names(other, collection_id, "clock")
        async with library.database.transaction(other) as transaction:
            repository = SearchRepository()
            assert not await repository.search_lexical(
                transaction, [collection_id], "clock", candidate_limit=100, limit=10
            )
            assert not await repository.list_passages(
                transaction, SearchQuery([collection_id], "clock", 10), list(range(1, 100))
            )


async def test_a_document_that_goes_between_proposal_and_reading_is_not_released(
    library: Library, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection_id, documents = await library.fill(ann, TEXTS)
    repository, query = SearchRepository(), SearchQuery([collection_id], "clock ferry", 10)
    async with library.database.transaction(ann) as transaction:
        proposed = await repository.search_lexical(
            transaction, [collection_id], "clock ferry", candidate_limit=100, limit=10
        )
    assert len(proposed) == 2
    await library.collections.remove(ann, collection_id, documents["clock.txt"])
    async with library.database.transaction(ann) as transaction:
        rows = await repository.list_passages(transaction, query, proposed)
    assert [row["document_id"] for row in rows] == [documents["boat.txt"]]
    await library.documents.delete(ann, documents["boat.txt"])
    async with library.database.transaction(ann) as transaction:
        assert not await repository.list_passages(transaction, query, proposed)


@pytest.mark.parametrize(
    "query",
    [
        "'",
        '"',
        "\\",
        "a & b | !c:*",
        "'; DROP TABLE chunks; --",
        "\u202e🦆 鴨",
        "clock " * 600,
        "%_",
        "()",
    ],
)
async def test_odd_queries_are_only_text(
    library: Library, make_scope: MakeScope, query: str
) -> None:
    ann = await make_scope()
    collection_id, _ = await library.fill(ann, {"clock.txt": TEXTS["clock.txt"]})
    assert await library.names(ann, collection_id, query) == ["clock.txt"]


async def test_the_index_and_the_exact_comparison_find_the_same(
    library: Library, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    texts = {f"{n}.txt": f"Parcel number {n} holds {n * 7} blue beads." for n in range(40)}
    collection_id, _ = await library.fill(ann, {**TEXTS, **texts})
    model = library.embedder.model
    (vector,) = await library.embedder.embed(["How many blue beads are in parcel 12?"])
    found: list[set[int]] = []
    for exact_limit in (0, 1000):
        async with library.database.transaction(ann) as transaction:
            nearest = await SearchRepository().search_vector(
                transaction,
                ann,
                [collection_id],
                model.name,
                vector,
                exact_limit=exact_limit,
                limit=10,
            )
        found.append(set(nearest))
    assert len(found[1]) == 10
    assert len(found[0] & found[1]) >= 9


def test_a_leg_proposes_as_many_as_are_wanted_of_it() -> None:
    counts = [count_candidates(SearchQuery((), "clock", limit)) for limit in (1, 10, 50, 100, 1000)]
    assert counts == [50, 50, 250, 300, 300]
