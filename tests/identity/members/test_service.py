"""Admins make, change, suspend and remove the users of their tenant, and nobody else does."""

import pytest

from tests.conftest import MakeScope, Member
from tests.identity.conftest import Audit
from tests.rows import insert_collection
from undercroft.identity.errors import GuestAdminError, LastAdminError, UnauthenticatedError
from undercroft.identity.members.errors import (
    NoAdminAnyMoreError,
    OwnsObjectsError,
    StaleUserError,
    UserExistsError,
)
from undercroft.identity.members.service import MemberService
from undercroft.identity.models import Kind, Role
from undercroft.kit.database import Database
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.models import OPERATOR_ID, OperatorScope, Outcome


async def test_what_is_made_is_found(members: MemberService, ann: Member) -> None:
    person = await members.invite(ann, "Dan@Example.org", Kind.PERSON, Role.ADMIN)
    guest = await members.invite(ann, "eve@example.org", Kind.GUEST, Role.MEMBER)
    service = await members.create_service(ann, "invoices", Role.MEMBER)
    assert (person.email, person.kind, person.role) == ("dan@example.org", "person", "admin")
    assert (guest.email, guest.kind, guest.name) == ("eve@example.org", "guest", None)
    assert (service.email, service.kind, service.name) == (None, "service", "invoices")
    listed = await members.list_members(ann, None, None, 10)
    assert listed[1:] == [person, guest, service]
    assert listed[0].id == ann.principal_id
    assert await members.list_members(ann, None, guest.id, 10) == [service]
    assert await members.list_members(ann, None, None, 2) == listed[:2]
    assert await members.get(ann, None, guest.id) == guest
    assert await members.get_by_address(ann, "DAN@example.org") == person


async def test_an_address_and_a_services_name_are_one_users_of_a_tenant(
    members: MemberService, make_scope: MakeScope, ann: Member
) -> None:
    await members.invite(ann, "dan@example.org", Kind.PERSON, Role.MEMBER)
    await members.create_service(ann, "invoices", Role.MEMBER)
    with pytest.raises(UserExistsError) as address:
        await members.invite(ann, "DAN@example.org", Kind.GUEST, Role.MEMBER)
    with pytest.raises(UserExistsError) as name:
        await members.create_service(ann, "invoices", Role.ADMIN)
    assert (address.value.param, name.value.param) == ("email", "name")
    other = await make_scope(role="admin")
    await members.invite(other, "dan@example.org", Kind.PERSON, Role.MEMBER)
    await members.create_service(other, "invoices", Role.MEMBER)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\x00b"])
async def test_what_is_no_name_is_refused(members: MemberService, ann: Member, name: str) -> None:
    with pytest.raises(InvalidRequestError):
        await members.create_service(ann, name, Role.MEMBER)


async def test_a_guest_is_no_admin(members: MemberService, ann: Member) -> None:
    with pytest.raises(GuestAdminError):
        await members.invite(ann, "eve@example.org", Kind.GUEST, Role.ADMIN)
    guest = await members.invite(ann, "eve@example.org", Kind.GUEST, Role.MEMBER)
    with pytest.raises(GuestAdminError):
        await members.change_role(ann, guest.id, Role.ADMIN)


async def test_a_change_names_the_revision_that_was_read(
    members: MemberService, ann: Member, carol: Member
) -> None:
    carols = carol.principal_id
    promoted = await members.change_role(ann, carols, Role.ADMIN, frozenset({1}))
    assert (promoted.role, promoted.revision) == ("admin", 2)
    assert await members.change_role(ann, carols, Role.ADMIN, frozenset({2})) == promoted
    suspended = await members.suspend(ann, carols, frozenset({2, 7}))
    assert suspended.suspended_at is not None
    assert await members.suspend(ann, carols) == suspended
    for change in (members.suspend, members.reinstate, members.remove):
        with pytest.raises(StaleUserError):
            await change(ann, carols, frozenset({1, 2}))
    reinstated = await members.reinstate(ann, carols)
    assert (reinstated.suspended_at, reinstated.revision) == (None, 4)
    assert await members.reinstate(ann, carols) == reinstated


async def test_whoever_is_no_admin_sees_themselves_alone(
    members: MemberService, ann: Member, carol: Member, audit: Audit
) -> None:
    viewer = carol.principal_id
    assert (await members.get(carol, viewer, viewer)).email == carol.email
    assert [one.id for one in await members.list_members(carol, viewer, None, 9)] == [viewer]
    with pytest.raises(NotFoundError) as hidden:
        await members.get(carol, viewer, ann.principal_id)
    nobody = IdSource().new()
    with pytest.raises(NotFoundError) as absent:
        await members.get(carol, viewer, nobody)
    assert hidden.value.message.split("'")[0] == absent.value.message.split("'")[0]
    (entry,) = await audit(ann.tenant_id, ann.principal_id)
    assert (entry.action, entry.outcome, entry.actor_id) == ("user.read", Outcome.DENIED, viewer)


