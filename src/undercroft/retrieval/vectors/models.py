"""What is kept outside, and where."""

from dataclasses import dataclass
from uuid import UUID

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Space:
    """Where the vectors of one model are outside.

    Attributes:
        index_id: Of the database: no other one has the same.
        model_id: Of the model.
    """

    index_id: UUID
    model_id: int

    @property
    def name(self) -> str:
        """What the collection is called."""
        return f"{prefix_of(self.index_id)}{self.model_id}"


def prefix_of(index_id: UUID) -> str:
    """What the names of a database's collections begin with."""
    return f"undercroft-{index_id.hex}-"


@dataclass(frozen=True, slots=True)
class Point:
    """One passage's vector."""

    chunk_id: int
    tenant_id: UUID
    vector: npt.NDArray[np.float32]
