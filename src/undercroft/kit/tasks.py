"""Tasks that do not outlive who began them."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

_One = TypeVar("_One")
_Other = TypeVar("_Other")


def run_until_closed(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` as a task of its own, which is cancelled and waited for when ``stack`` closes."""
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stop)


async def both(
    one: Coroutine[Any, Any, _One], other: Coroutine[Any, Any, _Other]
) -> tuple[_One, _Other]:
    """What two things return that are done at once. When one fails, the other ends before the failure is told.

    ``asyncio.gather`` would leave the other running.

    Raises:
        Exception: What the first that fails raises, as it is.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            first, second = tasks.create_task(one), tasks.create_task(other)
    except BaseExceptionGroup as failures:
        failure = failures.exceptions[0]
        raise failure from failure.__cause__
    return first.result(), second.result()
