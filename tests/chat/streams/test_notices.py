"""Other processes are told of what somebody in them waits for, and of nothing else."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from tests.chat.streams.test_writer import KEY, begin, event, numbers, owner, process
from tests.conftest import MakeScope
from tests.stepping import PATIENCE, until_blocked
from undercroft.chat.streams.models import Lease
from undercroft.chat.streams.notices import CHANNEL, tell_moved
from undercroft.chat.streams.process import StreamProcess
from undercroft.chat.streams.writer import OpenStream
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection

__all__ = ("owner", "process")

Said = Callable[[], Awaitable[list[str]]]


@pytest.fixture
async def said(database_urls: DatabaseUrls) -> AsyncGenerator[Said]:
    """What was said to other processes since it was asked last."""
    connection = await asyncpg.connect(database_urls.service)
    heard: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener(
        CHANNEL, lambda _connection, _pid, _channel, notice: heard.put_nowait(str(notice))
    )

    async def all_until_now() -> list[str]:
        # Notices come in the order of their commits: what was said before is there once this is.
        await connection.execute(f"NOTIFY {CHANNEL}, 'now'")
        notices: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while (notice := await heard.get()) != "now":
                notices.append(notice)
        return notices

    yield all_until_now
    await connection.close()


async def write(process: StreamProcess, stream: OpenStream, number: int) -> None:
    await process.writer.put(stream, event(number))
    async with asyncio.timeout(PATIENCE):
        await process.writer.settle(stream)


async def test_nobody_is_told_of_what_nobody_waits_for(
    process: StreamProcess, said: Said, owner: AnyConnection, make_scope: MakeScope
) -> None:
    stream = OpenStream(await begin(owner, await make_scope()), KEY)
    await write(process, stream, 0)
    assert await said() == []


async def test_whoever_waits_elsewhere_is_told_of_each_commit_until_they_say_no_more(
    process: StreamProcess,
    database: Database,
    said: Said,
    owner: AnyConnection,
    make_scope: MakeScope,
) -> None:
    ann = await make_scope()
    watched, other = await begin(owner, ann), await begin(owner, ann)
    elsewhere = StreamProcess.over(database, IdSource())
    assert await elsewhere.leases.attend([watched.response_id]) == {watched.response_id: -1}
    stream, beside = OpenStream(watched, KEY), OpenStream(other, KEY)
    await write(process, beside, 0)
    assert await said() == []
    for number in (0, 1):
        await write(process, stream, number)
        assert await said() == [tell_moved(process.id, [watched.response_id])]
    await owner.execute("UPDATE response_streams SET watched_until = now()")
    await write(process, stream, 2)
    assert await said() == []


@pytest.mark.parametrize(
    "waits", ["watched_until = 'infinity'", "cancel_requested_at = now()", None]
)
async def test_the_end_is_told_to_whoever_waits_for_it_or_has_asked_for_it(
    waits: str | None,
    database: Database,
    said: Said,
    owner: AnyConnection,
    make_scope: MakeScope,
) -> None:
    scope = await make_scope()
    lease = await begin(owner, scope)
    if waits is not None:
        await owner.execute(f"UPDATE response_streams SET {waits}")
    async with database.transaction(scope) as transaction:
        ended = "SELECT end_stream($1, 1, -1, 0, '', 'ended')"
        assert await transaction.fetchval(ended, lease.response_id)
    assert await said() == ([] if waits is None else ["ended"])


async def test_of_what_has_changed_hands_all_are_told(
    process: StreamProcess, said: Said, owner: AnyConnection, make_scope: MakeScope
) -> None:
    lease = await begin(owner, await make_scope(), fence=2)
    await write(process, OpenStream(lease, KEY), 0)
    assert await said() == [tell_moved(process.id, [lease.response_id])]


async def test_a_commit_finds_who_waits_or_is_found_by_them(
    process: StreamProcess,
    database: Database,
    said: Said,
    owner: AnyConnection,
    make_scope: MakeScope,
) -> None:
    lease = await begin(owner, await make_scope())
    stream = OpenStream(lease, KEY)
    elsewhere = StreamProcess.over(database, IdSource())
    async with owner.transaction():
        # They come first, and the commit waits for them: what it finds is what they have said by then.
        await owner.fetch("SELECT FROM attend_streams(ARRAY[$1::uuid], '10 s')", lease.response_id)
        await process.writer.put(stream, event(0))
        await until_blocked(database)
    async with asyncio.timeout(PATIENCE):
        await process.writer.settle(stream)
    assert await said() == [tell_moved(process.id, [lease.response_id])]
    await owner.execute("UPDATE response_streams SET watched_until = NULL")
    async with owner.transaction():
        # The commit comes first, and they wait for it: what it wrote is there once they have said that they wait.
        await append(owner, lease, 0, 1)
        attending = asyncio.create_task(elsewhere.leases.attend([lease.response_id]))
        await until_blocked(database)
    async with asyncio.timeout(PATIENCE):
        assert await attending == {lease.response_id: 1}
    assert await said() == []


async def test_runs_go_with_their_stream_also_those_that_are_being_written(
    database: Database, owner: AnyConnection, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    lease, other = await begin(owner, scope), await begin(owner, scope)
    for each in (lease, other):
        await append(owner, each, -1, 0)
    forget = "SELECT forget_streams(10)"
    async with database.statement_without_scope() as connection:
        async with owner.transaction():
            await append(owner, lease, 0, 1)
            deleting = asyncio.create_task(_delete(database, lease))
            await until_blocked(database)
        async with asyncio.timeout(PATIENCE):
            await deleting
        assert await numbers(owner, lease) == []
        assert await numbers(owner, other) == [(None, 0)]
        await owner.execute(
            "UPDATE response_streams SET sealed_request = NULL, ended_at = now() - $1::interval",
            timedelta(hours=25),
        )
        assert await connection.fetchval(forget) == 1
    assert await numbers(owner, other) == []


async def append(owner: AnyConnection, lease: Lease, previous: int, last: int) -> None:
    """Keep a run as its writer does."""
    kept = await owner.fetch(
        "SELECT append_events(ARRAY[$1::uuid], ARRAY[1], ARRAY[$2::int], ARRAY[$3::int], '{x}', 'told')",
        *(lease.response_id, previous, last),
    )
    assert kept


async def _delete(database: Database, lease: Lease) -> None:
    async with database.transaction(lease) as transaction:
        await transaction.execute("DELETE FROM responses WHERE id = $1", lease.response_id)
