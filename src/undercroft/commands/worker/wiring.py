"""The whole of a worker: its foundation, what it does in rounds, and the jobs that it takes."""

import random
from contextlib import AsyncExitStack

from undercroft.commands.worker.foundation import open_foundation
from undercroft.commands.worker.handlers import open_handlers
from undercroft.commands.worker.rounds import run_rounds
from undercroft.jobs.worker import Worker
from undercroft.kit.settings import Settings


async def open_worker(stack: AsyncExitStack, settings: Settings, url: str) -> Worker:
    """A worker with everything its handlers need, which ``stack`` closes.

    Args:
        stack: Outlives the worker.
        settings: The service's settings; ``data_dir`` holds the blobs.
        url: The service's login.
    """
    base = await open_foundation(stack, settings, url)
    await run_rounds(base)
    handlers = await open_handlers(base)
    return Worker(base.background, handlers, clock=base.clock, random=random.random)
