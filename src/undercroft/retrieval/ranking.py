"""Fusing ranked lists."""

from collections.abc import Hashable, Sequence
from typing import Final, TypeVar

_Item = TypeVar("_Item", bound=Hashable)

RRF_K: Final = 60


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[_Item]], k: int = RRF_K
) -> list[tuple[_Item, float]]:
    """Fuse rankings by the sum of ``1 / (k + rank)`` (Cormack, Clarke and Buettcher, SIGIR 2009).

    Args:
        rankings: Each best first, without duplicates.
        k: Dampens the lead of the first ranks.

    Returns:
        Every item once, best first, with its score divided by the best possible one: in (0, 1], and made of ranks
        alone, so that it says nothing about the rest of the collection. Ties keep the order of first appearance.
    """
    scores: dict[_Item, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (k + rank)
    best = len(rankings) / (k + 1)
    return sorted(
        ((item, score / best) for item, score in scores.items()),
        key=lambda scored: -scored[1],
    )
