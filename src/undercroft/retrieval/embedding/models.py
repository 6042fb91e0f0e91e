"""Which vectors an embedder makes. Known without loading one, which takes a second."""

from dataclasses import dataclass
from typing import Final

from undercroft.kit.settings import Settings, SettingsError
from undercroft.retrieval.minilm.files import DIMENSIONS, MAX_TOKENS, MODEL_NAME

_REMOTE_MAX_TOKENS: Final = 256
"""Chunks are cut to this for a remote model too: it is what a passage should be long, whatever a model could read."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """Which vectors an embedder makes; vectors of different models are never compared.

    Attributes:
        name: The model's name.
        dimensions: Length of a vector.
        max_tokens: Longest text, in the model's tokens, that is read to its end, special tokens included.
    """

    name: str
    dimensions: int
    max_tokens: int


MINILM: Final = EmbeddingModel(name=MODEL_NAME, dimensions=DIMENSIONS, max_tokens=MAX_TOKENS)


def configured_model(settings: Settings) -> EmbeddingModel:
    """Which vectors the configured embedder makes."""
    if settings.embedding_model is None or settings.embedding_dimensions is None:
        return MINILM
    return EmbeddingModel(
        settings.embedding_model, settings.embedding_dimensions, _REMOTE_MAX_TOKENS
    )


def incoming_model(settings: Settings) -> EmbeddingModel | None:
    """Which vectors the second embedder makes, where one is configured.

    Raises:
        SettingsError: When it is the first one's model, or nobody's.
    """
    name = settings.incoming_embedding_model
    if name is None:
        return None
    if name == configured_model(settings).name:
        raise SettingsError(
            f"Wrong setting: incoming_embedding_model: '{name}' is the embedding model already."
        )
    if settings.incoming_embedding_dimensions is not None:
        return EmbeddingModel(name, settings.incoming_embedding_dimensions, _REMOTE_MAX_TOKENS)
    if name != MINILM.name:
        raise SettingsError(
            f"Wrong setting: incoming_embedding_model: '{name}' is not the built-in model ({MINILM.name}); set "
            "incoming_embedding_url and incoming_embedding_dimensions, too."
        )
    return MINILM


def configured_models(settings: Settings) -> list[EmbeddingModel]:
    """Which vectors are made: by the embedder, and by the incoming one where there is one.

    Raises:
        SettingsError: When that is the same model, or nobody's.
    """
    incoming = incoming_model(settings)
    first = configured_model(settings)
    return [first] if incoming is None else [first, incoming]
