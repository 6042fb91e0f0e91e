"""Measures of a ranking against graded judgements, as trec_eval defines them; and percentiles of durations."""

import math
from collections.abc import Iterable, Mapping, Sequence


def ndcg(ranking: Sequence[str], grades: Mapping[str, int], cutoff: int) -> float:
    """Normalised discounted cumulative gain (Jarvelin and Kekalainen, TOIS 2002), as trec_eval's ``ndcg_cut``.

    A document's gain is its grade; at rank ``r`` it is divided by ``log2(r + 1)``.

    Args:
        ranking: Document ids, best first, each once.
        grades: Of the judged documents; a missing one, or one of 0 or less, is not relevant.
        cutoff: How many ranks count.

    Returns:
        In [0, 1]: 1 for the best possible order, 0 when nothing is relevant.
    """
    best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
    ideal = _discounted(best[:cutoff])
    gains = (max(grades.get(document, 0), 0) for document in ranking[:cutoff])
    return _discounted(gains) / ideal if ideal > 0 else 0.0


def recall(ranking: Sequence[str], grades: Mapping[str, int], cutoff: int) -> float:
    """Which share of the relevant documents is among the first ``cutoff``; 0 when nothing is relevant."""
    relevant = {document for document, grade in grades.items() if grade > 0}
    return len(relevant.intersection(ranking[:cutoff])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], grades: Mapping[str, int], cutoff: int) -> float:
    """One by the rank of the first relevant document among the first ``cutoff``; 0 where there is none."""
    ranks = enumerate(ranking[:cutoff], start=1)
    return next((1 / rank for rank, document in ranks if grades.get(document, 0) > 0), 0.0)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank).

    Args:
        values: At least one.
        share: In (0, 1].

    Raises:
        ValueError: When there are no values.
    """
    if not values:
        raise ValueError("a percentile of nothing")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _discounted(gains: Iterable[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
