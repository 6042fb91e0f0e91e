"""How much of a list goes into one page: opening and writing it holds up the event loop."""

from collections.abc import Iterable
from typing import Final

LARGEST_PAGE: Final = 1024 * 1024
"""Bytes: four of the largest records, sixteen of the largest schemas."""


def count_fitting(sizes: Iterable[int]) -> int:
    """How many of the first things on a list make a page: those that fit, and one that does not when it comes first."""
    count = total = 0
    for size in sizes:
        total += size
        if count and total > LARGEST_PAGE:
            break
        count += 1
    return count
