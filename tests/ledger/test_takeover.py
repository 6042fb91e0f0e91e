"""Real processes that sequence, really killed or stopped: another goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, act
from tests.stepping import PATIENCE
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.ledger.sequencer import SequencerSettings

Process: TypeAlias = asyncio.subprocess.Process
StartProcess: TypeAlias = Callable[[str, Member], Awaitable[Process]]

_PROGRAM = Path(__file__).with_name("sequencer_process.py")


@pytest.fixture
async def start_process(database_urls: DatabaseUrls) -> AsyncGenerator[StartProcess]:
    """Starts processes, and kills what is left of them."""
    started: list[Process] = []

    async def start(what: str, member: Member) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_PROGRAM),
            what,
            database_urls.service,
            str(member.tenant_id),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def next_line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode().strip()


async def append(parts: Parts, database: Database, member: Member) -> None:
    async with database.transaction(member) as transaction:
        await parts.ledger.append(transaction, member, act(1), act(2))


async def until_numbered(database: Database, member: Member, size: int) -> None:
    """Return once the log has that many entries."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with database.transaction(member) as transaction:
                if await transaction.fetchval("SELECT size FROM ledger_logs") == size:
                    return


def test_two_seconds_are_enough_for_a_look_and_a_stall() -> None:
    """A dead process's lock is gone at once, a stopped one's after the second that lock_log allows it."""
    settings = SequencerSettings()
    assert settings.poll_seconds + settings.gather_seconds < 1


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_process_goes_on_where_one_was_killed_or_stopped_midway(
    parts: Parts,
    database: Database,
    make_scope: MakeScope,
    start_process: StartProcess,
    by: signal.Signals,
) -> None:
    member = await make_scope()
    await append(parts, database, member)
    holder = await start_process("stop", member)
    assert await next_line(holder) == "numbered 2"
    other = await start_process("run", member)
    assert await next_line(other) == "ready"
    holder.send_signal(by)
    await until_numbered(database, member, 2)
    await append(parts, database, member)
    await until_numbered(database, member, 4)


async def test_of_two_processes_that_sequence_either_is_enough(
    parts: Parts, database: Database, make_scope: MakeScope, start_process: StartProcess
) -> None:
    member = await make_scope()
    first, second = [await start_process("run", member) for _ in range(2)]
    assert [await next_line(first), await next_line(second)] == ["ready", "ready"]
    await append(parts, database, member)
    await until_numbered(database, member, 2)
    first.kill()
    await first.wait()
    await append(parts, database, member)
    await until_numbered(database, member, 4)
