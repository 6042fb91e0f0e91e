"""Two things at once, of which neither outlives the other's failure."""

import asyncio
from contextlib import suppress

import pytest

from undercroft.kit.tasks import both


async def _give(value: int) -> int:
    return value


async def test_both_give_what_they_return() -> None:
    assert await both(_give(1), _give(2)) == (1, 2)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_the_other_has_ended_before_the_failure_is_told(is_cancelled: bool) -> None:
    begun, told = asyncio.Event(), list[str]()

    async def fail() -> None:
        await begun.wait()
        if is_cancelled:
            await asyncio.Event().wait()
        raise LookupError

    async def clean_up() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(3):  # as a connection does that tells its server to give up
                await asyncio.sleep(0)
            told.append("ended")

    work = asyncio.create_task(both(fail(), clean_up()))
    await begun.wait()
    if is_cancelled:
        work.cancel()
    with suppress(LookupError, asyncio.CancelledError):
        await work
    assert told == ["ended"]
