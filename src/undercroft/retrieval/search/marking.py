"""Which words of a query the passages of an answer have, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from undercroft.kit.database import Transaction
from undercroft.retrieval.search.highlights import (
    Span,
    find_beginnings,
    find_unspaced,
    join_spans,
    markable,
    read_marks,
)
from undercroft.retrieval.search.models import FoundPassage
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.search.syntax import EDGES
from undercroft.retrieval.segmentation import segment

_MOST_WORDS: Final = 64
"""Of a query that are counted, and marked."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What of a query stands in a passage.

    Attributes:
        asked: The places of the query's words that mean something in the passage's language.
        found: The places of those which it has, in its text or its titles, as far as the caller is shown these.
        spans: Where in its text they stand, each by itself.
    """

    asked: frozenset[int]
    found: frozenset[int]
    spans: Sequence[Span]

    def highlights(self, passage: FoundPassage) -> tuple[Span, ...]:
        """Where they stand in the document's extracted text."""
        return tuple(
            (passage.start + start, passage.start + end)
            for start, end in join_spans(passage.text, self.spans)
        )


def words_of(text: str) -> list[str]:
    """The words of a query, each once; pairs of characters where no spaces are written."""
    words = (word.strip(EDGES) for word in segment(text).split())
    return list(dict.fromkeys(word for word in words if word))[:_MOST_WORDS]


class PassageMarker:
    """Asks the database, whose dictionaries know what is the same word."""

    def __init__(self) -> None:
        self._repository = SearchRepository()

    async def mark(
        self,
        transaction: Transaction,
        text: str,
        prefixes: Sequence[str],
        passages: Sequence[FoundPassage],
        *,
        with_spans: bool = True,
    ) -> list[Marks]:
        """What of a query stands in passages, in their order; and where, which takes some milliseconds."""
        rows = await self._repository.mark_passages(
            transaction,
            passages,
            [markable(passage.text) if with_spans else None for passage in passages],
            words_of(text),
        )
        marked = {row["chunk_id"]: row for row in rows}
        marks: list[Marks] = []
        for passage in passages:
            row = marked[passage.chunk_id]
            spans: list[Span] = []
            if row["marked"] is not None:
                spans += read_marks(passage.text, row["marked"])
            if with_spans:
                spans += find_unspaced(passage.text, text)
                for prefix in prefixes:
                    spans += find_beginnings(passage.text, prefix)
            marks.append(Marks(frozenset(row["asked"]), frozenset(row["found"]), spans))
        return marks