async def test_another_tenants_user_is_not_there(
    members: MemberService, make_scope: MakeScope, ann: Member
) -> None:
    stranger = (await make_scope()).principal_id
    for change in (members.suspend, members.reinstate, members.remove):
        with pytest.raises(NotFoundError):
            await change(ann, stranger)
    with pytest.raises(NotFoundError):
        await members.change_role(ann, stranger, Role.ADMIN)
    with pytest.raises(NotFoundError):
        await members.get(ann, None, stranger)


async def test_whoever_is_no_admin_any_more_changes_nothing(
    members: MemberService, ann: Member, bob: Member, carol: Member, audit: Audit
) -> None:
    # Bob's request has passed the route's check by now.
    await members.change_role(ann, bob.principal_id, Role.MEMBER)
    carols = carol.principal_id
    for change in (members.suspend, members.reinstate, members.remove):
        with pytest.raises(NoAdminAnyMoreError):
            await change(bob, carols)
    with pytest.raises(NoAdminAnyMoreError):
        await members.change_role(bob, carols, Role.ADMIN)
    with pytest.raises(NoAdminAnyMoreError):
        await members.invite(bob, "dan@example.org", Kind.PERSON, Role.MEMBER)
    with pytest.raises(NoAdminAnyMoreError):
        await members.create_service(bob, "invoices", Role.MEMBER)
    assert len(await members.list_members(ann, None, None, 9)) == 3
    denied = [one.action for one in await audit(ann.tenant_id, None) if one.outcome == "denied"]
    assert denied == [
        *("user.suspend", "user.reinstate", "user.remove", "user.change_role"),
        *("user.create", "user.create"),
    ]


async def test_a_suspended_admin_changes_nothing(
    members: MemberService, ann: Member, bob: Member
) -> None:
    await members.suspend(ann, bob.principal_id)
    with pytest.raises(NoAdminAnyMoreError):
        await members.reinstate(bob, bob.principal_id)
    with pytest.raises(NoAdminAnyMoreError):
        await members.create_service(bob, "invoices", Role.MEMBER)


async def test_a_link_is_none_of_the_users(
    members: MemberService, database: Database, make_scope: MakeScope, ann: Member
) -> None:
    link = await make_scope(ann.tenant_id)
    async with database.transaction(ann) as transaction:
        make_link = "UPDATE users SET kind = 'link', email = NULL WHERE id = $1"
        await transaction.execute(make_link, link.principal_id)
    assert len(await members.list_members(ann, None, None, 9)) == 1
    with pytest.raises(NotFoundError):
        await members.get(ann, None, link.principal_id)
    with pytest.raises(NotFoundError):
        await members.suspend(ann, link.principal_id)


async def test_a_user_who_owns_anything_stays(
    members: MemberService, database: Database, ann: Member, carol: Member, audit: Audit
) -> None:
    async with database.transaction(carol) as transaction:
        collection_id = await insert_collection(transaction, carol)
    with pytest.raises(OwnsObjectsError):
        await members.remove(ann, carol.principal_id)
    async with database.transaction(carol) as transaction:
        await transaction.execute("DELETE FROM collections WHERE id = $1", collection_id)
    await members.remove(ann, carol.principal_id)
    with pytest.raises(NotFoundError):
        await members.get(ann, None, carol.principal_id)
    entries = await audit(ann.tenant_id, None)
    assert [(one.action, one.outcome) for one in entries] == [
        ("user.remove", Outcome.DENIED),
        ("user.remove", Outcome.ALLOWED),
        ("user.read", Outcome.DENIED),
    ]
    assert [one.owner_id for one in entries] == [carol.principal_id, carol.principal_id, None]


@pytest.mark.parametrize("is_over", [True, False])
async def test_work_that_is_over_goes_with_its_user_and_other_work_keeps_them(
    members: MemberService, database: Database, ann: Member, carol: Member, is_over: bool
) -> None:
    async with database.transaction(carol) as transaction:
        await transaction.execute(
            "INSERT INTO jobs (id, tenant_id, owner_id, kind, payload, max_attempts, state, finished_at)"
            " VALUES ($2, $1, $2, 'test', '{}', 1, $3, CASE WHEN $3 = 'succeeded' THEN now() END)",
            carol.tenant_id,
            carol.principal_id,
            "succeeded" if is_over else "running",
        )
    if is_over:
        await members.remove(ann, carol.principal_id)
    else:
        with pytest.raises(OwnsObjectsError):
            await members.remove(ann, carol.principal_id)
    async with database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM jobs") == (not is_over)


