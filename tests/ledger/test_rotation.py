"""Rotations of a log's signing key: under the log's lock, known to every process, on record as the operator's."""

import asyncio
import json

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, act, make_parts
from tests.stepping import until_blocked
from undercroft.kit.database import Database
from undercroft.ledger.models import OPERATOR_ID, AuditFilter, LogScope
from undercroft.ledger.repository import LedgerRepository
from undercroft.ledger.verification.entries import Entry, read_entry

REPOSITORY = LedgerRepository()


async def append(parts: Parts, database: Database, member: Member) -> None:
    async with database.transaction(member) as transaction:
        await parts.ledger.append(transaction, member, act())
    await parts.sequencer.sequence(member.tenant_id)


async def numbers(database: Database, member: Member) -> list[int]:
    async with database.transaction(member) as transaction:
        rows = await transaction.fetch("SELECT number FROM ledger_keys ORDER BY 1")
    return [row["number"] for row in rows]


async def test_a_rotation_waits_for_the_sequencer_that_is_signing(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    await append(parts, database, member)
    async with database.transaction(LogScope(member.tenant_id)) as signing:
        assert await REPOSITORY.lock_log(signing) is not None
        rotating = asyncio.create_task(make_parts(database).rotation.rotate(member.tenant_id))
        await until_blocked(database)
        assert await numbers(database, member) == [1]
    assert (await rotating).number == 2
    assert await numbers(database, member) == [1, 2]
    async with database.transaction(member) as transaction:
        signed_by = await transaction.fetchval("SELECT key_number FROM ledger_logs")
    assert signed_by == 2, "the rotation signs: what is published is never behind it"


async def test_every_process_publishes_the_new_key_at_once(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    other = make_parts(database)
    await append(parts, database, member)
    (first,) = (await other.reader.describe(member)).verifier_keys
    await parts.rotation.rotate(member.tenant_id)
    published = (await other.reader.describe(member)).verifier_keys
    assert published == (await parts.reader.describe(member)).verifier_keys
    assert published[1] == first != published[0]


async def test_the_operator_is_the_actor_of_a_rotation(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    await append(parts, database, member)
    await parts.rotation.rotate(member.tenant_id)
    await parts.sequencer.sequence(member.tenant_id)
    wanted = AuditFilter(actor_id=OPERATOR_ID)
    (entry,) = await parts.audit.list_entries(member, None, wanted, limit=5)
    assert (entry.action, entry.version) == ("ledger_key.rotate", 2)
    assert await parts.audit.list_entries(member, member.principal_id, wanted, limit=5) == []
    opened = await parts.audit.open_entry(member, None, entry.id)
    assert json.loads(opened.leaf)["actor"] == "operator"
    assert [opening.field for opening in opened.openings] == ["resource"]
    log = (await parts.reader.describe(member)).id
    assert isinstance(read_entry(opened.leaf, log.hex), Entry)
    forged = opened.leaf.replace(b'"operator"', b'"operators"')
    assert not isinstance(read_entry(forged, log.hex), Entry)
