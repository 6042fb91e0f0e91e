"""What is found, with its models and its index of vectors."""

from undercroft.http.services import RetrievalServices
from undercroft.http.wiring.foundation import Foundation
from undercroft.retrieval.collections.batches.service import FileBatchService
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.embedding.configured import open_embedder, open_incoming_embedder
from undercroft.retrieval.reranking.configured import open_reranker
from undercroft.retrieval.search.nearest import PostgresIndex
from undercroft.retrieval.search.service import SearchService
from undercroft.retrieval.texts.service import TextService
from undercroft.retrieval.vectors.configured import open_points
from undercroft.retrieval.vectors.outside import OutsideIndex
from undercroft.retrieval.vectors.protocol import VectorIndex


async def open_retrieval(base: Foundation) -> RetrievalServices:
    """All of it, until the foundation closes."""
    stack, settings, client, clock = base.stack, base.settings, base.client, base.clock
    embedder = await open_embedder(settings, client, clock)
    stack.push_async_callback(embedder.close)
    incoming = await open_incoming_embedder(settings, client, clock)
    if incoming is not None:
        stack.push_async_callback(incoming.close)
    reranker = await open_reranker(settings, client, clock)
    if reranker is not None:
        stack.push_async_callback(reranker.close)
    return RetrievalServices(
        collections=CollectionService(base.database, base.keys, base.ledger, base.ids, base.index),
        file_batches=FileBatchService(base.database, base.ledger, base.ids, base.index),
        search=SearchService(
            base.database,
            base.keys,
            base.ledger,
            embedder,
            reranker,
            incoming,
            _open_vector_index(base),
            seconds=settings.search_seconds,
        ),
        texts=TextService(base.database, base.keys, base.ledger),
        embedder=embedder,
    )


def _open_vector_index(base: Foundation) -> VectorIndex:
    own = PostgresIndex(base.database)
    points = open_points(base.settings, base.clock)
    if points is None:
        return own
    base.stack.push_async_callback(points.close)
    return OutsideIndex(base.database, points, own)
