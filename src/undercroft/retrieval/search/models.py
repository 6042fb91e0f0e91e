"""Questions to collections and documents, and the passages that answer them."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Final
from uuid import UUID

from undercroft.retrieval.filters import Filter, render_path
from undercroft.retrieval.passages import LaterHeadings
from undercroft.retrieval.ranking import reciprocal_rank_fusion, reorder
from undercroft.retrieval.search.describing import Facet, Sort
from undercroft.retrieval.search.highlights import Span
from undercroft.retrieval.search.ladder import NO_DIAGNOSTICS, Diagnostics
from undercroft.retrieval.search.syntax import NO_DEMANDS, Demands
from undercroft.retrieval.titles import words_in_parts
from undercroft.sharing.models import OWN, ModelUse, Way


class Leg(StrEnum):
    """One way to propose chunks."""

    LEXICAL = "lexical"
    """BM25 over words."""
    VECTOR = "vector"
    """Similarity of meaning."""


RERANKER: Final = "reranker"
"""What a search can do without, besides one of its legs."""
EXACT: Final = "exact"
"""What a search that was asked to compare everything goes without when that takes too long."""


class Quality(StrEnum):
    """How much is looked at before the best is told: the caller's choice between what is found and how soon."""

    FAST = "fast"
    """A smaller part of the index, and of what has the words."""
    BALANCED = "balanced"
    """What finds nearly all that there is to find."""
    EXACT = "exact"
    """All that the caller may search, within a deadline; after it balanced, and marked as degraded."""


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
        is_typed: Whether the text was typed into a search field, so that quotation marks, minus and star are meant as
            such; in a question in natural language they are a part of it.
        is_highlighted: Whether its passages say where the words stand, of a text that was typed: some milliseconds.
        demands: What the text demands. The search reads that from it.
        filter: What a document has to be, where it is found, for its passages to be an answer.
        facets: By which of what is known of documents they are counted.
        sort: Another order than by relevance, of what is proposed.
        quality: How much is looked at.
    """

    collection_ids: Sequence[UUID]
    text: str
    limit: int
    legs: frozenset[Leg] = frozenset(Leg)
    model_use: frozenset[ModelUse] = frozenset()
    document_ids: Sequence[UUID] = ()
    is_everywhere: bool = False
    is_typed: bool = False
    is_highlighted: bool = False
    demands: Demands = NO_DEMANDS
    filter: Filter | None = None
    facets: Sequence[str] = ()
    sort: Sort | None = None
    quality: Quality = Quality.BALANCED

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
        highlights: Where in the document's extracted text the words stand that were asked for.
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
    highlights: tuple[Span, ...] = ()

    @property
    def words_in_parts(self) -> str | None:
        """What it has of words for whoever is shown a part of its document; None for who may see all of that."""
        return words_in_parts(self.way, self.text, self.headings)


@dataclass(frozen=True, slots=True)
class Proposals:
    """What the legs propose: ids alone, which say nothing of who may see what.

    Attributes:
        lexical: Best first.
        similarities: Nearest first, with the cosine similarity to the query; None when the leg could not be asked.
        reranked: What a reranker was shown, best first: these change places with each other.
    """

    lexical: Sequence[int]
    similarities: Mapping[int, float] | None
    reranked: Sequence[int] = ()

    @property
    def chunk_ids(self) -> list[int]:
        """Each once."""
        return list(dict.fromkeys((*self.lexical, *(self.similarities or ()))))

    @property
    def lengths(self) -> tuple[int, int]:
        """How many each leg proposes."""
        return len(self.lexical), len(self.similarities or ())

    def reach(self, count: int) -> bool:
        """Whether a leg proposes as many, and so perhaps not all that it could."""
        return count in self.lengths

    def gives_way(self, shared: "Proposals", asked: int, wanted: int) -> bool:
        """Whether a leg that proposes all that was asked for is left with fewer than are wanted, of what is shared."""
        pairs = zip(self.lengths, shared.lengths, strict=True)
        return any(count == asked and left < min(count, wanted) for count, left in pairs)

    def first(self, count: int) -> "Proposals":
        """The best of each leg."""
        near = self.similarities
        if near is not None:
            near = dict(islice(near.items(), count))
        return replace(self, lexical=self.lexical[:count], similarities=near)

    def without(
        self, hidden: Set[int] = frozenset(), *, wordless: Set[int] = frozenset()
    ) -> "Proposals":
        """What the legs would propose if the hidden were not there.

        Args:
            hidden: What is not shown, or not what is demanded.
            wordless: What has no word of the question in what is shown of it: not there for the lexical leg.
        """
        near = None
        if self.similarities is not None:
            near = {one: found for one, found in self.similarities.items() if one not in hidden}
        lexical = [one for one in self.lexical if one not in hidden and one not in wordless]
        return replace(self, lexical=lexical, similarities=near)

    def rank(self, preferred: Set[int] = frozenset()) -> dict[int, float]:
        """All with their fused scores, best first; what is preferred comes before all others."""
        rankings = [self.lexical, list(self.similarities or ())]
        fused = dict(reciprocal_rank_fusion([ranking for ranking in rankings if ranking]))
        ranked = reorder(fused, self.reranked)
        order = sorted(ranked, key=lambda chunk_id: chunk_id not in preferred)
        return reorder(ranked, order)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Passages, best first.

    Attributes:
        degraded: What could not be asked: a leg, or the reranker.
        diagnostics: How the query was understood and answered, for one that was typed.
        facets: Of the documents of all passages that were proposed.
    """

    passages: Sequence[FoundPassage]
    degraded: frozenset[str]
    diagnostics: Diagnostics = NO_DIAGNOSTICS
    facets: Sequence[Facet] = ()
