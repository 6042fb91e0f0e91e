"""Chores that need no queue: any number of processes may do them at once, each every so often."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from undercroft.kit.database import DATABASE_GONE

_log = structlog.stdlib.get_logger(__name__)


class Rounds:
    """Does a chore again and again, whatever becomes of a single round.

    Args:
        name: What the log calls the chore.
        chore: One round; how much there was to do.
        seconds: The pause between two rounds.
    """

    def __init__(self, name: str, chore: Callable[[], Awaitable[int]], seconds: float) -> None:
        self._name = name
        self._chore = chore
        self._seconds = seconds

    async def run(self) -> None:
        """Do rounds until cancelled."""
        while True:
            await self.go_round()
            await asyncio.sleep(self._seconds)

    async def go_round(self) -> None:
        """One round. What goes wrong in it is logged and left to the next one."""
        try:
            done = await self._chore()
        except DATABASE_GONE as error:
            _log.warning("round_postponed", chore=self._name, error=repr(error))
        # Nobody awaits these rounds: they would end unseen, and the chore not be done again until a restart.
        except Exception as error:  # noqa: BLE001
            _log.error("round_failed", chore=self._name, exc_info=error)
        else:
            if done:
                _log.info("round_done", chore=self._name, done=done)
