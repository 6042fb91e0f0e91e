"""Parties take turns, none loses a place, and a full queue makes room for who has fewer in it."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.stepping import PATIENCE
from undercroft.chat.providers.turns import FairTurns, TurnsFullError


class Line:
    """Those that wait for one place, in the order in which they get it."""

    def __init__(self, running: int = 1, waiting: int = 100) -> None:
        self.turns = FairTurns(running, waiting)
        self.served: list[str] = []

    async def stand(self, party: str, name: str) -> None:
        await self.turns.acquire(party, PATIENCE)
        self.served.append(name)
        self.turns.release()

    async def queue(self, names: Sequence[str]) -> list["asyncio.Task[None]"]:
        """One after the other; the party is the name's first letter."""
        tasks = []
        for name in names:
            tasks.append(asyncio.create_task(self.stand(name[0], name)))
            await asyncio.sleep(0)
        return tasks


async def test_parties_take_turns() -> None:
    line = Line()
    await line.turns.acquire("a", PATIENCE)
    tasks = await line.queue(["a1", "a2", "a3", "b1", "b2", "c1"])
    assert (line.turns.running, line.turns.waiting) == (1, 6)
    line.turns.release()
    await asyncio.gather(*tasks)
    assert line.served == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert (line.turns.running, line.turns.waiting) == (0, 0)


async def test_who_is_alone_does_not_wait() -> None:
    line = Line(running=2)
    await line.turns.acquire("a", PATIENCE)
    await line.turns.acquire("a", PATIENCE)
    with pytest.raises(TimeoutError):
        await line.turns.acquire("a", 0.01)
    assert (line.turns.running, line.turns.waiting) == (2, 0)


async def test_who_leaves_takes_no_place_along() -> None:
    line = Line()
    await line.turns.acquire("a", PATIENCE)
    leaving, staying = await line.queue(["a1", "b1"])
    # It is given the place, and has left before it could take it.
    line.turns.release()
    leaving.cancel()
    await asyncio.gather(leaving, staying, return_exceptions=True)
    assert line.served == ["b1"]
    first, second = await line.queue(["a2", "b2"])
    await asyncio.gather(first, second)
    assert line.turns.running == 0


async def test_a_full_queue_makes_room_for_who_has_fewer_in_it() -> None:
    line = Line(waiting=3)
    await line.turns.acquire("a", PATIENCE)
    tasks = await line.queue(["a1", "a2", "a3"])
    with pytest.raises(TurnsFullError):
        await line.stand("a", "a4")
    late = await line.queue(["b1"])
    with pytest.raises(TurnsFullError):
        await line.stand("b", "b2")
    line.turns.release()
    results = await asyncio.gather(*tasks, *late, return_exceptions=True)
    assert [type(result) for result in results] == [
        type(None),
        type(None),
        TurnsFullError,
        type(None),
    ]
    assert line.served == ["a1", "b1", "a2"]
