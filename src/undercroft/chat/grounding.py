"""Whether the documents answer a question at all, decided before any model is asked. Pure.

A small model asked about something that its passages do not hold will invent it, so the refusal is the service's. The
decision weighs how far the best sentence stands out, how much of the question it and the best passage cover, whether
the question's names and numbers occur, and, where the vector leg proposed its passage, how close in meaning that is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from undercroft.chat.providers.protocol import Passage
from undercroft.chat.relevance import Relevance, ScoredSentence, judge
from undercroft.chat.terms import DOCUMENT_WORDS, tokens

REFUSAL: Final = "I could not find this in your documents."
"""The whole answer when the documents do not hold it. It names nothing, so it reveals nothing."""

MAX_QUOTES: Final = 3

_DISTINCTION_WEIGHT: Final = 6.0
_TOPIC_WEIGHT: Final = 0.5
_PASSAGE_WEIGHT: Final = 2.95
_SIMILARITY_WEIGHT: Final = 5.75
_ANCHORS_WEIGHT: Final = 1.65
_BIAS: Final = -7.6
_NEUTRAL_SIMILARITY: Final = 0.49
_THRESHOLD: Final = 0.44
_RIVALS: Final = 8
_WORTH_QUOTING: Final = 0.6
_REPETITION: Final = 0.8


@dataclass(frozen=True, slots=True)
class Grounding:
    """The decision, and what it rests on.

    Attributes:
        answerable: Whether the documents seem to hold the answer.
        confidence: The estimated probability of that, 0 to 1.
        quotes: The one to three sentences that answer best, best first; none when not answerable.
    """

    answerable: bool
    confidence: float
    quotes: tuple[ScoredSentence, ...]


def ground(question: str, passages: Sequence[Passage]) -> Grounding:
    """Decides whether the passages, which come best first, answer the question."""
    relevance = judge(question, passages)
    if not relevance.sentences:
        return Grounding(answerable=False, confidence=0.0, quotes=())
    confidence = 1.0 if _asks_about_everything(question) else _confidence(relevance)
    answerable = confidence >= _THRESHOLD
    return Grounding(answerable, confidence, _quotes(relevance) if answerable else ())


def _asks_about_everything(question: str) -> bool:
    """Whether it speaks of the documents as a whole (``Summarise this document``), which any passage answers."""
    content = [token.word for token in tokens(question) if token.content]
    return bool(content) and DOCUMENT_WORDS.issuperset(content)


def _confidence(relevance: Relevance) -> float:
    """A logistic model; its weights were fitted on questions with and without the passage that answers them."""
    best = relevance.sentences[0]
    similarity = best.passage.similarity
    evidence = (
        _DISTINCTION_WEIGHT * _distinction(relevance)
        + _TOPIC_WEIGHT * min(best.coverage, best.topic)
        + _PASSAGE_WEIGHT * relevance.passage_coverage
        + _SIMILARITY_WEIGHT * (_NEUTRAL_SIMILARITY if similarity is None else similarity)
        + _ANCHORS_WEIGHT * relevance.anchors_found
        + _BIAS
    )
    return 1 / (1 + math.exp(-evidence))


def _distinction(relevance: Relevance) -> float:
    """How far the best sentence stands out from its rivals: where many fit alike, none is likely to answer."""
    best = relevance.sentences[0]
    rivals = [it.score for it in relevance.sentences[1:] if not _repeats(it, best)][:_RIVALS]
    return best.score - (sum(rivals) / len(rivals) if rivals else 0.0)


def _quotes(relevance: Relevance) -> tuple[ScoredSentence, ...]:
    best = relevance.sentences[0]
    chosen: list[ScoredSentence] = []
    for sentence in relevance.sentences:
        if len(chosen) == MAX_QUOTES or (chosen and sentence.score < _WORTH_QUOTING * best.score):
            break
        if not any(_repeats(sentence, other) for other in chosen):
            chosen.append(sentence)
    return tuple(chosen)


def _repeats(sentence: ScoredSentence, other: ScoredSentence) -> bool:
    """Whether two sentences say the same, as those of overlapping passages do."""
    union = sentence.terms | other.terms
    return len(sentence.terms & other.terms) >= _REPETITION * len(union)
