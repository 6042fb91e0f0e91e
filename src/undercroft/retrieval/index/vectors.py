"""The vectors of a content that is being indexed: by the embedding model, and by an incoming one beside it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import numpy as np
import structlog

from undercroft.jobs.handler import JobContext
from undercroft.kit.errors import UndercroftError
from undercroft.retrieval.embedding.models import EmbeddingModel
from undercroft.retrieval.embedding.protocol import Embedder, Vectors
from undercroft.retrieval.index.former import FormerVectors
from undercroft.retrieval.index.models import IndexedChunk

_BATCH: Final = 64
"""Chunks embedded between two reports of progress."""
_INCOMING_SECONDS: Final = 30.0
"""For which a content waits for the incoming model after the other one has embedded it. Then the backfill does it."""

_log = structlog.stdlib.get_logger(__name__)


class ContentVectors:
    """Embeds what of a content was not embedded with an earlier version of it.

    Args:
        former: Finds what was.
        embedder: Has to answer.
        incoming: May fail or be late: a content is not held up by a model that is on its way in.
    """

    def __init__(
        self, former: FormerVectors, embedder: Embedder, incoming: Embedder | None
    ) -> None:
        self._former = former
        self._embedder = embedder
        self._incoming = incoming

    @property
    def models(self) -> list[str]:
        """The names of the models that should embed a content."""
        embedders = [self._embedder, *([self._incoming] if self._incoming else [])]
        return [embedder.model.name for embedder in embedders]

    async def embed(
        self, context: JobContext, blob_id: UUID, chunks: Sequence[IndexedChunk]
    ) -> Mapping[EmbeddingModel, Vectors]:
        """A vector for each chunk by each model, but for what the incoming one did not answer.

        Raises:
            UndercroftError: When the embedding model does not answer.
        """
        first = self._embed(context, blob_id, chunks, self._embedder)
        if self._incoming is None:
            return {self._embedder.model: await first}
        incoming = asyncio.create_task(self._embed(context, blob_id, chunks, self._incoming))
        try:
            made = {self._embedder.model: await first}
            vectors = await _in_time(incoming, self._incoming.model)
            return made if vectors is None else {**made, self._incoming.model: vectors}
        finally:
            incoming.cancel()
            await asyncio.gather(incoming, return_exceptions=True)

    async def _embed(
        self,
        context: JobContext,
        blob_id: UUID,
        chunks: Sequence[IndexedChunk],
        embedder: Embedder,
    ) -> Vectors:
        """Only those of texts that are not known yet are asked for."""
        known = await self._former.find(context.scope, blob_id, embedder.model)
        vectors = np.empty((len(chunks), embedder.model.dimensions), dtype=np.float32)
        missing: list[int] = []
        for place, indexed in enumerate(chunks):
            vector = known.get(indexed.digest)
            if vector is None:
                missing.append(place)
            else:
                vectors[place] = vector
        reused = len(chunks) - len(missing)
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            await context.progress(reused + start, len(chunks))
            vectors[batch] = await embedder.embed([chunks[place].searchable for place in batch])
        await context.progress(len(chunks), len(chunks))
        return vectors


async def _in_time(incoming: asyncio.Task[Vectors], model: EmbeddingModel) -> Vectors | None:
    try:
        async with asyncio.timeout(_INCOMING_SECONDS):
            return await incoming
    except (TimeoutError, UndercroftError) as error:
        _log.warning("incoming_embedder_unavailable", model=model.name, reason=str(error))
        return None
