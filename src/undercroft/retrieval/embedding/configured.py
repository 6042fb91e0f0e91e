"""The embedders that the settings name."""

import random

import aiohttp
from pydantic import AnyHttpUrl, SecretStr

from undercroft.kit.clock import Clock
from undercroft.kit.settings import Settings
from undercroft.retrieval.embedding.local import OnnxEmbedder
from undercroft.retrieval.embedding.models import EmbeddingModel, configured_model, incoming_model
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
        return await _open_builtin(settings)
    model, key = configured_model(settings), settings.embedding_key
    return _open_remote(client, clock, settings.embedding_url, key, model)


async def open_incoming_embedder(
    settings: Settings, client: aiohttp.ClientSession, clock: Clock
) -> Embedder | None:
    """Open the second embedder, where one is configured.

    Raises:
        MinilmUnavailableError: When that is the built-in model and was not prepared.
        SettingsError: When it is the first one's model, or nobody's.
    """
    model = incoming_model(settings)
    if model is None:
        return None
    if settings.incoming_embedding_url is None:
        return await _open_builtin(settings)
    url, key = settings.incoming_embedding_url, settings.incoming_embedding_key
    return _open_remote(client, clock, url, key, model)


async def _open_builtin(settings: Settings) -> Embedder:
    return await OnnxEmbedder.load(locate_minilm(settings.models_dir), settings.embedding_threads)


def _open_remote(
    client: aiohttp.ClientSession,
    clock: Clock,
    url: AnyHttpUrl,
    key: SecretStr | None,
    model: EmbeddingModel,
) -> Embedder:
    return RemoteEmbedder(client, str(url), key, model, clock=clock, jitter=random.random)
