"""What a search falls back on, step by step, and what its reply tells of that."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from undercroft.retrieval.search.syntax import NO_DEMANDS, Demands


class Step(StrEnum):
    """How far a search had to go down. The last step of a search is the one that answered."""

    NO_WORDS = "no_words"
    """Neither a letter nor a digit is asked for, so what is found answers nothing."""
    PHRASES = "phrases"
    """Passages with each phrase and prefix."""
    PHRASES_AS_WORDS = "phrases_as_words"
    """No passage has each of them; they count as the words that they are made of."""
    ALL_WORDS = "all_words"
    """A passage has every word."""
    MOST_WORDS = "most_words"
    """None has: the best has three words of four."""
    ANY_WORD = "any_word"
    """None has as many; the best has some."""
    CORRECTED_WORDS = "corrected_words"
    """Words that occur nowhere were taken for others that do."""
    MEANING_ALONE = "meaning_alone"
    """No passage has any of the words: what is similar in meaning."""
    NOTHING = "nothing"
    """Nothing was found."""


_WORDS: Final = (
    Step.ALL_WORDS,
    Step.MOST_WORDS,
    Step.ANY_WORD,
    Step.MEANING_ALONE,
    Step.NOTHING,
)
FEW_WORDS: Final = frozenset({Step.ANY_WORD, Step.MEANING_ALONE, Step.NOTHING})
"""Where it may help to correct words that are not found."""
_MOST: Final = 0.75


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """How a query was understood and answered: nothing but what its words and its answer tell.

    Attributes:
        demands: What was read from the query.
        steps: Those that were taken, the one that answered last.
        corrections: For which word another was looked for, and which: one of a passage in the answer.
    """

    demands: Demands = NO_DEMANDS
    steps: tuple[Step, ...] = ()
    corrections: Mapping[str, str] = field(default_factory=dict[str, str])


NO_DIAGNOSTICS: Final = Diagnostics()


def reach(asked: Sequence[Set[int]], found: Sequence[Set[int]]) -> Step:
    """How many of the words that were asked for the passages have.

    Args:
        asked: Which words mean something in the language of each passage.
        found: Which of these it has.
    """
    if not asked:
        return Step.NOTHING
    best = max(
        (len(has) / len(words) for words, has in zip(asked, found, strict=True) if words),
        default=0,
    )
    if best == 1:
        return Step.ALL_WORDS
    if best >= _MOST:
        return Step.MOST_WORDS
    return Step.ANY_WORD if best else Step.MEANING_ALONE


def down_to(step: Step) -> tuple[Step, ...]:
    """The steps over words that were taken until that one answered."""
    return _WORDS[: _WORDS.index(step) + 1]
