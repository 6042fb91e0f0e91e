"""Near passages by an index outside of PostgreSQL, which proposes; PostgreSQL says who may search what."""

from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt

from undercroft.kit.database import Database
from undercroft.kit.scope import Scope
from undercroft.retrieval.vectors.models import Space
from undercroft.retrieval.vectors.protocol import Question, VectorIndex
from undercroft.retrieval.vectors.repository import VectorRepository

_FEWEST_ASKED: Final = 150
_ASKED_EACH: Final = 3
_MOST_ASKED: Final = 10_000
"""Of the index, in one call. If fewer of those may be searched than are wanted, they are compared in PostgreSQL."""
_WIDENED: Final = 4
_RARE: Final = 12
"""If fewer than one in so many of the nearest may be searched, to list what may be is quicker than to ask for more."""


class NearPoints(Protocol):
    """Whoever proposes."""

    async def near(
        self, space: Space, tenant_id: UUID, vector: npt.NDArray[np.float32], limit: int
    ) -> list[int]:
        """Chunks of a tenant near a vector, nearest first, as many if there are."""
        ...


@dataclass(frozen=True, slots=True)
class Compared:
    """How much is compared in PostgreSQL.

    Attributes:
        documents: Where the caller may search so few documents, their passages are compared before anything is asked.
        passages: If those, or those of so many documents, are no more than so many.
    """

    documents: int = 2_000
    passages: int = 20_000


class OutsideIndex:
    """Asks for more than is wanted, and for more again, until enough may be searched by the caller.

    Whatever the index has not, or never finds, is no loss: before fewer are proposed than are wanted, all that the
    caller may search is compared in PostgreSQL.

    Args:
        database: The truth.
        points: The index.
        own: Answers until everything was brought outside, and where nothing but comparing all will do.
        compared: How much is compared in PostgreSQL.
    """

    def __init__(
        self,
        database: Database,
        points: NearPoints,
        own: VectorIndex,
        compared: Compared = Compared(),  # frozen
    ) -> None:
        self._database = database
        self._points = points
        self._own = own
        self._compared = compared
        self._repository = VectorRepository()

    async def find_nearest(self, scope: Scope, question: Question, limit: int) -> dict[int, float]:
        """As the protocol says. No transaction is open while the index is asked."""
        if question.effort.reach is None:
            return await self._own.find_nearest(scope, question, limit)
        async with self._database.transaction(scope) as transaction:
            space = await self._repository.find_space(transaction, question)
            few = (
                None
                if space is None
                else await self._repository.compare_vectors(
                    transaction,
                    question,
                    document_limit=self._compared.documents,
                    vector_limit=self._compared.passages,
                    limit=limit,
                )
            )
        if space is None:
            return await self._own.find_nearest(scope, question, limit)
        if few is not None:
            return few
        asked = max(_FEWEST_ASKED, _ASKED_EACH * limit)
        while True:
            proposed = await self._points.near(space, scope.tenant_id, question.vector, asked)
            async with self._database.transaction(scope) as transaction:
                admitted = await self._repository.admit_vectors(
                    transaction, question, proposed, limit
                )
            if len(admitted) == limit:
                return admitted
            is_rare = len(admitted) * _RARE < len(proposed)
            is_all = len(proposed) < asked or asked >= _MOST_ASKED
            if is_rare or is_all:
                compared = await self._compare(scope, question, limit, is_bounded=not is_all)
                if compared is not None:
                    return compared
            asked = min(_WIDENED * asked, _MOST_ASKED)

    async def _compare(
        self, scope: Scope, question: Question, limit: int, *, is_bounded: bool
    ) -> dict[int, float] | None:
        bound = self._compared.passages if is_bounded else None
        async with self._database.transaction(scope) as transaction:
            return await self._repository.compare_vectors(
                transaction, question, document_limit=bound, vector_limit=bound, limit=limit
            )
