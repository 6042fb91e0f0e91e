"""Programs that belong to another one: they stop when it does, however it ends."""

import asyncio
import sys
from collections.abc import Callable
from typing import Final

READY_LINE: Final = "ready"
"""What such a program writes on its standard output once it does its work."""


async def stop_with_parent(stop: Callable[[], None]) -> asyncio.Task[None]:
    """Call ``stop`` when standard input ends: the parent holds its other end, and is gone even by ``kill -9``.

    Returns:
        The watching task, for the caller to keep.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def watch() -> None:
        await reader.read()
        stop()

    return asyncio.create_task(watch())


def tell_ready() -> None:
    """Say so to the parent."""
    sys.stdout.write(f"{READY_LINE}\n")
    sys.stdout.flush()
