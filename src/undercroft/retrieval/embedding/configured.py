"""The embedder that the settings name."""

import random

import aiohttp

from undercroft.kit.clock import Clock
from undercroft.kit.settings import Settings
from undercroft.retrieval.embedding.local import OnnxEmbedder
from undercroft.retrieval.embedding.models import configured_model
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.embedding.remote import RemoteEmbedder
from undercroft.retrieval.minilm.files import locate_minilm


async def open_embedder(
    settings: Settings, client: aiohttp.ClientSession, clock: Clock
) -> Embedder:
    """Open the configured embedder.

    Raises:
        MinilmUnavailableError: When the built-in model is configured and was not prepared.
    """
    if settings.embedding_url is None:
        return await OnnxEmbedder.load(
            locate_minilm(settings.models_dir), settings.embedding_threads
        )
    return RemoteEmbedder(
        client,
        str(settings.embedding_url),
        settings.embedding_key,
        configured_model(settings),
        clock=clock,
        jitter=random.random,
    )
