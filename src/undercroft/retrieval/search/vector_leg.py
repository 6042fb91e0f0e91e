"""The vector leg: what is near a question, in the space of each model that what is searched is in.

Vectors of two models are never compared. Each space has a ranking of its own, and these are fused by ranks.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import asyncpg
import numpy as np
import numpy.typing as npt
import structlog

from undercroft.kit.database import Database
from undercroft.kit.errors import UndercroftError
from undercroft.kit.scope import Scope
from undercroft.kit.tasks import both
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.ranking import reciprocal_rank_fusion
from undercroft.retrieval.search.effort import Effort, with_effort
from undercroft.retrieval.search.models import EXACT, Leg, SearchQuery
from undercroft.retrieval.spaces.models import Space
from undercroft.retrieval.spaces.service import EmbeddingSpaces
from undercroft.retrieval.vectors.errors import VectorIndexError
from undercroft.retrieval.vectors.protocol import Question, VectorIndex

INDEX_UNAVAILABLE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresSystemError,
    asyncpg.DataCorruptedError,
    asyncpg.IndexCorruptedError,
)
"""Why the leg is left out: PostgreSQL or its index cannot be asked. Any other error is a defect of ours, and would go
unseen as a worse answer."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NearPassages:
    """What the leg proposes.

    Attributes:
        similarities: Nearest first, with the cosine similarity to the question; None when no space could be asked.
        degraded: What could not be done: the leg, where not every space was asked, or exact comparison.
    """

    similarities: Mapping[int, float] | None
    degraded: frozenset[str] = frozenset()


class VectorLeg:
    """Embeds a question by the models that are needed, and asks each one's space.

    Args:
        database: Where it stands which collection is in which space.
        index: What finds near passages.
        embedders: The models that there are here: one, or two while the service moves from one to the other.
        seconds: What the whole search has.
    """

    def __init__(
        self,
        database: Database,
        index: VectorIndex,
        embedders: Sequence[Embedder],
        *,
        seconds: float,
    ) -> None:
        self._seconds = seconds
        self._database = database
        self._index = index
        self._embedders = {embedder.model.name: embedder for embedder in embedders}
        self._spaces = EmbeddingSpaces()

    async def propose(self, scope: Scope, query: SearchQuery, limit: int) -> NearPassages:
        """Near chunks, at most ``limit``."""
        wanted = list(self._embedders)
        if len(wanted) == 1:
            spaces, vectors = await both(
                self._find_spaces(scope, query), self._embed(wanted, query.text)
            )
        else:
            # First, so that no question is embedded in vain.
            spaces = await self._find_spaces(scope, query)
            wanted = [space.model for space in spaces if space.model in self._embedders]
            vectors = await self._embed(wanted, query.text)
        if wanted and not vectors:
            return NearPassages(None, frozenset({Leg.VECTOR}))

        async def ask(effort: Effort) -> NearPassages:
            return await self._ask(scope, query, spaces, vectors, effort, limit)

        near, is_given_up = await with_effort(query.quality, ask, self._seconds)
        return replace(near, degraded=near.degraded | {EXACT}) if is_given_up else near

    async def _ask(
        self,
        scope: Scope,
        query: SearchQuery,
        spaces: Sequence[Space],
        vectors: Mapping[str, npt.NDArray[np.float32]],
        effort: Effort,
        limit: int,
    ) -> NearPassages:
        rankings: list[Mapping[int, float]] = []
        for space in spaces:
            if space.model not in vectors:
                continue
            within = replace(
                query,
                collection_ids=space.collection_ids,
                document_ids=query.document_ids if space.is_of_tenant else (),
            )
            question = Question(within, space.model, vectors[space.model], effort)
            try:
                rankings.append(await self._index.find_nearest(scope, question, limit))
            except VectorIndexError as error:
                _log.warning("vector_index_unavailable", reason=error.message)
        if spaces and not rankings:
            return NearPassages(None, frozenset({Leg.VECTOR}))
        lacking = frozenset[str]() if len(rankings) == len(spaces) else frozenset({Leg.VECTOR})
        return NearPassages(fuse_spaces(rankings, limit), lacking)

    async def _find_spaces(self, scope: Scope, query: SearchQuery) -> list[Space]:
        collection_ids = () if query.is_everywhere else query.collection_ids
        with_tenant = query.is_everywhere or bool(query.document_ids)
        async with self._database.scoped_statement() as connection:
            return await self._spaces.find(
                connection, scope, collection_ids, with_tenant=with_tenant
            )

    async def _embed(self, models: Sequence[str], text: str) -> dict[str, npt.NDArray[np.float32]]:
        """The question by each of the models, at once; but for those that do not answer."""
        async with asyncio.TaskGroup() as tasks:
            made = {
                name: tasks.create_task(self._embed_by(self._embedders[name], text))
                for name in models
            }
        vectors = {name: task.result() for name, task in made.items()}
        return {name: vector for name, vector in vectors.items() if vector is not None}

    async def _embed_by(self, embedder: Embedder, text: str) -> npt.NDArray[np.float32] | None:
        try:
            return (await embedder.embed([text]))[0]
        except UndercroftError as error:
            _log.warning("embedder_unavailable", model=embedder.model.name, reason=error.message)
            return None


def fuse_spaces(rankings: Sequence[Mapping[int, float]], limit: int) -> Mapping[int, float]:
    """One ranking of several spaces, by ranks alone; what stands in two of them keeps the similarity of the first."""
    if len(rankings) == 1:
        return rankings[0]
    similarities: dict[int, float] = {}
    for ranking in reversed(rankings):
        similarities.update(ranking)
    fused = reciprocal_rank_fusion([list(ranking) for ranking in rankings])
    return {chunk_id: similarities[chunk_id] for chunk_id, _ in fused[:limit]}
