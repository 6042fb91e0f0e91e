"""While somebody holds an old snapshot, numbering does not wade again and again through what it has moved."""

import asyncio

import asyncpg

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, act, make_parts
from tests.stepping import PATIENCE, rolled_back
from undercroft.kit.database import Database, Transaction
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.merkle import grow
from undercroft.ledger.models import LogScope, NumberedEntries, PendingLogs
from undercroft.ledger.repository import LedgerRepository
from undercroft.ledger.sequencer import Sequencer, SequencerSettings

REPOSITORY = LedgerRepository()
MOVED = 4000


async def append(parts: Parts, database: Database, member: Member, count: int = 1) -> None:
    for start in range(0, count, 1000):
        async with database.transaction(member) as transaction:
            acts = [act(number) for number in range(start, min(start + 1000, count))]
            await parts.ledger.append(transaction, member, *acts)


async def wait_for_older_transactions(database: Database) -> None:
    """Until every transaction that was running has ended: those of other tests' databases hold back numbering too."""
    async with database.transaction_without_scope() as transaction:
        now = await transaction.fetchval("SELECT pg_current_xact_id()")
    async with asyncio.timeout(PATIENCE):
        while True:
            async with database.transaction_without_scope() as transaction:
                if await transaction.fetchval(
                    "SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1", now
                ):
                    return


async def blocks_of(transaction: Transaction) -> int:
    """How often this session has looked at a block of what is pending, or of its index."""
    return int(
        await transaction.fetchval(
            "SELECT sum(pg_stat_get_xact_blocks_fetched(c.oid)) FROM pg_class AS c"
            " WHERE c.relname IN ('ledger_pending', 'ledger_pending_in_order')"
        )
    )


async def test_the_cost_of_the_next_entry_does_not_grow_with_what_was_moved(
    parts: Parts, database: Database, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    member = await make_scope()
    await parts.keys.get(member.tenant_id)
    holder = await asyncpg.connect(database_urls.migration)
    try:
        await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await holder.fetchval("SELECT count(*) FROM pg_class")
        for count in (MOVED, 1):
            await append(parts, database, member, count)
        await wait_for_older_transactions(database)
        scope = LogScope(member.tenant_id)
        async with database.transaction(scope) as transaction:
            moved = await REPOSITORY.number_pending_entries(transaction, MOVED + 1)
            growth = grow(0, (), moved.leaves)
            await REPOSITORY.advance_log(transaction, 0, growth, 1, "signed")
        assert growth.size == MOVED + 1
        await append(parts, database, member)
        costs: list[int] = []
        for from_xid in (0, moved.settled_below):
            async with rolled_back(database, scope) as transaction:
                before = await blocks_of(transaction)
                found = await REPOSITORY.number_pending_entries(transaction, 10, from_xid)
                assert len(found.leaves) == 1
                costs.append(await blocks_of(transaction) - before)
        assert costs[0] > 20 * costs[1], costs
    finally:
        await holder.close()


class Watched(LedgerRepository):
    """Notes from which transaction id on a sequencer looks."""

    def __init__(self) -> None:
        self.listed: list[int] = []
        self.numbered: list[int] = []
        self.failure: Exception | None = None
        self.recovered = asyncio.Event()

    async def list_pending_ledgers(
        self, connection: AnyConnection, after: object, from_xid: int, limit: int
    ) -> PendingLogs:
        self.listed.append(from_xid)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        self.recovered.set()
        return await super().list_pending_ledgers(connection, after, from_xid, limit)  # pyright: ignore[reportArgumentType] - what it was called with

    async def number_pending_entries(
        self, connection: AnyConnection, limit: int, from_xid: int = 0
    ) -> NumberedEntries:
        self.numbered.append(from_xid)
        return await super().number_pending_entries(connection, limit, from_xid)


def watch(sequencer: Sequencer) -> Watched:
    sequencer._repository = watched = Watched()
    return watched


async def test_a_sequencer_goes_on_from_where_nothing_is_pending_any_more(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    watched = watch(parts.sequencer)
    for _ in range(3):
        await append(parts, database, member)
        await wait_for_older_transactions(database)
        assert await parts.sequencer.sequence_all()
    for looks in (watched.listed, watched.numbered):
        assert looks[0] == 0
        assert 0 < looks[1] < looks[2]


async def test_what_was_begun_before_and_commits_later_is_found(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member, other = await make_scope(), await make_scope()
    watched = watch(parts.sequencer)
    async with database.transaction(other) as elsewhere, database.transaction(member) as slow:
        await parts.ledger.append(elsewhere, other, act(1))
        await parts.ledger.append(slow, member, act(1))
        for _ in range(3):
            await append(parts, database, member)
            assert await parts.sequencer.sequence_all()
    assert watched.listed[-1] > 0
    assert await parts.sequencer.sequence_all()
    for scope, size in ((member, 4), (other, 1)):
        async with database.transaction(scope) as transaction:
            assert await transaction.fetchval("SELECT size FROM ledger_logs") == size


async def test_what_is_left_of_a_full_batch_or_held_by_another_process_is_found(
    database: Database, make_scope: MakeScope
) -> None:
    members = [await make_scope() for _ in range(2)]
    parts = make_parts(database, batch=2)
    for member in members:
        await append(parts, database, member, 5)
    async with database.transaction(LogScope(members[0].tenant_id)) as other_process:
        await parts.keys.get(members[0].tenant_id)
        assert await REPOSITORY.lock_log(other_process) is not None
        for _ in range(4):
            await parts.sequencer.sequence_all()
    while await parts.sequencer.sequence_all():
        pass
    for member in members:
        async with database.transaction(member) as transaction:
            assert await transaction.fetchval("SELECT size FROM ledger_logs") == 5


async def test_after_the_database_was_away_a_sequencer_looks_from_the_beginning(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    """It may have come back from a backup, with transaction ids that are lower."""
    member = await make_scope()
    sequencer = Sequencer(database, parts.keys, SequencerSettings(poll_seconds=0, gather_seconds=0))
    await append(parts, database, member)
    assert await sequencer.sequence_all()
    watched = watch(sequencer)
    watched.failure = ConnectionResetError()
    running = asyncio.create_task(sequencer.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await watched.recovered.wait()
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert watched.listed[0] > 0 == watched.listed[1]


async def test_an_id_that_a_crash_gives_out_again_is_not_taken_for_settled(
    parts: Parts, database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    """The end of a transaction that failed need not be on disk: after a crash PostgreSQL goes on from before its id."""
    member = await make_scope()
    await append(parts, database, member)
    assert await parts.sequencer.sequence_all()
    async with rolled_back(database, member) as transaction:
        again = await transaction.fetchval("SELECT pg_current_xact_id()::text")
    assert not await parts.sequencer.sequence_all()
    await append(parts, database, member)
    await owner.execute("UPDATE ledger_pending SET xid = $1::text::xid8", again)
    assert await parts.sequencer.sequence_all()
