# ruff: noqa: SIM905 -- a word list reads best as prose
"""Finds the words of a passage that support a claim of an answer. Pure.

A claim is supported by a verbatim quote, or by up to three neighbouring sentences of *one* passage that hold all of
its numbers, all of its names that the question did not bring and most of its other words, and that deny what it
denies. Two passages are never added up to support one claim: a name from here and an amount from there is how a model
invents. The headings above a passage and its document's name may supply names, but not the bulk of the words.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from undercroft.chat.providers.protocol import Passage
from undercroft.chat.reading import (
    MAX_QUESTION_LENGTH,
    ReadPassage,
    ReadSentence,
    read_passages,
)
from undercroft.chat.terms import Token, content_terms, tokens

_LONGEST_RUN: Final = 3
_VERBATIM_TERMS: Final = 3
_NEEDED: Final = 0.6
_NEEDED_OF_RESTATEMENT: Final = 0.8
_NEEDED_OF_QUESTION: Final = 0.3
_QUESTION_SHARE: Final = 0.3
_NUMBER_FACTOR: Final = 2.0
_HINT_BONUS: Final = 0.1
_QUESTION_BONUS: Final = 0.5
_LENGTH_COST: Final = 0.1
_NEGATIONS: Final = frozenset("no not never none cannot neither nor".split())
_SEPARATOR: Final = "\x1f"


class Quote(NamedTuple):
    """Where support was found: ``passage.text[start:end]``."""

    passage: Passage
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Searchable:
    """A passage, its words joined for verbatim search, and which of its sentences deny something."""

    read: ReadPassage
    haystack: str
    denies: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _Claim:
    """What has to be found.

    Attributes:
        weights: Each content term and its weight.
        fresh: The terms that the question did not bring.
        required: Terms that must all be found: numbers, and names that are fresh.
        negated: Whether it denies something.
    """

    weights: dict[str, float]
    fresh: frozenset[str]
    required: frozenset[str]
    negated: bool


class SupportIndex:
    """The passages of one answer, indexed by sentence.

    Args:
        question: What was asked.
        passages: What the model saw, best first.
    """

    def __init__(self, question: str, passages: Sequence[Passage]) -> None:
        self._question = frozenset(content_terms(question[:MAX_QUESTION_LENGTH]))
        self._passages = [
            _Searchable(
                read,
                _joined(read.tokens),
                tuple(_denies(sentence.tokens) for sentence in read.sentences),
            )
            for read in read_passages(passages)
        ]
        sentences = [it for searchable in self._passages for it in searchable.read.sentences]
        self._frequency = Counter(term for sentence in sentences for term in sentence.terms)
        self._total = len(sentences)

    def find(self, claim: str, hints: frozenset[int] = frozenset()) -> Quote | None:
        """The best support for a claim, or None.

        Args:
            claim: A sentence of the answer, or a part of one.
            hints: The numbers of passages that its author named; they only break ties.
        """
        words = tokens(claim)
        return self._verbatim(words, hints) or self._paraphrased(words, hints)

    def _verbatim(self, words: Sequence[Token], hints: frozenset[int]) -> Quote | None:
        if sum(token.content for token in words) < _VERBATIM_TERMS:
            return None
        needle = _joined(words)
        for searchable in sorted(
            self._passages, key=lambda it: it.read.passage.number not in hints
        ):
            position = searchable.haystack.find(needle)
            if position < 0:
                continue
            first = searchable.haystack.count(_SEPARATOR, 0, position)
            found = searchable.read.tokens[first : first + len(words)]
            if not _denied(searchable.read, found[0].start):
                passage = searchable.read.passage
                span = _with_punctuation(passage.text, found[0].start, found[-1].end)
                return Quote(passage, *span)
        return None

    def _paraphrased(self, words: Sequence[Token], hints: frozenset[int]) -> Quote | None:
        claim = self._claim(words)
        best: tuple[float, Quote] | None = None
        for searchable in self._passages:
            passage = searchable.read.passage
            bonus = _HINT_BONUS if passage.number in hints else 0.0
            for first, last in _runs(searchable.read.sentences, frozenset(claim.weights)):
                score = self._support(claim, searchable, first, last)
                if score is not None and (best is None or score + bonus > best[0]):
                    sentences = searchable.read.sentences
                    quote = Quote(passage, sentences[first].span.start, sentences[last].span.end)
                    best = (score + bonus, quote)
        return None if best is None else best[1]

    def _claim(self, words: Sequence[Token]) -> _Claim:
        content = [token for token in words if token.content and not _negates(token)]
        fresh = frozenset(token.term for token in content) - self._question
        numbers = {token.term for token in content if token.number}
        names = {token.term for token in content if token.capital and token.start > words[0].start}
        return _Claim(
            weights={token.term: self._weight(token, fresh) for token in content},
            fresh=fresh,
            required=frozenset(numbers | names & fresh),
            negated=_denies(words),
        )

    def _weight(self, token: Token, fresh: frozenset[str]) -> float:
        rarity = math.log(1 + (self._total + 1) / (self._frequency[token.term] + 1))
        rarity *= _NUMBER_FACTOR if token.number else 1.0
        return rarity if token.term in fresh else rarity * _QUESTION_SHARE

    def _support(
        self, claim: _Claim, searchable: _Searchable, first: int, last: int
    ) -> float | None:
        """How well the sentences from ``first`` to ``last`` support a claim; None when they do not."""
        if claim.negated != any(searchable.denies[first : last + 1]):
            return None
        run = searchable.read.sentences[first : last + 1]
        quoted = frozenset[str]().union(*(sentence.terms for sentence in run))
        around = frozenset[str]().union(*(sentence.context for sentence in run))
        if not claim.required <= quoted | around:
            return None
        judged = claim.fresh or frozenset(claim.weights)
        if _share(claim, judged, quoted) < (_NEEDED if claim.fresh else _NEEDED_OF_RESTATEMENT):
            return None
        asked = len(self._question & (quoted | around)) / (len(self._question) or 1)
        if len(claim.weights) == 1 and asked < _NEEDED_OF_QUESTION:
            return None
        held = _share(claim, frozenset(claim.weights), quoted)
        return held + _QUESTION_BONUS * asked - _LENGTH_COST * (last - first)


def _runs(sentences: Sequence[ReadSentence], wanted: frozenset[str]) -> Iterator[tuple[int, int]]:
    """First and last index of the runs of up to three sentences that begin and end with a wanted term.

    A title does not count: it says what follows is about, not what is so.
    """
    promising = [
        not sentence.title and not wanted.isdisjoint(sentence.terms) for sentence in sentences
    ]
    for first, begins in enumerate(promising):
        if begins:
            for last in range(first, min(first + _LONGEST_RUN, len(sentences))):
                if promising[last]:
                    yield first, last


def _share(claim: _Claim, terms: frozenset[str], found: frozenset[str]) -> float:
    whole = sum(claim.weights[term] for term in terms)
    return sum(claim.weights[term] for term in terms & found) / whole if whole else 0.0


def _joined(words: Sequence[Token]) -> str:
    return "".join(f"{_SEPARATOR}{token.word}" for token in words) + _SEPARATOR


def _negates(token: Token) -> bool:
    return token.word in _NEGATIONS or token.word.endswith("n't")


def _denies(words: Sequence[Token]) -> bool:
    return any(_negates(token) for token in words)


def _denied(read: ReadPassage, position: int) -> bool:
    """Whether words that begin at ``position`` follow a ``not`` in their sentence, which they would leave behind."""
    return any(
        _denies([token for token in sentence.tokens if token.start < position])
        for sentence in read.sentences
        if sentence.span.start < position < sentence.span.end
    )


def _with_punctuation(text: str, start: int, end: int) -> tuple[int, int]:
    """Widens a span over the signs that touch it: a currency sign before, a full stop after."""
    while start > 0 and _is_sign(text[start - 1]):
        start -= 1
    while end < len(text) and _is_sign(text[end]):
        end += 1
    return start, end


def _is_sign(character: str) -> bool:
    return not character.isspace() and not character.isalnum()
