"""``undercroft worker``: runs background jobs on the database of a service, here or elsewhere."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

import structlog

from undercroft.commands.databases import database_pool, open_any_database
from undercroft.commands.parent import stop_with_parent, tell_ready
from undercroft.commands.spaces import require_models
from undercroft.commands.worker.wiring import open_worker
from undercroft.kit.settings import Settings

_log = structlog.stdlib.get_logger(__name__)


async def run_worker(settings: Settings, *, belongs_to_parent: bool) -> None:
    """Run jobs until told to stop by SIGTERM or SIGINT.

    Args:
        settings: The service's settings.
        belongs_to_parent: Whether to say when ready on standard output, and to stop when standard input ends, which
            it does however the parent dies.
    """
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(open_any_database(settings, may_make=True))
        async with database_pool(settings, url, 1) as database:
            await require_models(settings, database)
        worker = await open_worker(stack, settings, url)
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        if belongs_to_parent:
            watcher = await stop_with_parent(stopping.set)
            stack.callback(watcher.cancel)
            tell_ready()
        running = asyncio.create_task(worker.run())
        stopped = asyncio.create_task(stopping.wait())
        _log.info("worker_ready", pid=os.getpid())
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await worker.stop()
        await running
