"""When a failed delivery is attempted again (pure)."""

from datetime import timedelta
from typing import Final

MOST_ATTEMPTS: Final = 10
_FIRST_SECONDS: Final = 5.0
_GROWTH: Final = 4.0
_LONGEST_SECONDS: Final = 24 * 3600.0


def next_wait(attempts: int, random: float) -> timedelta | None:
    """How long to wait after so many attempts; None when there was the last one.

    Four times as long each time, at most a day, and up to half of it less by chance, so that what failed together does
    not come back together. The last attempt is a day to two and a quarter after the first.

    Args:
        attempts: Made so far, 1 at least.
        random: From [0, 1).
    """
    if attempts >= MOST_ATTEMPTS:
        return None
    longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * _GROWTH ** (attempts - 1))
    return timedelta(seconds=longest * (1 + random) / 2)
