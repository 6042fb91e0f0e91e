"""Where a service acts for a user, the ledger names both, and both see it, whatever is done and with whose things."""

from dataclasses import replace

import pytest

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, act
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.models import Act, AuditEntry, AuditFilter, Outcome


async def acting(make_scope: MakeScope) -> tuple[Member, Member, Member]:
    """A user, a service, and the user's scope while the service acts for them."""
    ann = await make_scope()
    service = await make_scope(ann.tenant_id)
    return ann, service, replace(ann, actor_id=service.principal_id)


async def see(parts: Parts, viewer: Member) -> list[AuditEntry]:
    await parts.sequencer.sequence(viewer.tenant_id)
    return await parts.audit.list_entries(viewer, viewer.principal_id, AuditFilter(), limit=10)


async def test_actor_is_the_service_on_behalf_of_the_user(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann, service, delegated = await acting(make_scope)

    def done(number: int, outcome: Outcome = Outcome.ALLOWED) -> Act:
        return act(number, owner_id=ann.principal_id, outcome=outcome)

    async with database.transaction(delegated) as transaction:
        await parts.ledger.append(transaction, delegated, done(1))
        await parts.ledger.append(transaction, delegated, done(2), done(3))
    await parts.ledger.append_denial(delegated, done(4, Outcome.DENIED))
    entries = await see(parts, ann)
    assert [entry.resource[-1] for entry in entries] == ["4", "3", "2", "1"]
    assert {(entry.actor_id, entry.on_behalf_of) for entry in entries} == {
        (service.principal_id, ann.principal_id)
    }


async def test_without_a_service_it_is_the_user_on_behalf_of_nobody(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    async with database.transaction(ann) as transaction:
        await parts.ledger.append(transaction, ann, act(1, owner_id=ann.principal_id))
    (entry,) = await see(parts, ann)
    assert (entry.actor_id, entry.on_behalf_of) == (ann.principal_id, None)


async def test_the_principal_of_row_level_security_stays_the_user(
    database: Database, make_scope: MakeScope
) -> None:
    ann, _, delegated = await acting(make_scope)
    async with database.transaction(delegated) as transaction:
        assert await transaction.fetchval("SELECT current_principal()") == ann.principal_id


async def test_both_see_what_was_done_with_what_is_anothers(
    parts: Parts, database: Database, make_scope: MakeScope
) -> None:
    ann, service, delegated = await acting(make_scope)
    owner, colleague = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    async with database.transaction(delegated) as transaction:
        (entry_id,) = await parts.ledger.append(
            transaction, delegated, act(1, owner_id=owner.principal_id)
        )
    for viewer in (ann, service, owner):
        (entry,) = await see(parts, viewer)
        assert entry.id == entry_id
        opened = await parts.audit.open_entry(viewer, viewer.principal_id, entry_id)
        assert {opening.field: opening.value for opening in opened.openings} == {
            "actor": f"user_{service.principal_id.hex}",
            "on_behalf_of": f"user_{ann.principal_id.hex}",
        }
    assert await see(parts, colleague) == []
    with pytest.raises(NotFoundError):
        await parts.audit.open_entry(colleague, colleague.principal_id, entry_id)


async def test_what_a_service_was_refused_for_a_user_is_the_owners_to_see(
    parts: Parts, make_scope: MakeScope
) -> None:
    ann, service, delegated = await acting(make_scope)
    owner = await make_scope(ann.tenant_id)
    refused = act(1, owner_id=owner.principal_id, outcome=Outcome.DENIED)
    await parts.ledger.append_denial(delegated, refused)
    assert len(await see(parts, owner)) == 1
    assert await see(parts, ann) == await see(parts, service) == []


async def test_what_was_done_for_somebody_is_found_by_an_index(
    owner: AnyConnection, make_scope: MakeScope
) -> None:
    await make_scope()
    await owner.execute("SET enable_seqscan = off")
    plan = await owner.fetch(
        "EXPLAIN SELECT id FROM ledger_entries WHERE tenant_id = gen_random_uuid()"
        " AND on_behalf_of = gen_random_uuid() ORDER BY occurred_at DESC, position DESC LIMIT 20"
    )
    assert any("ledger_entries_by_user_acted_for" in row[0] for row in plan)
