"""Batches, stepped: who comes while one is served is in the next, and nobody pays for another's fault."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from tests.stepping import PATIENCE, Gate
from undercroft.kit.batches import Batches
from undercroft.kit.errors import InvalidRequestError, UndercroftError

REQUEST: ContextVar[str] = ContextVar("request", default="none")


class Desk:
    """Serves texts in batches, and stops at each batch that has a gate."""

    def __init__(self, largest: int = 10) -> None:
        self.served: list[tuple[str, list[str]]] = []
        self.gates: dict[str, Gate] = {}
        self.batches: Batches[str, str, str] = Batches(self._serve, largest)

    def hold(self, first: str) -> Gate:
        """Stop at the batch that begins with this item."""
        self.gates[first] = Gate()
        return self.gates[first]

    def ask(self, key: str, *items: str) -> list[asyncio.Task[str]]:
        return [asyncio.create_task(self.batches.ask(key, item)) for item in items]

    async def _serve(self, key: str, items: Sequence[str]) -> list[str | UndercroftError]:
        self.served.append((key, list(items)))
        if items[0] in self.gates:
            await self.gates[items[0]].pass_through()
        if "bomb" in items:
            raise ZeroDivisionError
        return [
            InvalidRequestError("not this one") if item == "bad" else item.upper() for item in items
        ]


async def answers(tasks: Sequence[asyncio.Task[str]]) -> list[str | BaseException]:
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_comes_while_a_batch_is_served_is_in_the_next() -> None:
    desk = Desk(largest=3)
    gate = desk.hold("a")
    first = desk.ask("ann", "a")
    await gate.wait_until_reached()
    later = desk.ask("ann", "b", "c", "d", "e")
    await asyncio.sleep(0)
    assert desk.served == [("ann", ["a"])]
    gate.open()
    assert await answers([*first, *later]) == ["A", "B", "C", "D", "E"]
    assert desk.served == [("ann", ["a"]), ("ann", ["b", "c", "d"]), ("ann", ["e"])]


async def test_nobody_waits_for_another_keys_batch() -> None:
    desk = Desk()
    gate = desk.hold("a")
    held = desk.ask("ann", "a")
    await gate.wait_until_reached()
    assert await answers(desk.ask("bob", "b")) == ["B"]
    gate.open()
    assert await answers(held) == ["A"]


async def test_an_items_own_error_is_only_its_own() -> None:
    desk = Desk()
    found = await answers(desk.ask("ann", "a", "bad", "c"))
    assert len(desk.served) == 1
    assert (found[0], type(found[1]), found[2]) == ("A", InvalidRequestError, "C")


async def test_what_fails_a_batch_is_told_to_all_of_it_and_to_nobody_after() -> None:
    desk = Desk()
    gate = desk.hold("a")
    failed = desk.ask("ann", "a", "bomb")
    await gate.wait_until_reached()
    later = desk.ask("ann", "c")
    gate.open()
    assert [type(answer) for answer in await answers(failed)] == [ZeroDivisionError] * 2
    assert await answers(later) == ["C"]


async def test_who_has_left_is_not_served_and_keeps_nobody_waiting() -> None:
    desk = Desk()
    gate = desk.hold("a")
    leaves, stays = desk.ask("ann", "a", "b")
    await gate.wait_until_reached()
    never_served, *others = desk.ask("ann", "c", "d")
    await asyncio.sleep(0)
    leaves.cancel()
    never_served.cancel()
    gate.open()
    assert await answers([stays, *others]) == ["B", "D"]
    assert desk.served == [("ann", ["a", "b"]), ("ann", ["d"])]


async def test_a_batch_knows_nothing_of_the_request_that_came_first() -> None:
    seen: list[str] = []

    async def serve(_: str, items: Sequence[str]) -> Sequence[str]:
        seen.append(REQUEST.get())
        return items

    batches: Batches[str, str, str] = Batches(serve, 10)
    REQUEST.set("first")
    await batches.ask("ann", "a")
    assert seen == ["none"]


async def test_who_waits_does_not_wait_for_ever_when_the_service_closes() -> None:
    desk = Desk()
    gate = desk.hold("a")
    waiting = desk.ask("ann", "a")
    await gate.wait_until_reached()
    waiting += desk.ask("ann", "b")
    await asyncio.sleep(0)
    (serving,) = desk.batches._tasks
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert [type(answer) for answer in await answers(waiting)] == [asyncio.CancelledError] * 2
