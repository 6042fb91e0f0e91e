"""How much the legs look at for each quality that may be asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

import asyncpg

from undercroft.retrieval.search.models import Quality

_Proposed = TypeVar("_Proposed")


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a search looks at.

    Attributes:
        ranked: How many chunks are scored by BM25 at most, about.
        compared: Up to how many authorised chunks the vector leg compares one by one before its index is asked.
        reach: How many near neighbours the index of vectors is asked for, for each that is proposed; for each beyond
            one, the root of how many there are in it. None where nothing but comparing one by one will do.
        seconds: When a leg is given up, to be asked again with the usual effort; None where it is not.
    """

    ranked: int
    compared: int
    reach: int | None
    seconds: float | None = None


EFFORTS: Final[Mapping[Quality, Effort]] = MappingProxyType(
    {
        Quality.FAST: Effort(2_000, 5_000, 1),
        # What more would find, and take, is in docs/search.md.
        Quality.BALANCED: Effort(5_000, 20_000, 3),
        # So many ids are listed first: 32 MB.
        Quality.EXACT: Effort(2_000_000_000, 2_000_000, None, seconds=5.0),
    }
)


async def with_effort(
    quality: Quality, search: Callable[[Effort], Awaitable[_Proposed]], seconds: float
) -> tuple[_Proposed, bool]:
    """What a leg proposes with the effort that was asked for, or, where that is too much, with the usual one.

    Args:
        quality: What was asked for.
        search: Asks the leg.
        seconds: What the whole search has: half of it is the most that is spent before the usual effort is made.

    Returns:
        What it proposes, and whether the effort that was asked for was given up.
    """
    effort = EFFORTS[quality]
    if effort.seconds is not None:
        try:
            async with asyncio.timeout(min(effort.seconds, seconds / 2)):
                return await search(effort), False
        except (TimeoutError, asyncpg.ProgramLimitExceededError):
            return await search(EFFORTS[Quality.BALANCED]), True
    return await search(effort), False
