"""How large a model's index should be, and whether it is worthwhile to build it anew."""

from dataclasses import dataclass
from typing import Final

_PAGE: Final = 8192
_PAGE_ROOM: Final = _PAGE - 24 - 8
"""Without the page's header and what pgvector keeps at its end."""
_ELEMENT: Final = 72 + 8
"""Of an element beside its numbers: what pgvector keeps with it, and the head of a halfvec."""
_NEIGHBOURS: Final = 200 + 2 * 4
"""Where an element of the lowest level has its neighbours (m = 16), and the pointers to both."""
SMALL: Final = 1024 * 1024
"""Bytes of an index that is quick to read, whatever is in it."""
_SLACK: Final = 1.5
"""From so many times the size of a fresh index on it is worthwhile: a third of it is dead, and read on the way."""


def index_name(model_id: int) -> str:
    """The index that ``register_embedding_model`` makes."""
    return f"chunk_embeddings_hnsw_{model_id}"


@dataclass(frozen=True, slots=True)
class IndexHealth:
    """What a model's index takes, and would take if it were built anew.

    Attributes:
        index_bytes: On disk.
        vectors: That are in it.
        dimensions: Of each.
    """

    index_bytes: int
    vectors: int
    dimensions: int

    @property
    def fresh_bytes(self) -> int:
        """About what a fresh index of as many vectors takes."""
        element = -(-(_ELEMENT + 2 * self.dimensions) // 8) * 8 + _NEIGHBOURS
        in_page = max(_PAGE_ROOM // element, 1)
        return (-(-self.vectors // in_page) + 2) * _PAGE

    @property
    def is_worn(self) -> bool:
        """Whether so much of it is left of deleted passages that it is worthwhile to build it anew."""
        return self.index_bytes > max(_SLACK * self.fresh_bytes, SMALL)

    def has_worn_since(self, built: "IndexHealth") -> bool:
        """Whether it is so much larger than it was when it was built, each compared with what was expected of it.

        Not by what each vector takes: an index has pages of its own, and may have been built when there was no vector.
        """
        return self.index_bytes * built.fresh_bytes > _SLACK * built.index_bytes * self.fresh_bytes
