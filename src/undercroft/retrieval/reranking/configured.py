"""The reranker that the settings name."""

import aiohttp

from undercroft.kit.clock import Clock
from undercroft.kit.settings import Settings
from undercroft.retrieval.reranking.local import OnnxReranker
from undercroft.retrieval.reranking.protocol import Reranker
from undercroft.retrieval.reranking.remote import RemoteReranker


async def open_reranker(
    settings: Settings, client: aiohttp.ClientSession, clock: Clock
) -> Reranker | None:
    """Open the configured reranker; None where none is.

    Raises:
        RerankerFilesError: When the folder of a local one holds no such model.
    """
    if settings.reranker_dir is not None:
        return await OnnxReranker.load(
            settings.reranker_dir,
            threads=settings.embedding_threads,
            seconds=settings.reranker_seconds,
        )
    if settings.reranker_url is None:
        return None
    return RemoteReranker(
        client,
        str(settings.reranker_url),
        settings.reranker_key,
        settings.reranker_model,
        api=settings.reranker_api,
        location=settings.reranker_location,
        seconds=settings.reranker_seconds,
        clock=clock,
    )
