"""Fusing ranked lists."""

from collections.abc import Hashable, Mapping, Sequence
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


def reorder(scored: Mapping[_Item, float], order: Sequence[_Item]) -> dict[_Item, float]:
    """Put some of the items in another order, among the places that they have together; the others keep theirs.

    Args:
        scored: Every item once, best first.
        order: Some of them, and perhaps others, which are left out; without duplicates.

    Returns:
        The items, best first. A score stays with its place: it is made of ranks, and says nothing of why.
    """
    moved = [item for item in order if item in scored]
    places, following = set(moved), iter(moved)
    items = [next(following) if item in places else item for item in scored]
    return dict(zip(items, scored.values(), strict=True))
