"""Fan-out within one process: what is on disk goes to every watcher by memory, and none of them grows it.

A watcher that does not keep up loses its queue and reads the log instead, from where it was.
"""

import asyncio
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from undercroft.chat.streams.models import Event

_LARGEST_QUEUE: Final = 256
"""Events that wait for one watcher."""


class Subscription:
    """What one watcher has not seen yet.

    Args:
        is_behind: Whether there may be events that it has to read from the log first.
    """

    __slots__ = ("_asking", "_has_news", "_is_behind", "_last_words", "_waiting")

    def __init__(self, *, is_behind: bool) -> None:
        # No deque, here or in an event: an empty one takes three quarters of a kilobyte, and thousands wait.
        self._waiting: list[Event] = []
        self._is_behind = is_behind
        self._last_words: Sequence[Event] | None = None
        self._has_news = is_behind
        self._asking: asyncio.Future[None] | None = None

    def offer(self, events: Sequence[Event]) -> None:
        """These are on disk now."""
        if not self._is_behind:
            if len(self._waiting) + len(events) > _LARGEST_QUEUE:
                self.fall_behind()
            else:
                self._waiting.extend(events)
        self._tell()

    def fall_behind(self) -> None:
        """Have it read the log: it has missed something, or may have."""
        self._waiting.clear()
        self._is_behind = True
        self._tell()

    def break_off(self, last_words: Sequence[Event]) -> None:
        """Nothing more comes, and that this is so could not be kept."""
        self._last_words = last_words
        self._tell()

    async def take(self) -> list[Event] | None:
        """The next events once there are some; None: read the log, and then ask again. One at a time asks."""
        while not self._has_news:
            self._asking = asyncio.get_running_loop().create_future()
            try:
                await self._asking
            finally:
                self._asking = None
        if self._is_behind and self._last_words is None:
            # Before the log is read: what comes while it is being read is not missed.
            self._is_behind = False
            self._has_news = False
            return None
        taken, self._waiting = self._waiting, []
        if self._last_words is None:
            self._has_news = False
        return taken

    @property
    def last_words(self) -> Sequence[Event] | None:
        """What to tell in place of an end that could not be kept; None while the stream goes on."""
        return self._last_words

    def _tell(self) -> None:
        self._has_news = True
        if self._asking is not None and not self._asking.done():
            self._asking.set_result(None)


class LiveStreams:
    """Who in this process watches what."""

    def __init__(self) -> None:
        self._watchers: dict[UUID, dict[Subscription, None]] = {}

    @contextmanager
    def subscribe(self, response_id: UUID, *, is_behind: bool) -> Generator[Subscription]:
        """Watch a stream while this is open."""
        subscription = Subscription(is_behind=is_behind)
        # A dict for its order: of thousands who watch one each leaves at once.
        self._watchers.setdefault(response_id, {})[subscription] = None
        try:
            yield subscription
        finally:
            watchers = self._watchers[response_id]
            del watchers[subscription]
            if not watchers:
                del self._watchers[response_id]

    def is_watched(self, response_id: UUID) -> bool:
        """Whether somebody in this process watches it."""
        return response_id in self._watchers

    @property
    def watched(self) -> list[UUID]:
        """All streams that somebody in this process watches."""
        return list(self._watchers)

    def publish(self, response_id: UUID, events: Sequence[Event]) -> None:
        """Show events that are on disk."""
        for subscription in self._watchers.get(response_id, ()):
            subscription.offer(events)

    def break_off(self, response_id: UUID, last_words: Sequence[Event]) -> None:
        """Show that a stream ends where its end could not be kept."""
        for subscription in self._watchers.get(response_id, ()):
            subscription.break_off(last_words)

    def moved(self, response_ids: Iterable[UUID] | None) -> None:
        """Have the watchers of these read the log; None: all of them."""
        for response_id in self.watched if response_ids is None else response_ids:
            for subscription in self._watchers.get(response_id, ()):
                subscription.fall_behind()

    def compare(self, known: Mapping[UUID, int], last_numbers: Mapping[UUID, int]) -> None:
        """Have those read the log whose streams have come further than was known."""
        self.moved([each for each, last in last_numbers.items() if last > known.get(each, -1)])
