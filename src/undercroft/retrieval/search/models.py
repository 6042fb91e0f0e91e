"""Questions to collections and documents, and the passages that answer them."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.retrieval.chunking import LaterHeadings
from undercroft.retrieval.filters import Filter, render_path
from undercroft.retrieval.ranking import reciprocal_rank_fusion, reorder
from undercroft.retrieval.search.describing import Facet, Sort
from undercroft.sharing.models import OWN, ModelUse, Way


class Leg(StrEnum):
    """One way to propose chunks."""

    LEXICAL = "lexical"
    """BM25 over words."""
    VECTOR = "vector"
    """Similarity of meaning."""


RERANKER: Final = "reranker"
"""What a search can do without, besides one of its legs."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A question to collections and single documents.

    Attributes:
        text: In a person's words.
        limit: The most passages in the answer.
        legs: Which legs propose; all of them unless something is measured.
        model_use: What a model is going to do with the passages; nothing where only a person sees them. What may not be
            used so is not found, and what is found counts as one use of the grants that it rests on.
        document_ids: Documents that are searched whether they are in one of the collections or not.
        is_everywhere: Whether all is searched that the principal may search, whatever else is named.
        filter: What a document has to be, where it is found, for its passages to be an answer.
        facets: By which of what is known of documents they are counted.
        sort: Another order than by relevance, of what is proposed.
    """

    collection_ids: Sequence[UUID]
    text: str
    limit: int
    legs: frozenset[Leg] = frozenset(Leg)
    model_use: frozenset[ModelUse] = frozenset()
    document_ids: Sequence[UUID] = ()
    is_everywhere: bool = False
    filter: Filter | None = None
    facets: Sequence[str] = ()
    sort: Sort | None = None

    @property
    def path(self) -> str | None:
        """The filter as the database takes it."""
        return None if self.filter is None else render_path(self.filter)

    @property
    def is_described(self) -> bool:
        """Whether something has to be known of all documents that are proposed."""
        return bool(self.facets) or self.sort is not None


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
        way: What it was released under; no grants for what is the principal's own, or put into their own vector store.
        is_own: Whether the document is the principal's own.
        hidden: How many characters of its chunk stand before it: titles above what is shared.
        entry_ids: Of the ledger's entries of that.
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
    way: Way = OWN
    is_own: bool = True
    hidden: int = 0
    entry_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposals:
    """What the legs propose: ids alone, which say nothing of who may see what.

    Attributes:
        lexical: Best first.
        similarities: Nearest first, with the cosine similarity to the query; None when the leg could not be asked.
        is_whole: Whether the leg asked the space of each model that what is searched is in.
        reranked: What a reranker was shown, best first: these change places with each other.
    """

    lexical: Sequence[int]
    similarities: Mapping[int, float] | None
    is_whole: bool = True
    reranked: Sequence[int] = ()

    @property
    def chunk_ids(self) -> list[int]:
        """Each once."""
        return list(dict.fromkeys((*self.lexical, *(self.similarities or ()))))

    def reach(self, count: int) -> bool:
        """Whether a leg proposes as many, and so perhaps not all that it could."""
        return count in (len(self.lexical), len(self.similarities or ()))

    def rank(self, hidden: Set[int]) -> dict[int, float]:
        """Those that are not hidden with their fused scores, best first, as if the hidden were not there."""
        rankings = [
            [chunk_id for chunk_id in leg if chunk_id not in hidden]
            for leg in (self.lexical, self.similarities or ())
        ]
        fused = dict(reciprocal_rank_fusion([ranking for ranking in rankings if ranking]))
        return reorder(fused, self.reranked)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Passages, best first, and what could not be asked: a leg, or the reranker.

    Attributes:
        facets: Of the documents of all passages that were proposed.
    """

    passages: Sequence[FoundPassage]
    degraded: frozenset[str]
    facets: Sequence[Facet] = ()
