"""The embedder that the settings name."""

import random
from typing import Final

import aiohttp

from undercroft.kit.clock import Clock
from undercroft.kit.settings import Settings
from undercroft.retrieval.embedding.local import MINILM, OnnxEmbedder
from undercroft.retrieval.embedding.protocol import Embedder, EmbeddingModel
from undercroft.retrieval.embedding.remote import RemoteEmbedder
from undercroft.retrieval.minilm.files import locate_minilm

_REMOTE_MAX_TOKENS: Final = 256
"""Chunks are cut to this for a remote model too: it is what a passage should be long, whatever a model could read."""


def configured_model(settings: Settings) -> EmbeddingModel:
    """Which vectors the configured embedder makes."""
    if settings.embedding_model is None or settings.embedding_dimensions is None:
        return MINILM
    return EmbeddingModel(
        settings.embedding_model, settings.embedding_dimensions, _REMOTE_MAX_TOKENS
    )


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
