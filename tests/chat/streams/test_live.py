"""A watcher waits while there is nothing new, and misses nothing that comes meanwhile."""

import asyncio
from contextlib import suppress
from typing import Any

from tests.stepping import PATIENCE
from undercroft.chat.streams.live import Subscription


def event(number: int) -> dict[str, Any]:
    return {"type": "test", "sequence_number": number}


async def waiting(subscription: Subscription) -> "asyncio.Task[list[dict[str, Any]] | None]":
    """Whoever takes, once they wait; fails where they need not."""
    taking = asyncio.create_task(subscription.take())
    # Two turns of the loop: what need not wait is done by then.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not taking.done()
    return taking


async def test_who_has_read_the_log_waits_for_what_comes_after_it() -> None:
    subscription = Subscription(is_behind=True)
    assert await subscription.take() is None
    taking = await waiting(subscription)
    subscription.offer([event(0)])
    assert await asyncio.wait_for(taking, PATIENCE) == [event(0)]


async def test_what_was_taken_is_not_taken_again() -> None:
    subscription = Subscription(is_behind=False)
    subscription.offer([event(0)])
    subscription.offer([event(1)])
    assert await subscription.take() == [event(0), event(1)]
    taking = await waiting(subscription)
    subscription.fall_behind()
    assert await asyncio.wait_for(taking, PATIENCE) is None


async def test_what_comes_after_a_wait_that_was_cancelled_is_taken_by_the_next() -> None:
    subscription = Subscription(is_behind=False)
    taking = await waiting(subscription)
    taking.cancel()
    subscription.offer([event(0)])
    with suppress(asyncio.CancelledError):
        await taking
    assert await subscription.take() == [event(0)]


async def test_whoever_waits_is_told_of_an_end_that_could_not_be_kept() -> None:
    subscription = Subscription(is_behind=False)
    taking = await waiting(subscription)
    subscription.break_off([event(7)])
    assert await asyncio.wait_for(taking, PATIENCE) == []
    assert subscription.last_words == [event(7)]
