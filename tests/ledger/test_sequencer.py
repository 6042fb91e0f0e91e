"""Numbers without gaps, in the order of commits, whatever dies in the middle: stepped with real connections."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import ORIGIN, MemoryKey, Parts, act, make_parts
from tests.stepping import PATIENCE, rolled_back, until_blocked_or_done
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.protocol import KeyUnavailableError
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.merkle import grow, root_of
from undercroft.ledger.models import LogScope, PendingLogs
from undercroft.ledger.notes import checkpoint_text
from undercroft.ledger.repository import LedgerRepository
from undercroft.ledger.sequencer import Sequencer, SequencerSettings, next_pause
from undercroft.ledger.service import Ledger

REPOSITORY = LedgerRepository()


async def leaves_of(database: Database, member: Member) -> list[bytes]:
    """The log, after checking that positions and checkpoint are those of its entries."""
    async with database.transaction(member) as transaction:
        state = await REPOSITORY.get_log_state(transaction, member.tenant_id)
        rows = await transaction.fetch(
            "SELECT position, leaf FROM ledger_entries WHERE position < $1 ORDER BY position",
            state.size,
        )
    leaves = [row["leaf"] for row in rows]
    assert [row["position"] for row in rows] == list(range(len(rows)))
    assert len(leaves) == state.size
    if state.checkpoint is not None:
        origin = f"undercroft.local/ledger/{state.id.hex}"
        root = root_of(grow(0, (), leaves).frontier)
        assert state.checkpoint.startswith(checkpoint_text(origin, len(leaves), root) + "\n— ")
    return leaves


async def append(parts: Parts, database: Database, member: Member, *numbers: int) -> list[str]:
    async with database.transaction(member) as transaction:
        ids = await parts.ledger.append(transaction, member, *map(act, numbers))
    return [f"entry_{entry.hex}" for entry in ids]


def ids_of(leaves: list[bytes]) -> list[str]:
    return [json.loads(leaf)["id"] for leaf in leaves]


async def test_entries_get_numbers_in_the_order_they_were_appended_in(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    first = await append(parts, database, member, 1, 2, 3)
    second = await append(parts, database, member, 4)
    assert await parts.sequencer.sequence_all()
    assert ids_of(await leaves_of(database, member)) == first + second
    assert not await parts.sequencer.sequence_all()


async def test_positions_have_no_gaps_under_concurrent_appenders_and_sequencers(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    members = [await make_scope(), await make_scope()]
    others = make_parts(database, batch=3)
    appended: dict[int, list[list[str]]] = {0: [], 1: []}

    async def write(which: int) -> None:
        for number in range(12):
            appended[which].append(await append(parts, database, members[which], number, number))

    async def number(sequencer_parts: Parts) -> None:
        while not writers.done():
            await sequencer_parts.sequencer.sequence_all()

    writers = asyncio.gather(*(write(which) for which in (0, 0, 1)))
    await asyncio.gather(writers, number(parts), number(others))
    while await parts.sequencer.sequence_all():
        pass
    for which, member in enumerate(members):
        ids = ids_of(await leaves_of(database, member))
        assert sorted(ids) == sorted(chain(*appended[which]))
        for pair in appended[which]:
            assert ids.index(pair[1]) == ids.index(pair[0]) + 1


async def test_what_committed_before_another_began_has_the_lower_number(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    async with database.transaction(member) as open_one:
        # Began first and commits last: neither before nor after the others.
        (slow,) = await parts.ledger.append(open_one, member, act(0))
        before = await append(parts, database, member, 1)
        after = await append(parts, database, member, 2)
        assert await parts.sequencer.sequence(member.tenant_id) == 2
        assert ids_of(await leaves_of(database, member)) == before + after
        last = await append(parts, database, member, 3)
    assert await parts.sequencer.sequence(member.tenant_id) == 2
    ids = ids_of(await leaves_of(database, member))
    assert ids == [*before, *after, f"entry_{slow.hex}", *last]


async def test_an_entry_and_what_it_is_about_commit_or_roll_back_together(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    async with rolled_back(database, member) as transaction:
        await parts.ledger.append(transaction, member, act(1))
    assert not await parts.sequencer.sequence_all()
    assert await leaves_of(database, member) == []


async def test_a_denial_stays_when_the_refused_act_rolls_back(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    async with rolled_back(database, member):
        await parts.ledger.append_denial(member, act(1))
    await parts.sequencer.sequence_all()
    assert len(await leaves_of(database, member)) == 1


async def test_a_sequencer_that_dies_midway_leaves_nothing_and_another_goes_on(
    parts: Parts, database: Database, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    member = await make_scope()
    ids = await append(parts, database, member, 1, 2, 3)
    await parts.keys.get(member.tenant_id)
    dying = await asyncpg.connect(database_urls.service)
    await dying.execute("BEGIN")
    await dying.execute(
        "SELECT set_config('undercroft.tenant_id', $1, true)", str(member.tenant_id)
    )
    assert await REPOSITORY.lock_log(dying) is not None
    assert len((await REPOSITORY.number_pending_entries(dying, 2)).leaves) == 2
    # It has the log: the other leaves it alone, and waits for nothing.
    assert await asyncio.wait_for(parts.sequencer.sequence(member.tenant_id), PATIENCE) == 0
    dying.terminate()
    async with asyncio.timeout(PATIENCE):
        while await parts.sequencer.sequence(member.tenant_id) == 0:
            pass
    assert ids_of(await leaves_of(database, member)) == ids


async def test_a_sequencer_that_stalls_loses_its_log(
    parts: Parts, database: Database, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    member = await make_scope()
    ids = await append(parts, database, member, 1)
    await parts.keys.get(member.tenant_id)
    stalled = await asyncpg.connect(database_urls.service)
    try:
        await stalled.execute("BEGIN")
        await stalled.execute(
            "SELECT set_config('undercroft.tenant_id', $1, true)", str(member.tenant_id)
        )
        assert await REPOSITORY.lock_log(stalled) is not None
        running = asyncio.create_task(parts.sequencer.run())
        # The longest stall is a second, in queries.sql: two seconds in all.
        assert SequencerSettings().poll_seconds + SequencerSettings().gather_seconds < 1
        async with asyncio.timeout(PATIENCE):
            while not await leaves_of(database, member):
                pass
        running.cancel()
        await asyncio.wait([running])
    finally:
        stalled.terminate()
    assert ids_of(await leaves_of(database, member)) == ids


async def _race(database: Database, member: Member) -> tuple[int, bool]:
    """Two sequencers at one log: the second comes while the first has numbered and not committed.

    Returns:
        How many entries the second numbered, and whether it had to wait.
    """
    second = make_parts(database).sequencer
    async with database.transaction(LogScope(member.tenant_id)) as transaction:
        assert await REPOSITORY.lock_log(transaction) is not None
        leaves = (await REPOSITORY.number_pending_entries(transaction, 10)).leaves
        head = grow(0, (), leaves)
        race = asyncio.create_task(second.sequence(member.tenant_id))
        waited = await until_blocked_or_done(database, race)
        await REPOSITORY.advance_log(transaction, 0, head, 1, "signed")
    return await race, waited


async def test_two_sequencers_at_once_number_nothing_twice(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    await append(parts, database, member, 1, 2)
    await parts.keys.get(member.tenant_id)
    assert await _race(database, member) == (0, False)


async def test_without_the_lock_the_second_sequencer_runs_into_the_first(
    parts: Parts, database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    source = await owner.fetchval("SELECT pg_get_functiondef('lock_ledger'::regproc)")
    assert "FOR NO KEY UPDATE OF l SKIP LOCKED" in source
    await owner.execute(source.replace("FOR NO KEY UPDATE OF l SKIP LOCKED", ""))
    member = await make_scope()
    await append(parts, database, member, 1, 2)
    await parts.keys.get(member.tenant_id)
    # Even then nothing is numbered twice: the old size is a fence behind the lock.
    with pytest.raises(asyncpg.SerializationError):
        await _race(database, member)


async def test_the_service_can_neither_change_nor_remove_what_is_in_the_ledger(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    await append(parts, database, member, 1)
    await parts.sequencer.sequence_all()
    await append(parts, database, member, 2)
    for statement in (
        "UPDATE ledger_entries SET leaf = 'x'",
        "DELETE FROM ledger_entries",
        "INSERT INTO ledger_entries (tenant_id) VALUES (current_tenant())",
        "UPDATE ledger_pending SET leaf = 'x'",
        "DELETE FROM ledger_pending",
        "INSERT INTO ledger_pending (tenant_id, xid) VALUES (current_tenant(), '3')",
        "DELETE FROM ledger_tiles",
        "UPDATE ledger_logs SET size = 0",
        "UPDATE ledger_keys SET public_key = 'x'",
        "DELETE FROM ledger_keys",
        "TRUNCATE ledger_entries",
    ):
        async with database.transaction(member) as transaction:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await transaction.execute(statement)


async def test_not_even_the_sequencers_role_can_change_an_entry(
    owner: AnyConnection,
) -> None:
    for table in ("ledger_entries", "ledger_tiles"):
        for right in ("UPDATE", "DELETE", "TRUNCATE"):
            assert not await owner.fetchval(
                "SELECT has_table_privilege('undercroft_system', $1, $2)", table, right
            )


async def test_the_running_sequencer_numbers_what_is_appended(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    running = asyncio.create_task(parts.sequencer.run())
    try:
        async with asyncio.timeout(PATIENCE):
            for number in range(3):
                (entry_id,) = await append(parts, database, member, number)
                while entry_id not in ids_of(await leaves_of(database, member)):
                    pass
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.mark.parametrize(
    ("pause", "largest", "was_awake", "expected"),
    [
        # Appended here: soon again, until what was woken for has surely committed.
        (0.75, 0, True, 0.2),
        (0.2, 7, True, 0.2),
        (0.2, 0, False, 0.4),
        (0.4, 0, False, 0.75),
        # Left by another process, which numbers its own: that it is alive is all there is to see to.
        (0.75, 7, False, 0.75),
        # More than a batch: whoever left it does not keep up, or is gone.
        (0.75, 1024, False, 0.2),
    ],
)
def test_a_sequencer_hurries_for_what_is_its_own_or_too_much(
    pause: float, largest: int, was_awake: bool, expected: float
) -> None:
    settings = SequencerSettings(batch=1024, poll_seconds=0.75, gather_seconds=0.2)
    assert next_pause(settings, pause, largest=largest, was_awake=was_awake) == expected


async def test_a_log_that_cannot_be_signed_does_not_hold_up_the_others(
    parts: Parts, database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    broken, sound = sorted([await make_scope(), await make_scope()], key=lambda m: m.tenant_id)
    await parts.keys.get(broken.tenant_id)
    await owner.execute(
        "UPDATE ledger_keys SET wrapped_private_key = sha256('') WHERE tenant_id = $1",
        broken.tenant_id,
    )
    for member in (broken, sound):
        await append(parts, database, member, 1)
    assert await make_parts(database).sequencer.sequence_all()
    assert len(await leaves_of(database, sound)) == 1
    assert await leaves_of(database, broken) == []


async def test_without_pending_entries_no_log_is_touched(
    parts: Parts, database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    member = await make_scope()
    await append(parts, database, member, 1)
    await parts.sequencer.sequence_all()
    before = await owner.fetchval("SELECT xmin::text FROM ledger_logs")
    assert await parts.sequencer.sequence(member.tenant_id) == 0
    assert await owner.fetchval("SELECT xmin::text FROM ledger_logs") == before


async def test_the_clock_of_an_append_is_the_entrys_time(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    before = SystemClock().now()
    await append(parts, database, member, 1)
    await parts.sequencer.sequence_all()
    (leaf,) = await leaves_of(database, member)
    assert json.loads(leaf)["time"][:16] >= before.isoformat()[:16]


async def test_a_tenant_whose_key_is_missing_does_not_hold_up_those_after_it(
    database: Database, make_scope: MakeScope
) -> None:
    class Lacking(MemoryKey):
        """A keeper that lost one tenant's key."""

        lost: bytes

        async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            if context.startswith(self.lost):
                raise KeyUnavailableError("It is gone.", code="key_missing")
            return await super().unwrap(wrapped, context)

    members = sorted([await make_scope() for _ in range(3)], key=lambda each: each.tenant_id.bytes)
    provider = Lacking()
    provider.lost = members[0].tenant_id.bytes
    sequencer = Sequencer(database, LogKeys(database, provider, ORIGIN))
    ledger = Ledger(database, IdSource(), SystemClock())
    for member in members:
        async with database.transaction(member) as transaction:
            await ledger.append(transaction, member, act())
    await sequencer.sequence_all()
    sizes: list[int] = []
    for member in members:
        async with database.transaction(member) as transaction:
            sizes.append(await transaction.fetchval("SELECT size FROM ledger_logs"))
    assert sizes == [0, 1, 1]


