"""Turns at what few can use at once, by party: who floods waits behind their own flood, and nobody else does."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager


class TurnsFullError(Exception):
    """As many wait as may, and none of them has to make room."""


class FairTurns:
    """Places that parties take turns at: of those that wait, each party's first one comes next, party after party.

    Args:
        running: How many places there are.
        waiting: The most that wait. Once they do, the last one of whoever has most makes room for who has fewer.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._places = running
        self._free = running
        self._most_waiting = waiting
        # A dict for its order: whose turn has come goes behind all others.
        self._queues: dict[Hashable, deque[asyncio.Future[None]]] = {}

    @property
    def running(self) -> int:
        """How many have a place."""
        return self._places - self._free

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return sum(map(len, self._queues.values()))

    @asynccontextmanager
    async def turn(self, party: Hashable, seconds: float) -> AsyncGenerator[None]:
        """A place, for as long as the context lasts.

        Raises:
            TimeoutError: When none became free in time.
            TurnsFullError: When too many wait already, or this one made room for another party.
        """
        await self.acquire(party, seconds)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, party: Hashable, seconds: float) -> None:
        """Wait for a place, which has to be released.

        Raises:
            TimeoutError: When none became free in time.
            TurnsFullError: When too many wait already, or this one made room for another party.
        """
        if self._free and not self._queues:
            self._free -= 1
            return
        if self.waiting >= self._most_waiting:
            self._make_room(party)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(party, deque()).append(place)
        try:
            async with asyncio.timeout(seconds):
                await place
        # Also when it is cancelled: its place would be held, or kept in the queue, by nobody.
        except BaseException:
            if place.done() and not place.cancelled() and place.exception() is None:
                # It was given the place at the moment at which it left.
                self.release()
            else:
                self._withdraw(party, place)
            raise

    def release(self) -> None:
        """Give a place to who is next."""
        while self._queues:
            party = next(iter(self._queues))
            queue = self._queues.pop(party)
            place = queue.popleft()
            if queue:
                self._queues[party] = queue
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def _make_room(self, party: Hashable) -> None:
        longest = max(self._queues, key=lambda each: len(self._queues[each]), default=party)
        if len(self._queues.get(party, ())) + 1 >= len(self._queues.get(longest, ())):
            raise TurnsFullError
        place = self._queues[longest][-1]
        self._withdraw(longest, place)
        if not place.done():
            place.set_exception(TurnsFullError())

    def _withdraw(self, party: Hashable, place: "asyncio.Future[None]") -> None:
        queue = self._queues.get(party)
        if queue is not None and place in queue:
            queue.remove(place)
            if not queue:
                del self._queues[party]
