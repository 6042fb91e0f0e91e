"""Refusals cannot fill a log: the first have entries, the others are counted, whoever is refused at once with whom."""

import asyncio
import json
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, act
from tests.stepping import rolled_back, until_blocked
from undercroft.kit.database import Database
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.actions import Action
from undercroft.ledger.models import AuditFilter, CountedRefusals, Outcome
from undercroft.ledger.refusals import RefusalCounts
from undercroft.ledger.repository import LedgerRepository
from undercroft.ledger.verification.entries import Entry, read_entry

REPOSITORY = LedgerRepository()
SINGLE = 10
READ: Action = "document.read"


async def refuse(
    parts: Parts, actor: Member, owner_id: UUID | None, times: int, action: Action = READ
) -> None:
    """That many refusals at once, each on a connection of its own as far as there are connections."""
    denied = [
        act(number, action, owner_id=owner_id, outcome=Outcome.DENIED) for number in range(times)
    ]
    await asyncio.gather(*(parts.ledger.append_denial(actor, one) for one in denied))


async def count(database: Database, scope: Member, table: str = "ledger_pending") -> int:
    async with database.transaction(scope) as transaction:
        return int(await transaction.fetchval(f"SELECT count(*) FROM {table}"))


async def refused(database: Database, scope: Member) -> list[int]:
    """The counts there are."""
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch("SELECT refused FROM ledger_refusals ORDER BY refused")
    return [row["refused"] for row in rows]


async def told(database: Database, scope: Member) -> list[int]:
    """What the entries that stand for more refusals say."""
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT refusals FROM ledger_pending WHERE refusals IS NOT NULL ORDER BY ordinal"
        )
    return [row["refusals"] for row in rows]


async def end_the_minute(owner: AnyConnection) -> None:
    """Let every count have begun a minute earlier."""
    await owner.execute("ALTER TABLE ledger_refusals NO FORCE ROW LEVEL SECURITY")
    await owner.execute("UPDATE ledger_refusals SET since = since - interval '1 minute'")


@pytest.fixture
def counts(parts: Parts, database: Database) -> RefusalCounts:
    return RefusalCounts(database, parts.ledger)


