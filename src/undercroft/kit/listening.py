"""Hears what other processes say over PostgreSQL's notifications, by a connection of its own.

Notices can get lost: while the connection is down, and behind a pooler that hands sessions around, where LISTEN holds
for no one. Whoever listens has to look for itself every so often, too.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import asyncpg
import structlog

from undercroft.kit.database import DATABASE_GONE

_CHECK_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 10.0

_log = structlog.stdlib.get_logger(__name__)


class Listener:
    """Listens to one channel, and connects again when it has lost the connection.

    Args:
        url: Of the database.
        channel: What is listened to.
        hear: Given each notice.
        missed: Called when notices may have been missed.
    """

    def __init__(
        self, url: str, channel: str, hear: Callable[[str], None], missed: Callable[[], None]
    ) -> None:
        self._url = url
        self._channel = channel
        self._hear = hear
        self._missed = missed
        self.is_listening = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except DATABASE_GONE as error:
                _log.warning("listener_lost", channel=self._channel, error=repr(error))
            self.is_listening.clear()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=_CONNECT_SECONDS)
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(
                self._channel, lambda _connection, _pid, _channel, notice: self._hear(str(notice))
            )
            # Only now: what was said before is not missed, for it is on disk where it will be looked for.
            self._missed()
            self.is_listening.set()
            while not lost.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_CHECK_SECONDS):
                        await lost.wait()
                # A peer that is gone without a word is noticed when it is asked.
                if not lost.is_set():
                    await connection.execute("SELECT 1", timeout=_CONNECT_SECONDS)
        finally:
            connection.terminate()