async def test_with_a_user_go_their_credentials_and_memberships(
    members: MemberService, database: Database, ann: Member, carol: Member
) -> None:
    async with database.transaction(carol) as transaction:
        await transaction.execute(
            "INSERT INTO api_keys (id, tenant_id, user_id, prefix, key_hash)"
            " SELECT u.id, u.tenant_id, u.id, 'uk_00000000', sha256(uuid_send(u.id)) FROM users AS u"
        )
        await transaction.execute(
            "INSERT INTO access_tokens (id, tenant_id, user_id, token_hash, expires_at)"
            " SELECT u.id, u.tenant_id, u.id, sha256(uuid_send(u.id)), now() FROM users AS u"
        )
        await transaction.execute(
            "INSERT INTO groups (id, tenant_id, name) VALUES ($1, $2, 'readers')",
            carol.principal_id,
            carol.tenant_id,
        )
        await transaction.execute(
            "INSERT INTO group_members (tenant_id, group_id, user_id)"
            " SELECT g.tenant_id, g.id, g.id FROM groups AS g"
        )
    await members.remove(ann, carol.principal_id)
    async with database.transaction(ann) as transaction:
        rows = await transaction.fetch(
            "SELECT user_id FROM api_keys UNION ALL SELECT user_id FROM access_tokens"
            " UNION ALL SELECT user_id FROM group_members"
        )
        assert {row["user_id"] for row in rows} == {ann.principal_id}
        assert await transaction.fetchval("SELECT count(*) FROM groups") == 1


async def test_suspending_revokes_the_tokens_of_who_acts_and_of_who_is_acted_for(
    members: MemberService, database: Database, ann: Member, bob: Member, carol: Member
) -> None:
    holders = {"hers": (carol, None), "for her": (carol, bob), "by her": (bob, carol)}
    holders["another's"] = (bob, None)
    ids = IdSource()
    async with database.transaction(ann) as transaction:
        for someone in (bob, carol):
            await transaction.execute(
                "INSERT INTO api_keys (id, tenant_id, user_id, prefix, key_hash)"
                " VALUES ($1, $2, $1, 'uk_00000000', sha256(uuid_send($1)))",
                someone.principal_id,
                ann.tenant_id,
            )
        for name, (user, actor) in holders.items():
            await transaction.execute(
                "INSERT INTO access_tokens (id, tenant_id, user_id, actor_id, subject_key_id, actor_key_id, scopes,"
                " token_hash, expires_at) VALUES ($1, $2, $3, $4, $5, $4, $6, sha256($7::text::bytea),"
                " now() + interval '1 hour')",
                ids.new(),
                ann.tenant_id,
                user.principal_id,
                actor and actor.principal_id,
                actor and user.principal_id,
                actor and ["search"],
                name,
            )
    await members.suspend(ann, carol.principal_id)
    await members.reinstate(ann, carol.principal_id)
    async with database.transaction(ann) as transaction:
        living = await transaction.fetch(
            "SELECT user_id, actor_id FROM access_tokens WHERE revoked_at IS NULL"
        )
    assert [tuple(row) for row in living] == [(bob.principal_id, None)], "for good"


async def test_each_change_is_on_record_for_the_user_and_for_who_made_it(
    members: MemberService, ann: Member, audit: Audit
) -> None:
    dan = await members.invite(ann, "dan@example.org", Kind.PERSON, Role.MEMBER)
    await members.change_role(ann, dan.id, Role.ADMIN)
    await members.change_role(ann, dan.id, Role.ADMIN)
    await members.suspend(ann, dan.id)
    await members.suspend(ann, dan.id)
    await members.reinstate(ann, dan.id)
    seen = await audit(ann.tenant_id, dan.id)
    assert [(one.action, one.purpose) for one in seen] == [
        ("user.create", "member"),
        ("user.change_role", "admin"),
        ("user.suspend", None),
        ("user.reinstate", None),
    ]
    assert {(one.actor_id, one.resource) for one in seen} == {
        (ann.principal_id, f"user_{dan.id.hex}")
    }
    assert await audit(ann.tenant_id, ann.principal_id) == seen
    await members.remove(ann, dan.id)
    gone = (await audit(ann.tenant_id, ann.principal_id))[-1]
    assert (gone.action, gone.owner_id) == ("user.remove", dan.id)


async def test_the_operator_manages_users_too(
    members: MemberService, ann: Member, carol: Member, audit: Audit
) -> None:
    operator = OperatorScope(ann.tenant_id)
    await members.suspend(operator, carol.principal_id)
    with pytest.raises(LastAdminError):
        await members.suspend(operator, ann.principal_id)
    entries = await audit(ann.tenant_id, None)
    assert {one.actor_id for one in entries} == {OPERATOR_ID}
    assert [one.outcome for one in entries] == ["allowed", "denied"]


async def test_an_admin_removes_themselves_while_there_is_another(
    members: MemberService, ann: Member, bob: Member
) -> None:
    await members.remove(bob, bob.principal_id)
    with pytest.raises(LastAdminError):
        await members.remove(ann, ann.principal_id)


async def test_a_removed_admin_is_nobody(
    members: MemberService, ann: Member, bob: Member, carol: Member
) -> None:
    await members.remove(ann, bob.principal_id)
    with pytest.raises(UnauthenticatedError):
        await members.suspend(bob, carol.principal_id)
    with pytest.raises(UnauthenticatedError):
        await members.create_service(bob, "invoices", Role.MEMBER)
