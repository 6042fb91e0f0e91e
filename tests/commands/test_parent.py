"""A program that belongs to another one stops when that one ends, however it ends."""

import asyncio
import sys

CHILD = """
import asyncio
from undercroft.commands.parent import stop_with_parent

async def main():
    stopped = asyncio.Event()
    watcher = await stop_with_parent(stopped.set)
    print("watching", flush=True)
    await stopped.wait()
    await watcher
    print("stopped", flush=True)

asyncio.run(main())
"""
PARENT = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""
SECONDS = 30.0


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        return await process.stdout.readline()


async def test_it_stops_when_its_standard_input_ends() -> None:
    child = await start(CHILD)
    assert child.stdin is not None
    assert await line(child) == b"watching\n"
    child.stdin.write(b"what is said does not matter\n")
    await child.stdin.drain()
    child.stdin.close()
    assert await line(child) == b"stopped\n"
    assert await child.wait() == 0


async def test_it_stops_when_its_parent_is_killed() -> None:
    parent = await start(PARENT, CHILD)
    assert parent.stdin is not None
    assert await line(parent) == b"watching\n"
    parent.stdin.write(b"die\n")
    await parent.stdin.drain()
    assert await line(parent) == b"stopped\n"
    assert await parent.wait() == -9
    assert await line(parent) == b"", "the child has ended"
