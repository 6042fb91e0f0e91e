"""Answers that leave on a beat, so that the time they took does not tell what was looked up for them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from undercroft.kit.clock import Clock

_BEAT: Final = 0.25
"""Seconds. Looking for an account and putting a refusal on record take a hundredth of it."""


class Pace:
    """Makes work that differs take equally long.

    Args:
        clock: Measures the work.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        """Let the block end on a beat, counted from its beginning, whether it raises or not."""
        started = self._clock.monotonic()
        try:
            yield
        finally:
            taken = self._clock.monotonic() - started
            await self._sleep(_BEAT - taken % _BEAT)
