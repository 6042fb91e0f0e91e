"""Events are on disk before they are seen, in their order, and only those of whoever holds the lease."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.stepping import PATIENCE, until_blocked
from undercroft.chat.streams.errors import LeaseLostError
from undercroft.chat.streams.live import Subscription
from undercroft.chat.streams.models import Lease
from undercroft.chat.streams.process import StreamProcess
from undercroft.chat.streams.writer import OpenStream
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import DATABASE_GONE, Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection, PooledConnection
from undercroft.vault.keys.models import DataKey

KEY = DataKey(IdSource().new(), bytes(32), bytes(32))


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    """Past every policy: what makes and holds rows for these tests."""
    connection = await asyncpg.connect(database_urls.migration)
    for table in ("responses", "response_streams", "response_events"):
        await connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    yield connection
    await connection.close()


@pytest.fixture
def process(database: Database) -> StreamProcess:
    return StreamProcess.over(database, IdSource())


def event(number: int) -> dict[str, Any]:
    return {"type": "test", "sequence_number": number}


async def begin(owner: AnyConnection, scope: Member, fence: int = 1) -> Lease:
    response_id = IdSource().new()
    await owner.execute(
        "INSERT INTO responses (id, tenant_id, owner_id, status, sealed_resource)"
        " VALUES ($1, $2, $3, 'in_progress', '')",
        response_id,
        scope.tenant_id,
        scope.principal_id,
    )
    await owner.execute(
        "INSERT INTO response_streams (response_id, tenant_id, principal_id, fence, holder_id,"
        " expires_at, sealed_request) VALUES ($1, $2, $3, $4, $1, now(), '')",
        response_id,
        scope.tenant_id,
        scope.principal_id,
        fence,
    )
    return Lease(scope.tenant_id, scope.principal_id, response_id, fence)


async def numbers(owner: AnyConnection, lease: Lease) -> list[tuple[int | None, int]]:
    rows = await owner.fetch(
        "SELECT previous_number, last_number FROM response_events WHERE response_id = $1 ORDER BY last_number",
        lease.response_id,
    )
    return [tuple(row) for row in rows]


async def shown(subscription: Subscription, count: int) -> list[int]:
    seen: list[int] = []
    async with asyncio.timeout(PATIENCE):
        while len(seen) < count:
            seen += [each["sequence_number"] for each in await subscription.take() or ()]
    return seen


async def test_an_event_is_seen_once_it_is_on_disk_and_not_before(
    process: StreamProcess, database: Database, owner: AnyConnection, make_scope: MakeScope
) -> None:
    lease = await begin(owner, await make_scope())
    stream = OpenStream(lease, KEY)
    with process.live.subscribe(lease.response_id, is_behind=False) as subscription:
        async with owner.transaction():
            await owner.execute("SELECT FROM response_streams FOR UPDATE")
            await process.writer.put(stream, event(0))
            await until_blocked(database)
            taking = asyncio.create_task(subscription.take())
            # Whatever was ready to run has run once another statement has come back.
            await owner.fetchval("SELECT 1")
            assert not taking.done()
        async with asyncio.timeout(PATIENCE):
            assert await taking == [event(0)]
    assert await numbers(owner, lease) == [(None, 0)]


async def test_what_queues_behind_one_commit_is_the_next_one_of_all_streams(
    process: StreamProcess, database: Database, owner: AnyConnection, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    leases = [await begin(owner, scope) for scope in (ann, ann, bob)]
    streams = [OpenStream(lease, KEY) for lease in leases]
    async with owner.transaction():
        await owner.execute("SELECT FROM response_streams FOR UPDATE")
        await process.writer.put(streams[0], event(0))
        await until_blocked(database)
        for stream in streams:
            first = 1 if stream is streams[0] else 0
            for number in range(first, first + 3):
                await process.writer.put(stream, event(number))
    for stream in streams:
        async with asyncio.timeout(PATIENCE):
            await process.writer.settle(stream)
    assert [await numbers(owner, lease) for lease in leases] == [
        [(None, 0), (0, 3)],
        [(None, 2)],
        [(None, 2)],
    ]
    commits = await owner.fetch("SELECT DISTINCT xmin::text FROM response_events")
    assert len(commits) == 2


class Borrowings:
    """Counts connections that were taken from a pool."""

    def __init__(self) -> None:
        self.count = 0

    def connection_acquired(self, seconds: float) -> None:
        del seconds
        self.count += 1


async def test_one_connection_is_kept_while_there_is_something_to_write(
    database_urls: DatabaseUrls, database: Database, owner: AnyConnection, make_scope: MakeScope
) -> None:
    lease = await begin(owner, await make_scope())
    stream, borrowings = OpenStream(lease, KEY), Borrowings()
    async with Database(
        database_urls.service, clock=SystemClock(), size=1, observer=borrowings
    ) as own:
        writer = StreamProcess.over(own, IdSource()).writer
        async with owner.transaction():
            await owner.execute("SELECT FROM response_streams FOR UPDATE")
            await writer.put(stream, event(0))
            await until_blocked(database)
            await writer.put(stream, event(1))
        async with asyncio.timeout(PATIENCE):
            await writer.settle(stream)
        assert await numbers(owner, lease) == [(None, 0), (0, 1)]
        assert borrowings.count == 1
        # And it is given back: there is no other for this.
        async with asyncio.timeout(PATIENCE), own.statement_without_scope() as connection:
            await connection.fetchval("SELECT 1")


async def test_what_queued_behind_a_lost_connection_is_written_by_another(
    process: StreamProcess, database: Database, owner: AnyConnection, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    lost, later = await begin(owner, ann), await begin(owner, ann)
    first, second = OpenStream(lost, KEY), OpenStream(later, KEY)
    async with owner.transaction():
        await owner.execute("SELECT FROM response_streams FOR UPDATE")
        await process.writer.put(first, event(0))
        await until_blocked(database)
        await process.writer.put(second, event(0))
        async with database.statement_without_scope() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(DATABASE_GONE):
                await process.writer.settle(first)
    async with asyncio.timeout(PATIENCE):
        await process.writer.settle(second)
    assert await numbers(owner, lost) == []
    assert await numbers(owner, later) == [(None, 0)]


class Breaking(Database):
    """Its first connection breaks as it is given back."""

    queue_more: Callable[[], Coroutine[None, None, None]] | None = None

    @asynccontextmanager
    async def statement_without_scope(self) -> AsyncGenerator[PooledConnection]:
        async with super().statement_without_scope() as connection:
            yield connection
        if self.queue_more is not None:
            queue_more, self.queue_more = self.queue_more, None
            await queue_more()
            raise ConnectionResetError


async def test_what_queued_while_a_connection_broke_that_had_written_all_is_written_by_another(
    database_urls: DatabaseUrls, owner: AnyConnection, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    written, later = await begin(owner, ann), await begin(owner, ann)
    first, second = OpenStream(written, KEY), OpenStream(later, KEY)
    async with Breaking(database_urls.service, clock=SystemClock(), size=1) as own:
        writer = StreamProcess.over(own, IdSource()).writer

        async def queue_more() -> None:
            await writer.put(second, event(0))

        own.queue_more = queue_more
        await writer.put(first, event(0))
        async with asyncio.timeout(PATIENCE):
            for stream in (first, second):
                await writer.settle(stream)
                await writer.put(stream, event(1))
                await writer.settle(stream)
    assert await numbers(owner, written) == await numbers(owner, later) == [(None, 0), (0, 1)]


async def test_without_a_connection_what_waits_for_one_fails(
    database_urls: DatabaseUrls, owner: AnyConnection, make_scope: MakeScope
) -> None:
    stream = OpenStream(await begin(owner, await make_scope()), KEY)
    closed = Database(database_urls.service, clock=SystemClock(), size=1)
    async with closed:
        pass
    writer = StreamProcess.over(closed, IdSource()).writer
    await writer.put(stream, event(0))
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(asyncpg.InterfaceError):
            await writer.settle(stream)


async def test_whoever_holds_an_older_fence_is_refused_and_nobody_else(
    process: StreamProcess, database: Database, owner: AnyConnection, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    taken, own = await begin(owner, ann, fence=2), await begin(owner, ann)
    older = OpenStream(replace(taken, fence=1), KEY)
    newer, other = OpenStream(taken, KEY), OpenStream(own, KEY)
    with process.live.subscribe(taken.response_id, is_behind=False) as subscription:
        for stream in (older, other):
            await process.writer.put(stream, event(0))
        async with asyncio.timeout(PATIENCE):
            await process.writer.settle(other)
            with pytest.raises(LeaseLostError):
                await process.writer.settle(older)
        with pytest.raises(LeaseLostError):
            await process.writer.put(older, event(1))
        second = StreamProcess.over(database, IdSource())
        await second.writer.put(newer, event(0))
        async with asyncio.timeout(PATIENCE):
            await second.writer.settle(newer)
        assert subscription._waiting == type(subscription._waiting)()
    assert await numbers(owner, taken) == await numbers(owner, own) == [(None, 0)]


async def test_a_takeover_during_the_commit_comes_before_it_or_after(
    process: StreamProcess, database: Database, owner: AnyConnection, make_scope: MakeScope
) -> None:
    lease = await begin(owner, await make_scope())
    stream = OpenStream(lease, KEY)
    async with owner.transaction():
        await owner.execute("UPDATE response_streams SET fence = fence + 1")
        await process.writer.put(stream, event(0))
        await until_blocked(database)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(LeaseLostError):
            await process.writer.settle(stream)
    assert await numbers(owner, lease) == []


async def test_who_makes_events_waits_while_too_many_are_still_to_be_written(
    process: StreamProcess, database: Database, owner: AnyConnection, make_scope: MakeScope
) -> None:
    lease = await begin(owner, await make_scope())
    stream = OpenStream(lease, KEY)

    async def make() -> None:
        for number in range(1000):
            await process.writer.put(stream, event(number))

    async with owner.transaction():
        await owner.execute("SELECT FROM response_streams FOR UPDATE")
        making = asyncio.create_task(make())
        await until_blocked(database)
        await owner.fetchval("SELECT 1")
        assert not making.done()
        assert len(stream._waiting) <= 128
    async with asyncio.timeout(PATIENCE):
        await making
        await process.writer.settle(stream)
    assert (await numbers(owner, lease))[-1][1] == 999


async def test_what_is_put_together_is_one_run_however_full_its_stream_is(
    process: StreamProcess, database: Database, owner: AnyConnection, make_scope: MakeScope
) -> None:
    lease = await begin(owner, await make_scope())
    stream = OpenStream(lease, KEY)
    async with owner.transaction():
        await owner.execute("SELECT FROM response_streams FOR UPDATE")
        await process.writer.put(stream, event(0))
        await until_blocked(database)
        for number in range(1, 128):
            await process.writer.put(stream, event(number))
        # Of three there is room for one.
        async with asyncio.timeout(PATIENCE):
            await process.writer.put(stream, event(128), event(129), event(130))
    async with asyncio.timeout(PATIENCE):
        await process.writer.settle(stream)
    assert await numbers(owner, lease) == [(None, 0), (0, 130)]


async def test_a_stream_holds_no_gap_and_nothing_twice(
    owner: AnyConnection, database: Database, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    lease = await begin(owner, scope)
    place = lease.response_id

    async def append(previous: int, last: int) -> bool:
        async with database.statement_without_scope() as connection:
            kept = await connection.fetch(
                "SELECT append_events(ARRAY[$1::uuid], ARRAY[1], ARRAY[$2::int], ARRAY[$3::int], '{x}', '')",
                *(place, previous, last),
            )
        return bool(kept)

    async def end(previous: int, last: int) -> bool:
        async with database.transaction(scope) as transaction:
            return bool(
                await transaction.fetchval(
                    "SELECT end_stream($1, 1, $2, $3, '', '')", place, previous, last
                )
            )

    assert await append(-1, 4)
    for keep in (append, end):
        for previous, last in ((-1, 9), (-1, 2), (5, 9), (3, 9)):
            assert not await keep(previous, last)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await keep(4, 3)
    assert await append(4, 9)
    assert not await append(4, 7)
    assert await end(9, 10)
    assert not await append(10, 11)
    assert [tuple(row) for row in await numbers(owner, lease)] == [(None, 4), (4, 9), (9, 10)]


async def test_nobody_writes_a_run_past_the_functions_that_ask_for_its_place(
    owner: AnyConnection, database: Database, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    lease = await begin(owner, scope)
    insert = (
        "INSERT INTO response_events (tenant_id, response_id, previous_number, last_number, sealed_events)"
        " VALUES ($1, $2, NULL, 1, '')"
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction(scope) as transaction:
            await transaction.execute(insert, lease.tenant_id, lease.response_id)
    # And for another run in the same place the table has no room, whoever writes it.
    await owner.execute(insert, lease.tenant_id, lease.response_id)
    for last in (1, 2):
        with pytest.raises(asyncpg.UniqueViolationError):
            await owner.execute(
                insert.replace("1, ''", f"{last}, ''"), lease.tenant_id, lease.response_id
            )


async def test_a_stream_is_ended_by_its_own_tenant_alone(
    owner: AnyConnection, database: Database, make_scope: MakeScope
) -> None:
    lease = await begin(owner, await make_scope())
    async with database.transaction(await make_scope()) as transaction:
        ended = await transaction.fetchval(
            "SELECT end_stream($1, 1, -1, 1, '', '')", lease.response_id
        )
    assert ended is False
    assert not await numbers(owner, lease)


def test_a_watcher_that_does_not_keep_up_is_sent_to_the_log() -> None:
    subscription = Subscription(is_behind=False)
    for number in range(300):
        subscription.offer([event(number)])
    assert subscription._is_behind
    assert not subscription._waiting


async def test_what_comes_while_the_log_is_read_is_not_missed() -> None:
    subscription = Subscription(is_behind=True)
    assert await subscription.take() is None
    subscription.offer([event(7)])
    assert await subscription.take() == [event(7)]
    subscription.fall_behind()
    assert await subscription.take() is None
