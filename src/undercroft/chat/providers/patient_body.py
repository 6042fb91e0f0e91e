"""The body of a model server's response, waited for no longer than there is patience."""

import asyncio

import aiohttp

from undercroft.chat.providers.budgets import Patience


class PatientBody:
    """Reads a body. One timer for all of it, and none for each piece: of those there may be a hundred in a second.

    Args:
        content: The body.
        patience: Until when each piece is waited for. Only waiting counts, and not what is done between two reads.
    """

    def __init__(self, content: aiohttp.StreamReader, patience: Patience) -> None:
        self._content = content
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_waiting = False

    async def read(self) -> bytes:
        """The next bytes; none at the end.

        Raises:
            TimeoutError: When they do not come in time.
        """
        self._ensure_timer(self._patience.left)
        self._is_waiting = True
        try:
            return await self._content.readany()
        finally:
            self._is_waiting = False

    def close(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ensure_timer(self, left: float) -> None:
        """Have it looked whether the time is over, at the latest when it is."""
        if self._timer is not None:
            # Mostly the time was only prolonged: then the timer that runs looks again.
            if self._timer.when() - self._loop.time() <= left:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0.0, left), self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._is_waiting:
            return
        left = self._patience.left
        if left > 0:
            self._ensure_timer(left)
        else:
            # Not by cancelling the task that waits: this reaches whoever it is, and nobody else.
            self._content.set_exception(TimeoutError())
