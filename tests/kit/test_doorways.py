"""Doorways: of each tenant some begin at once, in their order, and none is kept that nobody uses."""

import asyncio
import gc
from uuid import UUID, uuid4

import pytest

from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.doorways import Doorways
from undercroft.kit.errors import UnavailableError


class Crowd:
    """What goes through a doorway, and stays there until it is let go on."""

    def __init__(self, doorways: Doorways) -> None:
        self._doorways = doorways
        self.leave = asyncio.Event()
        self.inside: list[int] = []

    async def enter(self, tenant_id: UUID, number: int) -> None:
        async with self._doorways.through(tenant_id):
            self.inside.append(number)
            await self.leave.wait()


def doorways_of(connections: int, seconds: float = 60.0) -> Doorways:
    # Never opened: only its size counts.
    database = Database("postgresql://", clock=SystemClock(), size=connections)
    return Doorways(database, seconds=seconds)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("connections", "width"), [(8, 4), (1, 1)])
async def test_half_as_many_as_there_are_connections_begin_at_once(
    connections: int, width: int
) -> None:
    crowd, ann = Crowd(doorways_of(connections)), uuid4()
    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(crowd.enter(ann, number))
        await settle()
        assert crowd.inside == list(range(width))
        crowd.leave.set()
    assert crowd.inside == list(range(10))


async def test_another_tenant_does_not_wait() -> None:
    crowd, ann, bob = Crowd(doorways_of(2)), uuid4(), uuid4()
    async with asyncio.TaskGroup() as tasks:
        for number, tenant in enumerate([ann, ann, bob]):
            tasks.create_task(crowd.enter(tenant, number))
        await settle()
        assert crowd.inside == [0, 2]
        crowd.leave.set()


async def test_who_leaves_while_waiting_takes_nobodys_place() -> None:
    crowd, ann = Crowd(doorways_of(2)), uuid4()
    first, second, third = (asyncio.create_task(crowd.enter(ann, number)) for number in range(3))
    await settle()
    second.cancel()
    crowd.leave.set()
    await asyncio.gather(first, third)
    assert crowd.inside == [0, 2]


async def test_a_turn_that_does_not_come_in_time_is_an_error_that_says_when_to_ask_again() -> None:
    doorways, ann = doorways_of(2, seconds=0.0), uuid4()
    async with doorways.through(ann):
        with pytest.raises(UnavailableError) as refused:
            async with doorways.through(ann):
                pytest.fail("it is taken")
        assert refused.value.retry_after
    async with doorways.through(ann):
        pass


async def test_what_nobody_uses_is_forgotten() -> None:
    doorways = doorways_of(2)
    async with doorways.through(uuid4()):
        assert len(doorways._used) == 1
    gc.collect()
    assert not doorways._used
