"""The vector leg: what is near a question, in the space of each model that what is searched is in.

Vectors of two models are never compared. Each space has a ranking of its own, and these are fused by ranks.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import structlog

from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import UndercroftError
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.ranking import reciprocal_rank_fusion
from undercroft.retrieval.search.models import SearchQuery
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.spaces.models import Space
from undercroft.retrieval.spaces.service import EmbeddingSpaces
from undercroft.retrieval.vectors.errors import VectorIndexError
from undercroft.retrieval.vectors.protocol import Question, VectorIndex

_EXACT_LIMIT: Final = 20_000
"""Up to how many authorised chunks the vector leg compares one by one."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NearPassages:
    """What the leg proposes.

    Attributes:
        similarities: Nearest first, with the cosine similarity to the question; None when no space could be asked.
        is_whole: Whether every space was asked.
    """

    similarities: Mapping[int, float] | None
    is_whole: bool


class VectorLeg:
    """Embeds a question by the models that are needed, and asks each one's space.

    Args:
        database: Where the vectors are.
        embedders: The models that there are here: one, or two while the service moves from one to the other.
        outside: What is asked in place of the database.
    """

    def __init__(
        self, database: Database, embedders: Sequence[Embedder], outside: VectorIndex | None = None
    ) -> None:
        self._database = database
        self._embedders = {embedder.model.name: embedder for embedder in embedders}
        self._outside = outside
        self._spaces = EmbeddingSpaces()
        self._repository = SearchRepository()

    async def propose(self, scope: Scope, query: SearchQuery, limit: int) -> NearPassages:
        """Near chunks, at most ``limit``."""
        spaces: Sequence[Space] | None = None
        wanted = list(self._embedders)
        if len(wanted) > 1:
            # First, so that no question is embedded in vain. Of one model alone they are asked for on the way.
            async with self._database.transaction(scope) as transaction:
                spaces = await self._find_spaces(transaction, query)
            wanted = [space.model for space in spaces if space.model in self._embedders]
        vectors = await self._embed(wanted, query.text)
        if wanted and not vectors:
            return NearPassages(None, False)
        async with self._database.transaction(scope) as transaction:
            if spaces is None:
                spaces = await self._find_spaces(transaction, query)
            asked = [space for space in spaces if space.model in vectors]
            rankings = (
                [
                    await self._search(transaction, query, space, vectors[space.model], limit)
                    for space in asked
                ]
                if self._outside is None
                else []
            )
        if self._outside is not None:
            # With no transaction open while a server is waited for.
            answers = await asyncio.gather(
                *(
                    self._ask(self._outside, scope, query, space, vectors[space.model], limit)
                    for space in asked
                )
            )
            rankings = [answer for answer in answers if answer is not None]
        if spaces and not rankings:
            return NearPassages(None, False)
        return NearPassages(fuse_spaces(rankings, limit), len(rankings) == len(spaces))

    async def _find_spaces(self, transaction: Transaction, query: SearchQuery) -> list[Space]:
        collection_ids = () if query.is_everywhere else query.collection_ids
        with_tenant = query.is_everywhere or bool(query.document_ids)
        return await self._spaces.find(transaction, collection_ids, with_tenant=with_tenant)

    async def _embed(self, models: Sequence[str], text: str) -> dict[str, npt.NDArray[np.float32]]:
        """The question by each of the models, at once; but for those that do not answer."""
        made = await asyncio.gather(
            *(self._embed_by(self._embedders[name], text) for name in models)
        )
        return {
            name: vector for name, vector in zip(models, made, strict=True) if vector is not None
        }

    async def _embed_by(self, embedder: Embedder, text: str) -> npt.NDArray[np.float32] | None:
        try:
            return (await embedder.embed([text]))[0]
        except UndercroftError as error:
            _log.warning("embedder_unavailable", model=embedder.model.name, reason=error.message)
            return None

    async def _ask(
        self,
        outside: VectorIndex,
        scope: Scope,
        query: SearchQuery,
        space: Space,
        vector: npt.NDArray[np.float32],
        limit: int,
    ) -> dict[int, float] | None:
        within = replace(
            query,
            collection_ids=space.collection_ids,
            document_ids=query.document_ids if space.is_of_tenant else (),
        )
        try:
            return await outside.find_nearest(scope, Question(within, space.model, vector), limit)
        except VectorIndexError as error:
            _log.warning("vector_index_unavailable", reason=error.message)
            return None

    async def _search(
        self,
        transaction: Transaction,
        query: SearchQuery,
        space: Space,
        vector: npt.NDArray[np.float32],
        limit: int,
    ) -> dict[int, float]:
        return await self._repository.search_vector(
            transaction,
            space.collection_ids,
            space.model,
            vector,
            exact_limit=_EXACT_LIMIT,
            limit=limit,
            document_ids=query.document_ids if space.is_of_tenant else (),
            is_everywhere=query.is_everywhere,
            path=query.path,
        )


def fuse_spaces(rankings: Sequence[Mapping[int, float]], limit: int) -> Mapping[int, float]:
    """One ranking of several spaces, by ranks alone; what stands in two of them keeps the similarity of the first."""
    if len(rankings) == 1:
        return rankings[0]
    similarities: dict[int, float] = {}
    for ranking in reversed(rankings):
        similarities.update(ranking)
    fused = reciprocal_rank_fusion([list(ranking) for ranking in rankings])
    return {chunk_id: similarities[chunk_id] for chunk_id, _ in fused[:limit]}
