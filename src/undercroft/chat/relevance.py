"""How well each sentence of the passages answers a question, judged by its words. Pure.

A term of the question counts by its rarity among the passages' sentences. In the sentence itself it counts in full; in
what says what the sentence is about (document name, headings, title, table head) nearly so; in the sentences beside it
and elsewhere in the passage less. To that come signs that the sentence holds the kind of answer asked for, that the
terms stand in the question's order, and the passage's own rank. Titles and page headers say what a page is about and
answer nothing, so they count against.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from uuid import UUID

from undercroft.chat.answer_kinds import AnswerKind, answer_kind, holds_kind, names_kind
from undercroft.chat.providers.protocol import Passage
from undercroft.chat.reading import MAX_QUESTION_LENGTH, ReadPassage, ReadSentence, read_passages
from undercroft.chat.sentences import Span
from undercroft.chat.terms import DOCUMENT_WORDS, Token, tokens

_CONTEXT_SHARE: Final = 0.8
_BESIDE_SHARE: Final = 0.4
_PASSAGE_SHARE: Final = 0.2
_KIND_WORD_FACTOR: Final = 0.3
_PAIR_BONUS: Final = 0.06
_RANK_BONUS: Final = 0.3
_KIND_BONUS: Final = 0.2
_KIND_PENALTY: Final = 0.1
_TITLE_PENALTY: Final = 0.3
_ECHO_PENALTY: Final = 0.5
_PAGE_NUMBER: Final = re.compile(r"\bpage\s+\d+(?:\s+of\s+\d+)?|\d+\s*/\s*\d+\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WeighedQuestion:
    """A question as it is compared.

    Attributes:
        weights: Each content term and its weight; the weights sum to 1.
        anchors: The names and numbers among them, which an answer can hardly do without.
        pairs: Neighbouring content terms.
        kind: What the answer should contain.
    """

    weights: dict[str, float]
    anchors: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    kind: AnswerKind


@dataclass(frozen=True, slots=True)
class ScoredSentence:
    """A sentence of a passage and how well it answers.

    Attributes:
        passage: Where it stands.
        span: Its offsets in the passage's text.
        terms: Its content terms.
        coverage: The weight of the question's terms in it and, counted less, around it; 0 to 1.
        topic: The share of the question's weight, without names and numbers, in it and its context; 0 to 1.
        score: For ranking only.
    """

    passage: Passage
    span: Span
    terms: frozenset[str]
    coverage: float
    topic: float
    score: float

    @property
    def text(self) -> str:
        """The sentence as it is written in the passage."""
        return self.passage.text[self.span.start : self.span.end]


@dataclass(frozen=True, slots=True)
class Relevance:
    """A question held against the passages.

    Attributes:
        sentences: All sentences, best first.
        passage_coverage: The weight of the question's terms in the passage that has most of them; 0 to 1.
        anchors_found: The share of the question's anchors that occur in one passage; 1 without anchors.
    """

    sentences: tuple[ScoredSentence, ...]
    passage_coverage: float
    anchors_found: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    read: ReadPassage
    rank: int
    sentence: ReadSentence
    beside: frozenset[str]
    repeated: bool


def judge(question: str, passages: Sequence[Passage]) -> Relevance:
    """Scores every sentence of the passages, which come best first."""
    read = read_passages(passages)
    asked = _weigh(question[:MAX_QUESTION_LENGTH], read)
    headers = _page_headers(read)
    scored = [
        _score(asked, candidate)
        for rank, passage in enumerate(read)
        for candidate in _candidates(passage, rank, headers)
    ]
    anchors = max((len(asked.anchors & passage.terms) for passage in read), default=0)
    return Relevance(
        sentences=tuple(sorted(scored, key=_best_first)),
        passage_coverage=max((_weight(asked, passage.terms) for passage in read), default=0.0),
        anchors_found=anchors / len(asked.anchors) if asked.anchors else 1.0,
    )


def _candidates(
    read: ReadPassage, rank: int, headers: frozenset[tuple[UUID, str]]
) -> list[_Candidate]:
    nothing = frozenset[str]()
    terms = [nothing, *(sentence.terms for sentence in read.sentences), nothing]
    return [
        _Candidate(
            read=read,
            rank=rank,
            sentence=sentence,
            beside=terms[index] | terms[index + 2],
            repeated=(read.passage.document_id, _unnumbered(sentence.text)) in headers,
        )
        for index, sentence in enumerate(read.sentences)
    ]


def _page_headers(read: Sequence[ReadPassage]) -> frozenset[tuple[UUID, str]]:
    """Lines that a document repeats at several places, by document; overlapping passages repeat nothing."""
    places: dict[tuple[UUID, str], set[int]] = {}
    for passage in read:
        for sentence in passage.sentences:
            line = (passage.passage.document_id, _unnumbered(sentence.text))
            places.setdefault(line, set()).add(passage.passage.start + sentence.span.start)
    return frozenset(line for line, starts in places.items() if len(starts) > 1)


def _unnumbered(line: str) -> str:
    return _PAGE_NUMBER.sub("", line)


def _weigh(question: str, read: Sequence[ReadPassage]) -> WeighedQuestion:
    asked = [token for token in tokens(question) if token.content]
    about = [token for token in asked if token.word not in DOCUMENT_WORDS] or asked
    anchors = frozenset(token.term for token in about if _is_anchor(token))
    sentences = [sentence for passage in read for sentence in passage.sentences]
    frequency = Counter(term for sentence in sentences for term in sentence.terms)
    kind = answer_kind(question)
    raw = {
        token.term: math.log(1 + (len(sentences) + 1) / (frequency[token.term] + 1))
        * (_KIND_WORD_FACTOR if names_kind(kind, token.word) else 1.0)
        for token in about
    }
    whole = sum(raw.values()) or 1.0
    return WeighedQuestion(
        weights={term: weight / whole for term, weight in raw.items()},
        anchors=anchors,
        pairs=frozenset(pairwise(token.term for token in about)),
        kind=kind,
    )


def _is_anchor(token: Token) -> bool:
    """Names and numbers; the word that opens the question is capitalised anyway."""
    return token.number or (token.capital and token.start > 0)


def _score(asked: WeighedQuestion, candidate: _Candidate) -> ScoredSentence:
    sentence = candidate.sentence
    coverage = _coverage(asked, candidate)
    fits = holds_kind(asked.kind, sentence.text, _news(asked, sentence))
    order = [token.term for token in sentence.tokens if token.content]
    score = coverage + _RANK_BONUS / (candidate.rank + 2)
    score += _PAIR_BONUS * min(2, len(asked.pairs.intersection(pairwise(order))))
    if asked.kind is not AnswerKind.ANY:
        score += _KIND_BONUS if fits else -_KIND_PENALTY
    if sentence.title:
        score -= _TITLE_PENALTY
    if candidate.repeated or sentence.text.endswith("?") or sentence.terms <= asked.weights.keys():
        score -= _ECHO_PENALTY
    return ScoredSentence(
        passage=candidate.read.passage,
        span=sentence.span,
        terms=sentence.terms,
        coverage=coverage,
        topic=_topic(asked, sentence.terms | sentence.context),
        score=score,
    )


def _coverage(asked: WeighedQuestion, candidate: _Candidate) -> float:
    """The weight of the question's terms, each counted where it counts most."""
    sentence = candidate.sentence
    coverage = 0.0
    for term, weight in asked.weights.items():
        if term in sentence.terms:
            coverage += weight
        elif term in sentence.context:
            coverage += _CONTEXT_SHARE * weight
        elif term in candidate.beside:
            coverage += _BESIDE_SHARE * weight
        elif term in candidate.read.terms:
            coverage += _PASSAGE_SHARE * weight
    return coverage


def _topic(asked: WeighedQuestion, terms: frozenset[str]) -> float:
    topic = {term: weight for term, weight in asked.weights.items() if term not in asked.anchors}
    whole = sum(topic.values())
    return sum(topic[term] for term in topic.keys() & terms) / whole if whole else 1.0


def _weight(asked: WeighedQuestion, terms: frozenset[str]) -> float:
    return sum(weight for term, weight in asked.weights.items() if term in terms)


def _news(asked: WeighedQuestion, sentence: ReadSentence) -> list[Token]:
    """What a sentence says beyond the question."""
    return [token for token in sentence.tokens if token.content and token.term not in asked.weights]


def _best_first(sentence: ScoredSentence) -> tuple[float, int, int]:
    return (-sentence.score, sentence.passage.number, sentence.span.start)
