"""The embedder seam: what every implementation promises, held by one conformance suite."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from undercroft.kit.surrogates import join_surrogates
from undercroft.retrieval.embedding.models import EmbeddingModel

Vectors = npt.NDArray[np.float32]
"""One text's unit vector a row, (texts, dimensions)."""

_CHARACTERS_PER_TOKEN: Final = 64


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors and what they cost.

    Attributes:
        vectors: One unit vector a text, in the texts' order, (texts, dimensions).
        tokens: Tokens the model read; 0 when a remote server does not say.
    """

    vectors: Vectors
    tokens: int


class Embedder(Protocol):
    """Turns texts into vectors whose inner product is their similarity.

    Any ``str`` is a valid text, also an empty one, one with lone surrogates, or one that is too long (the model reads
    its beginning). Calls may run at once; a cancelled one stops at its next batch.
    """

    @property
    def model(self) -> EmbeddingModel:
        """Which vectors these are."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of the texts, in their order, (texts, dimensions).

        Raises:
            UndercroftError: UNAVAILABLE when a retry may succeed, UPSTREAM_FAILED when a remote server misbehaves.
        """
        ...

    async def embed_counted(self, texts: Sequence[str]) -> Embeddings:
        """As :meth:`embed`, with the number of tokens that were read."""
        ...

    async def close(self) -> None:
        """Release what the embedder holds, after the batch that runs now. Later calls raise UNAVAILABLE."""
        ...


def readable_text(text: str, model: EmbeddingModel) -> str:
    """The part of a text that a model can be given.

    Surrogates, which UTF-8 cannot carry, are joined where they pair and replaced by U+FFFD where they do not. Text
    far beyond the model's reach is cut before anything is spent on it: 64 characters for each token that it reads.
    """
    return join_surrogates(text[: model.max_tokens * _CHARACTERS_PER_TOKEN])
