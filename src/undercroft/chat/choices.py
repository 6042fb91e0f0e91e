"""Several answers to one question, made side by side."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

from undercroft.kit.scope import Scope
from undercroft.sharing.watching import WatchedGrants

_Event = TypeVar("_Event")


def several(
    grants: WatchedGrants, scope: Scope, answers: Sequence[AsyncGenerator[_Event]]
) -> AsyncGenerator[tuple[int, _Event]]:
    """The events of answers that are guarded themselves, for as long as their asker may ask: see :func:`interleaved`.

    Raises:
        AccessRevokedError: When they may not any more.
    """
    made = interleaved(answers)
    # What several have made waits for its reader: it is cut where it is read, as what one makes is.
    return grants.guard(scope, (), made) if len(answers) > 1 else made


async def interleaved(
    answers: Sequence[AsyncGenerator[_Event]],
) -> AsyncGenerator[tuple[int, _Event]]:
    """The events of all answers as they come, each with its answer's number. Closing it closes them all.

    Each answer runs in a task of its own, at most one event ahead of the reader: who reads slowly holds all of them up
    and has nothing piled up for them.

    Raises:
        Exception: What the first answer that fails raises; the others are cancelled.
    """
    if len(answers) == 1:
        async with aclosing(answers[0]) as events:
            async for event in events:
                yield 0, event
        return
    made: asyncio.Queue[tuple[int, _Event]] = asyncio.Queue(maxsize=1)
    tasks = [
        asyncio.create_task(_read(number, answer, made)) for number, answer in enumerate(answers)
    ]
    try:
        async for numbered in _until_done(tasks, made):
            yield numbered
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(
    number: int, answer: AsyncGenerator[_Event], made: "asyncio.Queue[tuple[int, _Event]]"
) -> None:
    async with aclosing(answer) as events:
        async for event in events:
            await made.put((number, event))


async def _until_done(
    tasks: Sequence["asyncio.Task[None]"], made: "asyncio.Queue[tuple[int, _Event]]"
) -> AsyncGenerator[tuple[int, _Event]]:
    """What the tasks put, until all of them have ended well and it is taken."""
    running = set(tasks)
    getting = asyncio.ensure_future(made.get())
    try:
        while running or not made.empty() or getting.done():
            done, _ = await asyncio.wait({getting, *running}, return_when=asyncio.FIRST_COMPLETED)
            if getting in done:
                yield getting.result()
                getting = asyncio.ensure_future(made.get())
            for task in done & running:
                task.result()
                running.discard(task)
    finally:
        getting.cancel()