async def test_of_many_refusals_at_once_ten_have_entries_and_all_are_counted(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    eve = await make_scope(ann.tenant_id)
    await refuse(parts, eve, ann.principal_id, 200)
    assert await count(database, ann) == SINGLE
    assert await refused(database, ann) == [200]


async def test_the_last_entry_goes_to_one_of_two_who_are_refused_at_once(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    eve = await make_scope(ann.tenant_id)
    await refuse(parts, eve, ann.principal_id, SINGLE - 1)
    async with database.transaction(eve) as first:
        denied = act(1, owner_id=ann.principal_id, outcome=Outcome.DENIED)
        await parts.ledger.append(first, eve, denied)
        second = asyncio.create_task(refuse(parts, eve, ann.principal_id, 1))
        await until_blocked(database)
    await second
    assert (await count(database, ann), await refused(database, ann)) == (SINGLE, [SINGLE + 1])


async def test_a_refusal_that_comes_to_nothing_leaves_its_entry_to_the_next(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    eve = await make_scope(ann.tenant_id)
    await refuse(parts, eve, ann.principal_id, SINGLE - 1)
    async with rolled_back(database, eve) as first:
        denied = act(1, owner_id=ann.principal_id, outcome=Outcome.DENIED)
        await parts.ledger.append(first, eve, denied)
        second = asyncio.create_task(refuse(parts, eve, ann.principal_id, 1))
        await until_blocked(database)
    await second
    assert (await count(database, ann), await refused(database, ann)) == (SINGLE, [SINGLE])


async def test_each_actor_action_and_owner_has_a_count_of_its_own(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    eve, bob = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    # Whoever floods what is their own, or nobody's, hides nothing from others.
    floods: list[tuple[Member, UUID | None, Action]] = [
        (eve, ann.principal_id, READ),
        (eve, eve.principal_id, READ),
        (eve, None, READ),
        (eve, ann.principal_id, "document.delete"),
        (bob, ann.principal_id, READ),
    ]
    for actor, owner_id, action in floods:
        await refuse(parts, actor, owner_id, SINGLE + 5, action)
    assert await count(database, ann) == 5 * SINGLE
    assert await refused(database, ann) == [SINGLE + 5] * 5


async def test_what_is_let_happen_is_not_bounded(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    for number in range(3 * SINGLE):
        await parts.ledger.append_denial(ann, act(number, owner_id=ann.principal_id))
    assert await count(database, ann) == 3 * SINGLE
    assert await refused(database, ann) == []


async def test_when_the_minute_is_over_one_entry_says_how_many_more_there_were(
    parts: Parts,
    counts: RefusalCounts,
    database: Database,
    make_scope: MakeScope,
    owner: AnyConnection,
) -> None:
    ann = await make_scope()
    eve = await make_scope(ann.tenant_id)
    await refuse(parts, eve, ann.principal_id, 40)
    await refuse(parts, eve, None, SINGLE + 1)
    await refuse(parts, eve, eve.principal_id, SINGLE)
    assert await counts.settle() == 0
    await end_the_minute(owner)
    assert await counts.settle() == 2
    assert await refused(database, ann) == []
    assert await counts.settle() == 0
    await refuse(parts, eve, ann.principal_id, 1)
    await parts.sequencer.sequence_all()

    (entry, *_) = entries = [
        entry
        for entry in await parts.audit.list_entries(
            ann, ann.principal_id, AuditFilter(actor_id=eve.principal_id), limit=50
        )
        if entry.refusals is not None
    ]
    assert len(entries) == 1, "the other is about what is the tenant's"
    assert (entry.refusals, entry.outcome, entry.action) == (30, "denied", READ)
    assert entry.resource == f"user_{ann.principal_id.hex}"
    opened = await parts.audit.open_entry(ann, ann.principal_id, entry.id)
    assert json.loads(opened.leaf)["refusals"] == 30
    assert {opening.field for opening in opened.openings} == {"actor", "resource"}
    log = (await parts.reader.describe(ann)).id.hex
    assert isinstance(read_entry(opened.leaf, log), Entry)
    for forged in (b'"refusals":0', b'"refusals":030', b'"refusals":"30"', b'"refusals":-1'):
        leaf = opened.leaf.replace(b'"refusals":30', forged)
        assert not isinstance(read_entry(leaf, log), Entry)


async def test_two_processes_that_settle_at_once_tell_it_once(
    parts: Parts,
    counts: RefusalCounts,
    database: Database,
    make_scope: MakeScope,
    owner: AnyConnection,
) -> None:
    ann = await make_scope()
    await refuse(parts, ann, ann.principal_id, 25)
    await end_the_minute(owner)
    counted = CountedRefusals(ann.tenant_id, ann.principal_id, READ, ann.principal_id)
    async with database.transaction(ann) as first:
        assert await REPOSITORY.lock_refusals(first, counted) == 15
        second = asyncio.create_task(counts.settle())
        await until_blocked(database)
        more = act(1, owner_id=ann.principal_id, outcome=Outcome.DENIED, refusals=15)
        await parts.ledger.append(first, ann, more)
    assert await second == 0
    assert await told(database, ann) == [15]


async def test_a_refusal_while_a_count_is_settled_begins_the_next(
    parts: Parts, database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    ann = await make_scope()
    await refuse(parts, ann, ann.principal_id, 25)
    await end_the_minute(owner)
    counted = CountedRefusals(ann.tenant_id, ann.principal_id, READ, ann.principal_id)
    async with database.transaction(ann) as settling:
        assert await REPOSITORY.lock_refusals(settling, counted) == 15
        refusing = asyncio.create_task(refuse(parts, ann, ann.principal_id, 1))
        await until_blocked(database)
        more = act(1, owner_id=ann.principal_id, outcome=Outcome.DENIED, refusals=15)
        await parts.ledger.append(settling, ann, more)
    await refusing
    assert await told(database, ann) == [15]
    assert await refused(database, ann) == [1]
    assert await count(database, ann) == SINGLE + 1 + 1


async def test_a_count_that_is_forgotten_loses_no_refusal(
    parts: Parts,
    counts: RefusalCounts,
    database: Database,
    make_scope: MakeScope,
    owner: AnyConnection,
) -> None:
    ann = await make_scope()
    await refuse(parts, ann, ann.principal_id, SINGLE)
    await end_the_minute(owner)
    async with database.transaction(ann) as refusing:
        denied = act(1, owner_id=ann.principal_id, outcome=Outcome.DENIED)
        await parts.ledger.append(refusing, ann, denied)
        forgetting = asyncio.create_task(counts.settle())
        await until_blocked(database)
    await forgetting
    await counts.settle()
    assert await told(database, ann) == [1]
    assert await refused(database, ann) == []


@pytest.mark.parametrize("wrong", [14, 16])
async def test_no_entry_can_say_what_was_not_counted(
    parts: Parts, make_scope: MakeScope, owner: AnyConnection, wrong: int
) -> None:
    ann = await make_scope()
    await refuse(parts, ann, ann.principal_id, 25)

    async def claim(refusals: int) -> None:
        more = act(1, owner_id=ann.principal_id, outcome=Outcome.DENIED, refusals=refusals)
        await parts.ledger.append_denial(ann, more)

    with pytest.raises(asyncpg.CheckViolationError):
        await claim(15)  # the minute is not over
    await end_the_minute(owner)
    with pytest.raises(asyncpg.CheckViolationError):
        await claim(wrong)
    await claim(15)
    with pytest.raises(asyncpg.CheckViolationError):
        await claim(15)


async def test_the_service_cannot_change_a_count(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await refuse(parts, ann, ann.principal_id, 1)
    for statement in (
        "UPDATE ledger_refusals SET refused = 1",
        "DELETE FROM ledger_refusals",
        "INSERT INTO ledger_refusals (tenant_id) VALUES (current_tenant())",
        "SELECT FROM ledger_refusals FOR UPDATE",
    ):
        async with database.transaction(ann) as transaction:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await transaction.execute(statement)