async def test_a_round_that_fails_is_not_the_sequencers_end(
    database: Database, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = await make_scope()
    parts = make_parts(database)
    listing, failed = LedgerRepository.list_pending_ledgers, asyncio.Event()

    async def fail_once(
        self: LedgerRepository, connection: AnyConnection, after: UUID, from_xid: int, limit: int
    ) -> PendingLogs:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("nobody foresaw this")
        return await listing(self, connection, after, from_xid, limit)

    monkeypatch.setattr(LedgerRepository, "list_pending_ledgers", fail_once)
    settings = SequencerSettings(failure_seconds=0)
    running = asyncio.create_task(Sequencer(database, parts.keys, settings).run())
    try:
        await append(parts, database, member, 1)
        async with asyncio.timeout(PATIENCE):
            while not await leaves_of(database, member):
                pass
        assert failed.is_set()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_the_oldest_pending_entry_is_told_unless_its_log_cannot_be_signed(
    parts: Parts, database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    member = await make_scope()
    assert await parts.sequencer.find_oldest_pending() is None
    before = SystemClock().now()
    await append(parts, database, member, 1)
    await append(parts, database, member, 2)
    oldest = await parts.sequencer.find_oldest_pending()
    assert oldest is not None
    assert before <= oldest <= SystemClock().now()
    await parts.keys.get(member.tenant_id)
    await owner.execute("UPDATE ledger_keys SET wrapped_private_key = sha256('')")
    lacking = make_parts(database).sequencer
    assert not await lacking.sequence_all()
    assert await lacking.find_oldest_pending() is None
    assert await parts.sequencer.find_oldest_pending() == oldest
    await parts.sequencer.sequence_all()
    assert await parts.sequencer.find_oldest_pending() is None


async def test_numbers_do_not_wait_behind_what_waits_for_the_disk(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await append(parts, database, ann, 1)
    disk = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    upload = asyncio.create_task(asyncio.to_thread(disk.wait))
    try:
        async with asyncio.timeout(PATIENCE):
            assert await parts.sequencer.sequence(ann.tenant_id) == 1
    finally:
        disk.set()
        await upload
