"""What an operator does with tenants, users and keys is on record as the operator's, and its owner sees it."""

import asyncio
from uuid import UUID

import pytest

from tests.ledger.conftest import make_parts
from tests.stepping import rolled_back, until_blocked
from undercroft.identity.models import Role
from undercroft.identity.repository import IdentityRepository
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.audit import AuditService
from undercroft.ledger.models import OPERATOR_ID, AuditEntry, AuditFilter, OperatorScope
from undercroft.ledger.service import Ledger

REPOSITORY = IdentityRepository()


@pytest.fixture
def identity(database: Database) -> IdentityService:
    ids, clock = IdSource(), SystemClock()
    return IdentityService(database, Ledger(database, ids, clock), ids, clock)


async def audit(database: Database, tenant_id: UUID, viewer: UUID | None) -> list[AuditEntry]:
    """What somebody sees of it, the oldest first."""
    parts = make_parts(database)
    await parts.sequencer.sequence(tenant_id)
    scope = OperatorScope(tenant_id)
    return (await parts.audit.list_entries(scope, viewer, AuditFilter(), limit=50))[::-1]


async def test_tenants_users_roles_and_keys_are_the_operators_acts(
    identity: IdentityService, database: Database
) -> None:
    ann = (await identity.issue_key("acme", "ann@example.org", Role.MEMBER, None)).principal
    again = await identity.issue_key("acme", "ann@example.org", Role.MEMBER, None)
    await identity.issue_key("acme", "ann@example.org", Role.ADMIN, None)
    await identity.issue_key("acme", "ann@example.org", None, None)
    await identity.revoke_key("acme", again.secret[:11])
    entries = await audit(database, ann.tenant_id, None)
    assert [(entry.action, entry.purpose) for entry in entries] == [
        ("tenant.create", None),
        ("user.create", "member"),
        ("key.create", None),
        ("key.create", None),
        ("user.change_role", "admin"),
        ("key.create", None),
        ("key.create", None),
        ("key.revoke", None),
    ]
    assert {(entry.actor_id, entry.on_behalf_of) for entry in entries} == {(OPERATOR_ID, None)}
    assert [entry.owner_id for entry in entries] == [None, *[ann.user_id] * 7]
    assert entries[1].resource == entries[4].resource == f"user_{ann.user_id.hex}"
    assert entries[2].resource == f"key_{ann.credential_id.hex}"
    assert entries[3].resource == entries[7].resource == f"key_{again.principal.credential_id.hex}"
    seen = await audit(database, ann.tenant_id, ann.user_id)
    assert [entry.id for entry in seen] == [entry.id for entry in entries[1:]]


async def test_a_colleague_sees_nothing_of_it(
    identity: IdentityService, database: Database
) -> None:
    ann = (await identity.issue_key("acme", "ann@example.org", None, None)).principal
    bob = (await identity.issue_key("acme", "bob@example.org", None, None)).principal
    seen = await audit(database, ann.tenant_id, bob.user_id)
    assert {entry.owner_id for entry in seen} == {bob.user_id}


async def test_who_and_what_can_be_opened(identity: IdentityService, database: Database) -> None:
    ann = (await identity.issue_key("acme", "ann@example.org", None, None)).principal
    entries = await audit(database, ann.tenant_id, ann.user_id)
    parts = make_parts(database)
    service = AuditService(database, parts.reader, parts.ledger, [identity])
    assert entries
    for entry in entries:
        opened = await service.open_entry(ann, ann.user_id, entry.id)
        assert {opening.field: opening.value for opening in opened.openings} == {
            "resource": entry.resource,
            **({"purpose": "member"} if entry.action == "user.create" else {}),
        }


async def test_of_two_changes_of_a_role_each_is_on_record_once(
    identity: IdentityService, database: Database
) -> None:
    ann = (await identity.issue_key("acme", "ann@example.org", None, None)).principal
    scope = OperatorScope(ann.tenant_id)
    async with database.transaction(scope) as transaction:
        await REPOSITORY.lock_user(transaction, ann.tenant_id, "ann@example.org")
        await REPOSITORY.update_role(transaction, ann.user_id, Role.ADMIN)
        second = asyncio.create_task(
            identity.issue_key("acme", "ann@example.org", Role.ADMIN, None)
        )
        await until_blocked(database)
    await second
    actions = [entry.action for entry in await audit(database, ann.tenant_id, None)]
    assert "user.change_role" not in actions, "the first had made it so, without this service"


async def test_a_user_whose_creation_comes_to_nothing_is_made_by_the_other_command(
    identity: IdentityService, database: Database
) -> None:
    ann = (await identity.issue_key("acme", "ann@example.org", None, None)).principal
    scope = OperatorScope(ann.tenant_id)
    async with rolled_back(database, scope) as transaction:
        place = (IdSource().new(), ann.tenant_id, "bob@example.org")
        assert await REPOSITORY.insert_user(transaction, *place, Role.ADMIN) is not None
        second = asyncio.create_task(identity.issue_key("acme", "bob@example.org", None, None))
        await until_blocked(database)
    bob = (await second).principal
    assert bob.user_id != place[0]
    actions = [entry.action for entry in await audit(database, ann.tenant_id, bob.user_id)]
    assert actions == ["user.create", "key.create"]


async def test_revoking_what_is_not_there_is_not_on_record(
    identity: IdentityService, database: Database
) -> None:
    ann = (await identity.issue_key("acme", "ann@example.org", None, None)).principal
    before = await audit(database, ann.tenant_id, None)
    with pytest.raises(NotFoundError):
        await identity.revoke_key("acme", "uk_00000000")
    after = [entry.action for entry in await audit(database, ann.tenant_id, None)]
    assert "key.revoke" not in after
    assert after[: len(before)] == [entry.action for entry in before]
