"""The vector index seam: what every implementation promises, held by one conformance suite."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from undercroft.kit.scope import Scope
from undercroft.retrieval.search.effort import EFFORTS, Effort
from undercroft.retrieval.search.models import Quality, SearchQuery


@dataclass(frozen=True, slots=True)
class Question:
    """A question as a model has embedded it.

    Attributes:
        query: Where is searched.
        model_name: Of the model; vectors of another are not compared with it.
        vector: A unit vector.
        effort: How much is looked at.
    """

    query: SearchQuery
    model_name: str
    vector: npt.NDArray[np.float32]
    effort: Effort = EFFORTS[Quality.BALANCED]


class VectorIndex(Protocol):
    """Proposes passages that are near a question.

    None is proposed that the caller may not search, as PostgreSQL has it at that instant; what is released is
    authorised again. As many as are asked for are proposed, if the caller may search as many.
    """

    async def find_nearest(self, scope: Scope, question: Question, limit: int) -> dict[int, float]:
        """Chunks, nearest first, with their cosine similarity; none for an unregistered model.

        Raises:
            VectorIndexError: When an index outside cannot be asked now.
        """
        ...
