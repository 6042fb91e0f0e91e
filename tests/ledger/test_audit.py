"""Who sees which entries, in which order, at which cost; and what opens a commitment."""

import hashlib
import json
from datetime import timedelta

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, act
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.ledger.audit import AuditService
from undercroft.ledger.models import AuditEntry, AuditFilter, Outcome

ALL = AuditFilter()


class FileSalts:
    """Keeps the salts of :func:`act`'s files until they are erased."""

    erased = False

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        del transaction, scope
        if self.erased or not reference.startswith("file-"):
            return None
        return hashlib.sha256(int(reference[5:], 16).to_bytes(8)).digest()


async def do(
    parts: Parts, database: Database, actor: Member, *numbers: int, **more: object
) -> None:
    for number in numbers:
        async with database.transaction(actor) as transaction:
            await parts.ledger.append(transaction, actor, act(number, **more))  # pyright: ignore[reportArgumentType] - the fields of Act
    await parts.sequencer.sequence_all()


def numbers(entries: list[AuditEntry]) -> list[int]:
    return [int(entry.resource[5:], 16) for entry in entries]


async def test_owners_and_actors_see_theirs_and_admins_all(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    owner = await make_scope()
    colleague = await make_scope(owner.tenant_id)
    stranger = await make_scope()
    await do(parts, database, owner, 1, owner_id=owner.principal_id)
    await do(parts, database, colleague, 2, owner_id=owner.principal_id)
    await do(parts, database, colleague, 3)
    await do(parts, database, colleague, 4, owner_id=colleague.principal_id)

    async def seen(scope: Member, viewer: Member | None) -> list[int]:
        viewer_id = None if viewer is None else viewer.principal_id
        return numbers(await parts.audit.list_entries(scope, viewer_id, ALL, limit=10))

    assert await seen(owner, owner) == [2, 1]
    assert await seen(colleague, colleague) == [4, 3, 2]
    assert await seen(owner, None) == [4, 3, 2, 1]
    assert await seen(stranger, None) == await seen(stranger, stranger) == []


async def test_whoever_was_refused_does_not_learn_from_the_audit_what_is_there(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    owner = await make_scope()
    colleague = await make_scope(owner.tenant_id)
    refused = {"owner_id": owner.principal_id, "outcome": Outcome.DENIED}
    await do(parts, database, colleague, 1, **refused)
    by_owner, by_colleague, by_admin = [
        await parts.audit.list_entries(owner, viewer, ALL, limit=10)
        for viewer in (owner.principal_id, colleague.principal_id, None)
    ]
    assert numbers(by_owner) == numbers(by_admin) == [1]
    assert by_colleague == []
    exported = [
        entry
        async for page in await parts.audit.export(colleague, colleague.principal_id, ALL)
        for entry in page
    ]
    assert exported == []
    with pytest.raises(NotFoundError):
        await parts.audit.open_entry(colleague, colleague.principal_id, by_owner[0].id)
    async with database.transaction(colleague) as transaction:
        (pending,) = await parts.ledger.append(transaction, colleague, act(2, **refused))  # pyright: ignore[reportArgumentType] - the fields of Act
    with pytest.raises(NotFoundError):
        await parts.reader.wait_for_entry(colleague, pending, colleague.principal_id)


@pytest.mark.parametrize("sees_all", [True, False])
async def test_what_was_refused_can_be_left_out(
    parts: Parts, database: Database, make_scope: MakeScope, *, sees_all: bool
) -> None:
    member = await make_scope()
    viewer = None if sees_all else member.principal_id
    await do(parts, database, member, 1, owner_id=member.principal_id)
    await do(parts, database, member, 2, owner_id=member.principal_id, outcome=Outcome.DENIED)
    await do(parts, database, member, 3)

    async def found(outcome: Outcome | None) -> list[int]:
        wanted = AuditFilter(outcome=outcome)
        return numbers(await parts.audit.list_entries(member, viewer, wanted, limit=10))

    assert [await found(outcome) for outcome in (None, Outcome.ALLOWED, Outcome.DENIED)] == [
        [3, 2, 1],
        [3, 1],
        [2],
    ]


@pytest.mark.parametrize("sees_all", [True, False])
async def test_filters_and_pages(
    parts: Parts, database: Database, make_scope: MakeScope, *, sees_all: bool
) -> None:
    member = await make_scope()
    other = await make_scope(member.tenant_id)
    viewer = None if sees_all else member.principal_id
    await do(parts, database, member, 1, 2, 3, owner_id=member.principal_id)
    middle = SystemClock().now()
    await do(parts, database, other, 1, 2, action="document.update", owner_id=member.principal_id)

    async def found(wanted: AuditFilter) -> list[int]:
        return numbers(await parts.audit.list_entries(member, viewer, wanted, limit=10))

    assert await found(ALL) == [2, 1, 3, 2, 1]
    assert await found(AuditFilter(resource=f"file-{1:032x}")) == [1, 1]
    assert await found(AuditFilter(actor_id=other.principal_id)) == [2, 1]
    assert await found(AuditFilter(actions=frozenset({"document.read"}))) == [3, 2, 1]
    assert await found(AuditFilter(since=middle)) == [2, 1]
    assert await found(AuditFilter(until=middle)) == [3, 2, 1]
    assert await found(
        AuditFilter(f"file-{1:032x}", other.principal_id, frozenset({"document.update"}))
    ) == [1]
    assert await found(AuditFilter(since=middle + timedelta(days=1))) == []

    pages: list[int] = []
    after = None
    while page := await parts.audit.list_entries(member, viewer, ALL, after=after, limit=2):
        pages += numbers(page)
        after = page[-1].id
    assert pages == [2, 1, 3, 2, 1]
    exported = [numbers(list(page)) async for page in await parts.audit.export(member, viewer, ALL)]
    assert exported == [[2, 1, 3, 2, 1]]


async def test_a_cursor_of_somebody_elses_is_none(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    other = await make_scope(member.tenant_id)
    await do(parts, database, other, 1)
    (entry,) = await parts.audit.list_entries(member, None, ALL, limit=1)
    for viewer in (member.principal_id,):
        with pytest.raises(NotFoundError):
            await parts.audit.list_entries(member, viewer, ALL, after=entry.id, limit=1)
        with pytest.raises(NotFoundError):
            await parts.audit.open_entry(member, viewer, entry.id)
        with pytest.raises(NotFoundError):
            await parts.reader.prove_entry(member, entry.id, viewer)


async def test_openings_open_the_commitments_until_they_are_erased(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    salts = FileSalts()
    audit = AuditService(database, parts.reader, parts.ledger, [salts])
    content = hashlib.sha256(b"text").digest()
    await do(
        parts,
        database,
        member,
        1,
        content=content,
        purpose="care",
        on_behalf_of=member.principal_id,
    )
    (entry,) = await audit.list_entries(member, member.principal_id, ALL, limit=1)
    opened = await audit.open_entry(member, member.principal_id, entry.id)
    fields = json.loads(opened.leaf)
    assert {opening.field for opening in opened.openings} == {
        "actor",
        "on_behalf_of",
        "resource",
        "purpose",
        "content",
    }
    for opening in opened.openings:
        value = content if opening.value is None else opening.value.encode()
        assert hashlib.sha256(opening.salt + value).hexdigest() == fields[opening.field]
    salts.erased = True
    opened = await audit.open_entry(member, member.principal_id, entry.id)
    assert {opening.field for opening in opened.openings} == {"actor", "on_behalf_of"}


async def test_the_database_never_reads_all_entries(
    parts: Parts, database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    member = await make_scope()
    await do(parts, database, member, 1, owner_id=member.principal_id)
    for table, place in (("ledger_entries", "n"), ("ledger_pending", None)):
        position = "position, " if place else ""
        value = "n, " if place else ""
        await owner.execute(
            f"INSERT INTO {table} (tenant_id, {position}id, occurred_at, actor_id, owner_id, action, resource,"
            f" outcome, leaf) SELECT CASE WHEN n % 50 = 0 THEN $1 ELSE gen_random_uuid() END, {value}"
            " gen_random_uuid(), now() - n * interval '1 second', CASE WHEN n % 100 = 0 THEN $2 ELSE"
            " gen_random_uuid() END, gen_random_uuid(), 'document.read', 'file-' || n, 'allowed', 'leaf'"
            " FROM generate_series(1, 20000) AS n",
            member.tenant_id,
            member.principal_id,
        )
        await owner.execute(f"ANALYZE {table}")
    queries = load_queries("undercroft.ledger")
    nothing = "NULL, NULL, NULL, NULL, NULL, NULL, NULL"
    tenant, viewer = f"'{member.tenant_id}'", f"'{member.principal_id}'"
    calls = {
        "list_entries": [
            f"{tenant}, {nothing}, 21, NULL",
            f"{tenant}, 'file-5', {nothing[6:]}, 21, NULL",
            f"{tenant}, NULL, {viewer}, {nothing[12:]}, 21, NULL",
            f"{tenant}, NULL, NULL, NULL, NULL, NULL, now(), 5, 21, NULL",
            f"{tenant}, NULL, NULL, NULL, now() - interval '9 hours', now(), NULL, NULL, 21, NULL",
        ],
        "list_visible_entries": [f"{tenant}, {nothing}, 21, NULL, {viewer}"],
        "find_entry": [f"{tenant}, gen_random_uuid(), NULL"],
        "list_leaves": [f"{tenant}, 0, 256"],
    }
    async with database.transaction(member) as transaction:
        await transaction.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        for name, arguments in calls.items():
            await transaction.execute(f"PREPARE {name} AS {queries[name].sql}")
            for values in arguments:
                rows = await transaction.fetch(f"EXPLAIN EXECUTE {name}({values})")
                plan = "\n".join(row[0] for row in rows)
                assert "Seq Scan" not in plan, (name, values, plan)
                assert name != "list_entries" or "Sort" not in plan, (values, plan)
            await transaction.execute(f"DEALLOCATE {name}")


async def test_sequencing_costs_what_is_pending(
    make_scope: MakeScope, owner: AnyConnection
) -> None:
    """The functions' statements, planned over a large log and many tenants' pending entries."""
    member = await make_scope()
    await owner.execute(
        "INSERT INTO ledger_pending (tenant_id, id, occurred_at, actor_id, action, resource, outcome, leaf)"
        " SELECT gen_random_uuid(), gen_random_uuid(), now(), gen_random_uuid(), 'a.b', 'file-1', 'allowed', 'leaf'"
        " FROM generate_series(1, 20000)"
    )
    await owner.execute("ANALYZE ledger_pending")
    body = str(
        await owner.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'number_pending_entries'")
    )
    statement = (
        body.replace("row_limit", "100")
        .replace("from_xid", "'3'::xid8")
        .replace("current_tenant()", f"'{member.tenant_id}'::uuid")
    )
    plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {statement}"))
    assert "ledger_pending_in_order" in plan
    assert "Tid Scan" in plan
    assert "Seq Scan on ledger_pending" not in plan
    body = str(
        await owner.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'list_pending_ledgers'")
    )
    statement = (
        body.replace("row_limit", "100")
        .replace("from_xid", "'3'::xid8")
        .replace("> after", "> '00000000-0000-0000-0000-000000000000'")
    )
    plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {statement}"))
    assert "Seq Scan" not in plan


async def test_readings_of_the_audit_are_in_it(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await do(parts, database, ann, 1, owner_id=ann.principal_id)
    (entry,) = await parts.audit.list_entries(ann, ann.principal_id, ALL, limit=5)
    await parts.audit.open_entry(ann, ann.principal_id, entry.id)
    # On record before the first page is asked for.
    await parts.audit.export(ann, ann.principal_id, ALL)
    await parts.sequencer.sequence_all()
    seen = await parts.audit.list_entries(ann, ann.principal_id, ALL, limit=5)
    assert [entry.action for entry in seen] == [
        "audit.export",
        "audit.read",
        "audit.read",
        "document.read",
    ]
    assert {entry.resource for entry in seen[:3]} == {f"tenant_{ann.tenant_id.hex}"}
    assert {entry.owner_id for entry in seen[:3]} == {None}


async def test_where_the_ledger_cannot_be_written_the_audit_is_not_read(
    parts: Parts, database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    ann = await make_scope()
    await do(parts, database, ann, 1, owner_id=ann.principal_id)
    (entry,) = await parts.audit.list_entries(ann, None, ALL, limit=5)
    await owner.execute("REVOKE INSERT ON ledger_pending FROM undercroft_app")
    for attempt in (
        lambda: parts.audit.list_entries(ann, None, ALL, limit=5),
        lambda: parts.audit.open_entry(ann, None, entry.id),
        lambda: parts.audit.export(ann, None, ALL),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attempt()
