"""Questions to collections, and the passages that answer them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from undercroft.retrieval.chunking import LaterHeadings


class Leg(StrEnum):
    """One way to propose chunks."""

    LEXICAL = "lexical"
    """BM25 over words."""
    VECTOR = "vector"
    """Similarity of meaning."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A question to one or more collections.

    Attributes:
        text: In a person's words.
        limit: The most passages in the answer.
        legs: Which legs propose; all of them unless something is measured.
    """

    collection_ids: Sequence[UUID]
    text: str
    limit: int
    legs: frozenset[Leg] = frozenset(Leg)


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that the principal was authorised to read when it was read.

    Attributes:
        score: In (0, 1], made of ranks alone.
        similarity: Cosine similarity to the query, where the vector leg proposed it.
        start: Offset of its first character in the document's extracted text.
        end: Offset after its last character.
        headings: The titles above its beginning, outermost first.
        later_headings: Where in its text further sections begin, and the titles above those.
    """

    chunk_id: int
    document_id: UUID
    document_version: int
    filename: str
    attributes: Mapping[str, str | float | bool]
    text: str
    start: int
    end: int
    page_start: int | None
    page_end: int | None
    headings: tuple[str, ...]
    score: float
    similarity: float | None
    later_headings: LaterHeadings = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Passages, best first, and which legs could not be asked."""

    passages: Sequence[FoundPassage]
    degraded: frozenset[Leg]
