"""Words that occur nowhere, and the words that may have been meant.

What the caller may search proposes, and what counts is whether they find a passage with the word. One that stands only
in what they may not search is neither told nor used, takes no other's place, and a mistyped one is corrected whether it
stands there or not.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.retrieval.search.marking import PassageMarker
from undercroft.retrieval.search.models import FoundPassage, Proposals, SearchQuery
from undercroft.retrieval.search.reading import PassageReader
from undercroft.retrieval.search.repository import SearchRepository
from undercroft.retrieval.search.syntax import NO_DEMANDS
from undercroft.retrieval.segmentation import segment

_MOST_WORDS: Final = 4
"""Of a query that are corrected."""
_FEWEST_LETTERS: Final = 4
_MOST_LETTERS: Final = 40
_LONG: Final = 6
"""Letters from which on two mistakes may be in a word; in a shorter one, one."""
_TERMS: Final = 50
"""How many similar terms are proposed for a word. Those that are near are looked for until one is found, mostly the
first: all are of documents that the caller may search, though some perhaps of parts that are not shared."""
_READ_AT_ONCE: Final = 8
"""Passages with similar terms: there are seldom more that are near."""
_PROPOSALS: Final = 300
"""How many passages of parts that are not shared may be held back until a word counts as one that is not there: as many
as a search's own legs propose."""
_CANDIDATES: Final = 2_000
"""How many are ranked for that."""


class SpellingCorrector:
    """Corrects words of a query."""

    def __init__(self, reader: PassageReader) -> None:
        self._reader = reader
        self._marker = PassageMarker()
        self._repository = SearchRepository()

    async def correct(
        self, transaction: Transaction, query: SearchQuery, words: Sequence[str]
    ) -> dict[str, str]:
        """Those of the words that occur in no passage that the caller may search, and what occurs in one instead.

        Args:
            transaction: Under the caller's scope. Nothing that is read in it goes out but the words.
            query: What is asked and where.
            words: Those of it that are in no passage of its answer.
        """
        tried = [word for word in words if _may_be_mistyped(word)][:_MOST_WORDS]
        if not tried:
            return {}
        rows = await self._repository.list_similar_terms(transaction, query, tried, _TERMS)
        corrections: dict[str, str] = {}
        for place, word in enumerate(tried, start=1):
            similar = [row for row in rows if row["place"] == place]
            if not await self._is_there(transaction, query, word, similar):
                written = await self._find_written(transaction, query, word, similar)
                if written is not None:
                    corrections[word] = written
        return corrections

    async def _is_there(
        self, transaction: Transaction, query: SearchQuery, word: str, similar: Sequence[Record]
    ) -> bool:
        """Whether a word stands in something that the caller may search."""
        if any(row["is_known"] for row in similar):
            return True
        # Where only documents have it that are shared in parts, it may stand in a part that is not.
        is_in_parts = any(row["term"] == row["lexeme"] for row in similar)
        return is_in_parts and await self._find(transaction, query, word) is not None

    async def _find_written(
        self, transaction: Transaction, query: SearchQuery, word: str, similar: Sequence[Record]
    ) -> str | None:
        """A word, as it is written, whose stem is like a word's: of the passage with the stem that is most like it."""
        near = _nearest(word, similar)
        for start in range(0, len(near), _READ_AT_ONCE):
            chunks = dict(list(near.items())[start : start + _READ_AT_ONCE])
            terms = " ".join(chunks)
            read = await self._read(transaction, query, terms, list(dict.fromkeys(chunks.values())))
            # The passage of a term may be held back where another that has it is not.
            tried = [
                read.get(chunk_id) or await self._find(transaction, query, term)
                for term, chunk_id in chunks.items()
            ]
            passages = [passage for passage in tried if passage is not None]
            marks = await self._marker.mark(transaction, terms, (), passages)
            for passage, mark in zip(passages, marks, strict=True):
                written = {passage.text[first:last] for first, last in mark.spans}
                meant = [it for it in written if _is_near(word, it)]
                if meant:
                    return min(meant, key=lambda it: (distance(it.lower(), word.lower()), it))
        return None

    async def _read(
        self, transaction: Transaction, query: SearchQuery, text: str, chunk_ids: Sequence[int]
    ) -> dict[int, FoundPassage]:
        """Those of the passages that the caller may search: authorised as what a search releases."""
        asked = replace(query, text=text, limit=len(chunk_ids), demands=NO_DEMANDS)
        found = await self._reader.read(transaction, asked, Proposals(chunk_ids, {}))
        return {passage.chunk_id: passage for passage, _ in found}

    async def _find(
        self, transaction: Transaction, query: SearchQuery, word: str
    ) -> FoundPassage | None:
        """A passage with a word that the caller may search, however many are held back before it."""
        chunk_ids = await self._repository.search_lexical(
            transaction,
            query.collection_ids,
            word,
            candidate_limit=_CANDIDATES,
            limit=_PROPOSALS,
            document_ids=query.document_ids,
            is_everywhere=query.is_everywhere,
            path=query.path,
        )
        asked = replace(query, text=word, limit=1, demands=NO_DEMANDS)
        found = await self._reader.read(transaction, asked, Proposals(chunk_ids, {}))
        return found[0][0] if found else None


def _may_be_mistyped(word: str) -> bool:
    return (
        _FEWEST_LETTERS <= len(word) <= _MOST_LETTERS and word.isalpha() and segment(word) == word
    )


def _most_mistakes(word: str) -> int:
    return 2 if len(word) >= _LONG else 1


def _is_near(word: str, written: str) -> bool:
    return distance(written.lower(), word.lower()) <= _most_mistakes(word)


def _nearest(word: str, similar: Sequence[Record]) -> dict[str, int]:
    """The terms with few mistakes in them, fewest first, each with a passage; compared with the stem of the word."""
    most = _most_mistakes(word)
    mistakes: dict[str, int] = {}
    for row in similar:
        term = row["term"]
        # Most are as like it as trigrams tell, and have more other letters than it may have mistakes.
        alike = (
            it for it in (row["lexeme"], word.lower()) if count_other_letters(it, term) <= most
        )
        mistakes[term] = min((distance(it, term) for it in alike), default=most + 1)
    chunks = {row["term"]: row["chunk_id"] for row in similar}
    near = [term for term, count in mistakes.items() if 0 < count <= most]
    return {term: chunks[term] for term in sorted(near, key=lambda term: mistakes[term])}


def count_other_letters(one: str, other: str) -> int:
    """How many letters one of two words has beyond the other's: it has no fewer mistakes, and this is sooner known."""
    letters = list(other)
    for letter in one:
        if letter in letters:
            letters.remove(letter)
    return len(letters) + max(len(one) - len(other), 0)


def distance(one: str, other: str) -> int:
    """How many letters are missing, too many, different or exchanged with a neighbour (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, start=1):
        current = [row]
        for column, twin in enumerate(other, start=1):
            best = min(
                last[column] + 1, current[column - 1] + 1, last[column - 1] + (letter != twin)
            )
            is_exchanged = (
                row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == twin
            )
            current.append(min(best, before[column - 2] + 1) if is_exchanged else best)
        before, last = last, current
    return last[-1]
