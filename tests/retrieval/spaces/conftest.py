"""A service on its way from the built-in model to one on a server in a process of its own, with other dimensions."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import aiohttp
import pytest
from pydantic import SecretStr

from tests.conftest import Member
from tests.servers.embeddings_server import KEY
from tests.shelf import Shelf
from tests.stepping import PausingEmbedder
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import register_model
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.retrieval.embedding.models import MINILM, EmbeddingModel
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.embedding.remote import RemoteEmbedder, RemoteLimits
from undercroft.retrieval.index.document_titles import DocumentTitles
from undercroft.retrieval.index.tasks import IndexTasks
from undercroft.retrieval.search.models import Leg, SearchQuery, SearchResult
from undercroft.retrieval.search.service import SearchService
from undercroft.retrieval.spaces.backfill import Backfill
from undercroft.retrieval.spaces.service import SpaceAdministration

PROJECTED = EmbeddingModel("projected:256", 256, 256)


async def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Move:
    """Two models, and what works with both.

    Attributes:
        before: As the service was: the built-in model alone.
        shelf: As it is on its way: with the incoming model.
    """

    before: Shelf
    shelf: Shelf
    incoming: PausingEmbedder
    spaces: SpaceAdministration

    def backfill(self, *embedders: Embedder, lease: timedelta = timedelta(minutes=2)) -> Backfill:
        """What a worker does."""
        given = embedders or (self.shelf.embedder, self.incoming)
        tasks = self.shelf.tasks
        titles = DocumentTitles(self.shelf.stepped, tasks._blobs, self.shelf.keys, tasks._sandbox)
        return Backfill(self.shelf.stepped, self.shelf.keys, titles, given, never, lease)

    async def embedded(self, scope: Scope, model: EmbeddingModel) -> tuple[int, int]:
        """How many passages of a tenant have a vector of a model, and how many there are."""
        (found,) = [it for it in await self.spaces.list_models() if it.name == model.name]
        progress = await self.spaces.measure(scope.tenant_id, found)
        return progress.embedded, progress.passages

    async def complete(self, scope: Scope) -> None:
        """Have the incoming model embed all of a tenant."""
        await self.spaces.begin_backfill(scope.tenant_id, PROJECTED.name)
        await self.backfill().go_on()

    async def near(self, scope: Member, text: str, *collection_ids: UUID) -> SearchResult:
        """What the vector leg alone finds; everywhere where no collection is named."""
        query = SearchQuery(
            collection_ids,
            text,
            10,
            frozenset({Leg.VECTOR}),
            is_everywhere=not collection_ids,
        )
        return await self.shelf.search.search(scope, query)


@pytest.fixture
async def move(
    shelf: Shelf, database_urls: DatabaseUrls, embeddings_url: str
) -> AsyncGenerator[Move]:
    """The move, as an operator has configured it and not begun yet."""
    await register_model(database_urls.migration, PROJECTED.name, PROJECTED.dimensions)
    async with aiohttp.ClientSession() as session:
        remote = RemoteEmbedder(
            session,
            embeddings_url,
            SecretStr(KEY),
            PROJECTED,
            clock=SystemClock(),
            jitter=lambda: 0.0,
            limits=RemoteLimits(attempts=1),
        )
        incoming = PausingEmbedder(remote)
        tasks = IndexTasks(
            shelf.stepped,
            shelf.tasks._blobs,
            shelf.keys,
            shelf.tasks._sandbox,
            shelf.tasks._tokenizer,
            shelf.embedder,
            JobQueue(IdSource()),
            incoming,
        )
        search = SearchService(
            shelf.stepped, shelf.keys, shelf.ledger, shelf.embedder, incoming=incoming
        )
        moving = replace(shelf, tasks=tasks, search=search)
        assert shelf.embedder.model == MINILM
        yield Move(shelf, moving, incoming, SpaceAdministration(shelf.database))
