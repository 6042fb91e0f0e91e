"""Whether an answer is good enough, and else what is looked for next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from re import escape, sub
from typing import Final, TypeAlias

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.retrieval.search.ladder import FEW_WORDS, Diagnostics, Step, down_to, reach
from undercroft.retrieval.search.marking import Marks, PassageMarker, words_of
from undercroft.retrieval.search.models import FoundPassage, SearchQuery
from undercroft.retrieval.search.reading import PassageReader
from undercroft.retrieval.search.spelling import SpellingCorrector

_Found: TypeAlias = Sequence[tuple[FoundPassage, Record]]
_NO_WORDS: Final = frozenset[int]()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A query as it is asked now, and what was tried before."""

    query: SearchQuery
    diagnostics: Diagnostics


class Fallback:
    """Goes down the ladder. It decides in the transaction that reads, before a word is told."""

    def __init__(self, reader: PassageReader) -> None:
        self._marker = PassageMarker()
        self._spelling = SpellingCorrector(reader)

    async def explain(
        self, transaction: Transaction, attempt: Attempt, found: _Found
    ) -> tuple[Attempt | None, Diagnostics, _Found]:
        """What to try next, if that can find more; else how the query was answered, and the passages with highlights.

        Args:
            transaction: In which the passages were read.
            attempt: What was asked.
            found: What is to be released.
        """
        query, diagnostics = attempt.query, attempt.diagnostics
        if not found and query.demands.is_strict:
            return _without_demands(attempt), diagnostics, found
        passages = [passage for passage, _ in found]
        marks = await self._marker.mark(
            transaction,
            query.text,
            query.demands.prefixes,
            passages,
            with_spans=query.is_highlighted,
        )
        step = reach([it.asked for it in marks], [it.found for it in marks])
        if step in FEW_WORDS and Step.CORRECTED_WORDS not in diagnostics.steps:
            missing = _missing(words_of(query.text), marks)
            corrections = await self._spelling.correct(transaction, query, missing)
            if corrections:
                return _corrected(attempt, step, corrections), diagnostics, found
        steps = diagnostics.steps
        if Step.NO_WORDS in steps:
            steps += (step,)
        elif Step.CORRECTED_WORDS not in steps or step in (Step.MEANING_ALONE, Step.NOTHING):
            steps += down_to(step)
        answered = replace(
            diagnostics, steps=steps, corrections=_shown(diagnostics.corrections, query, marks)
        )
        highlighted = [
            (replace(passage, highlights=mark.highlights(passage)) if mark.spans else passage, row)
            for (passage, row), mark in zip(found, marks, strict=True)
        ]
        return None, answered, highlighted


def _without_demands(attempt: Attempt) -> Attempt:
    """Its phrases and prefixes as mere words. What is excluded stays so."""
    demands = replace(attempt.query.demands, phrases=(), prefixes=())
    steps = (*attempt.diagnostics.steps, Step.PHRASES_AS_WORDS)
    return Attempt(
        replace(attempt.query, demands=demands), replace(attempt.diagnostics, steps=steps)
    )


def _corrected(attempt: Attempt, step: Step, corrections: Mapping[str, str]) -> Attempt:
    text = attempt.query.text
    for word, written in corrections.items():
        text = sub(rf"(?<!\w){escape(word)}(?!\w)", written, text)
    steps = tuple(it for it in down_to(step) if it is not Step.NOTHING)
    tried = (*attempt.diagnostics.steps, *steps, Step.CORRECTED_WORDS)
    return Attempt(
        replace(attempt.query, text=text),
        replace(attempt.diagnostics, steps=tried, corrections=corrections),
    )


def _missing(words: Sequence[str], marks: Sequence[Marks]) -> list[str]:
    """The words that mean something in a language of the answer, and are in no passage of it."""
    found = _NO_WORDS.union(*(it.found for it in marks))
    asked = _NO_WORDS.union(*(it.asked for it in marks)) if marks else {*range(1, len(words) + 1)}
    return [
        word for place, word in enumerate(words, start=1) if place in asked and place not in found
    ]


def _shown(
    corrections: Mapping[str, str], query: SearchQuery, marks: Sequence[Marks]
) -> dict[str, str]:
    """The corrections of which a passage in the answer has the word: no other is told."""
    if not corrections:
        return {}
    found = _NO_WORDS.union(*(it.found for it in marks))
    words = words_of(query.text)
    shown = {words[place - 1] for place in found}
    return {word: written for word, written in corrections.items() if written in shown}
