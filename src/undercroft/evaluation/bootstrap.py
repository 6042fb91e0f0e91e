"""How sure a mean is: intervals by resampling the questions (Efron and Tibshirani; Sakai, SIGIR 2006). Pure, seeded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

RESAMPLES: Final = 10_000
SEED: Final = 20_261_130
_TAIL: Final = 2.5
"""Percent left out at each end: the interval holds 95 %."""
_BATCH: Final = 500
"""Resamples drawn at once: ten thousand of a million questions do not fit in memory."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and the bounds that hold it in 95 % of resamples."""

    mean: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether zero is outside: a difference is then more than the choice of questions explains."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float], seed: int = SEED) -> Interval:
    """The mean of one value for each question.

    Raises:
        ValueError: When there are no values.
    """
    if not values:
        raise ValueError("a mean of nothing")
    numbers = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means: list[npt.NDArray[np.float64]] = []
    for start in range(0, RESAMPLES, _BATCH):
        count = min(_BATCH, RESAMPLES - start)
        chosen = generator.integers(0, len(numbers), (count, len(numbers)))
        means.append(numbers[chosen].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), [_TAIL, 100 - _TAIL])
    return Interval(float(numbers.mean()), float(low), float(high))


def paired_difference(
    first: Mapping[str, float], second: Mapping[str, float], seed: int = SEED
) -> Interval:
    """By how much the first exceeds the second, question by question: only those that both were asked count.

    Raises:
        ValueError: When they have no question in common.
    """
    shared = [name for name in first if name in second]
    return mean_interval([first[name] - second[name] for name in shared], seed)
