"""A worker in a process of its own: ``worker_process.py URL HEARTBEAT_TIMEOUT``. Prints what happens, a line each."""

import asyncio
import os
import signal
import sys

from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.models import JobFailure, Payload
from undercroft.jobs.worker import Worker, WorkerSettings
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.logs import configure_logging
from undercroft.kit.scope import Scope


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def kill(context: JobContext) -> None:
    say(f"attempt {context.attempt}")
    os.kill(os.getpid(), signal.SIGKILL)


async def hang(context: JobContext) -> None:
    say(f"attempt {context.attempt}")
    await asyncio.Event().wait()


async def on_dead(
    transaction: Transaction, scope: Scope, payload: Payload, failure: JobFailure
) -> None:
    del transaction, scope, payload
    say(f"dead {failure.code}")


async def main(url: str, heartbeat_timeout: float) -> None:
    clock = SystemClock()
    async with Database(url, clock=clock, size=4) as database:
        handlers = {
            "kill": JobHandler(kill, deadline_seconds=60, on_dead=on_dead),
            "hang": JobHandler(hang, deadline_seconds=60),
        }
        settings = WorkerSettings(heartbeat_timeout_seconds=heartbeat_timeout, grace_seconds=0.1)
        worker = Worker(database, handlers, clock=clock, random=lambda: 0.5, settings=settings)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run())
            say("ready")
            await stopped.wait()
            await worker.stop()


configure_logging("error", "json")
asyncio.run(main(sys.argv[1], float(sys.argv[2])))
