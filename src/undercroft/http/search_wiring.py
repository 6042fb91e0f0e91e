"""The models that search with, opened for ``http/wiring.py``."""

from contextlib import AsyncExitStack

from aiohttp import ClientSession

from undercroft.kit.clock import Clock
from undercroft.kit.settings import Settings
from undercroft.retrieval.embedding.configured import open_embedder, open_incoming_embedder
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.reranking.configured import open_reranker
from undercroft.retrieval.reranking.protocol import Reranker


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
