"""Servers for tests that run in a process of their own until their standard input ends: both ends of that."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Final

from aiohttp import web

ROOT: Final = Path(__file__).parents[2]


class Program:
    """A running program."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def read_line(self) -> str:
        """What it prints next; waits for it."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextlib.contextmanager
def running_program(*command: str | Path, stderr: int | None = None) -> Generator[Program]:
    """Runs a program while the context is open."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT
    ) as process:
        try:
            yield Program(process)
        finally:
            # Closing its input is what ends it.
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=60)


@contextlib.contextmanager
def running_server(module: str, *arguments: str) -> Generator[int]:
    """Runs a module that does :func:`serve`, and gives its port."""
    with running_program(sys.executable, "-m", module, *arguments) as program:
        yield int(program.read_line())


async def serve(application: web.Application) -> None:
    """Serves on a free port, which it prints, until standard input ends."""
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 -- this is how the parent learns the port
    await asyncio.to_thread(sys.stdin.read)
    # Some of the answers never end, and nobody reads them any more.
    os._exit(0)
