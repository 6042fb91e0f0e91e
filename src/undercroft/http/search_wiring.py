"""The models that search with, and what finds near passages, opened for ``http/wiring.py``."""

from contextlib import AsyncExitStack

from aiohttp import ClientSession

from undercroft.kit.clock import Clock
from undercroft.kit.database import Database
from undercroft.kit.settings import Settings
from undercroft.retrieval.embedding.configured import open_embedder, open_incoming_embedder
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.reranking.configured import open_reranker
from undercroft.retrieval.reranking.protocol import Reranker
from undercroft.retrieval.search.nearest import PostgresIndex
from undercroft.retrieval.vectors.configured import open_points
from undercroft.retrieval.vectors.outside import OutsideIndex
from undercroft.retrieval.vectors.protocol import VectorIndex


def open_vector_index(
    stack: AsyncExitStack, settings: Settings, database: Database, clock: Clock
) -> VectorIndex | None:
    """What finds near passages outside of PostgreSQL, until ``stack`` closes; None where nothing does."""
    points = open_points(settings, clock)
    if points is None:
        return None
    stack.push_async_callback(points.close)
    return OutsideIndex(database, points, PostgresIndex(database))


async def open_search_models(
    stack: AsyncExitStack, settings: Settings, client: ClientSession, clock: Clock
) -> tuple[Embedder, Embedder | None, Reranker | None]:
    """What embeds questions, what will, and what puts passages in order, until ``stack`` closes."""
    embedder = await open_embedder(settings, client, clock)
    stack.push_async_callback(embedder.close)
    incoming = await open_incoming_embedder(settings, client, clock)
    if incoming is not None:
        stack.push_async_callback(incoming.close)
    reranker = await open_reranker(settings, client, clock)
    if reranker is not None:
        stack.push_async_callback(reranker.close)
    return embedder, incoming, reranker
