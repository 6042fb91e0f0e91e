"""Admins manage groups, and whoever is in one sees it; of what anybody else asks for nothing is there."""

import asyncio

import pytest

from tests.conftest import MakeScope, Member
from tests.identity.conftest import Audit
from tests.ledger.conftest import Parts
from tests.stepping import until_blocked
from undercroft.identity.groups.errors import GroupExistsError, StaleGroupError
from undercroft.identity.groups.service import GroupService, Viewer, viewer_of
from undercroft.identity.members.errors import NoAdminAnyMoreError
from undercroft.identity.members.service import MemberService
from undercroft.identity.models import Kind, Principal, Role
from undercroft.kit.database import Database
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.models import Outcome
from undercroft.ledger.service import MOST_ACTS


@pytest.fixture
def groups(database: Database, parts: Parts, members: MemberService) -> GroupService:
    return GroupService(database, parts.ledger, members, IdSource())


def admin(member: Member) -> Viewer:
    return Viewer(member.principal_id, sees_every_group=True, sees_members=True)


def person(member: Member) -> Viewer:
    return Viewer(member.principal_id, sees_every_group=False, sees_members=True)


def guest(member: Member) -> Viewer:
    return Viewer(member.principal_id, sees_every_group=False, sees_members=False)


@pytest.mark.parametrize(
    ("role", "kind", "sees"),
    [
        (Role.ADMIN, Kind.PERSON, (True, True)),
        (Role.ADMIN, Kind.SERVICE, (True, True)),
        (Role.MEMBER, Kind.PERSON, (False, True)),
        (Role.MEMBER, Kind.GUEST, (False, False)),
        (Role.MEMBER, Kind.SERVICE, (False, False)),
    ],
)
def test_how_much_each_sees(ann: Member, role: Role, kind: Kind, sees: tuple[bool, bool]) -> None:
    principal = Principal(ann.tenant_id, ann.principal_id, ann.principal_id, role, kind)
    assert viewer_of(principal) == Viewer(ann.principal_id, *sees)


async def test_whoever_is_in_a_group_sees_it_and_nobody_else_does(
    groups: GroupService, ann: Member, bob: Member, carol: Member
) -> None:
    readers = await groups.create(ann, "readers")
    writers = await groups.create(ann, "writers")
    await groups.add_member(ann, readers.id, carol.principal_id)
    await groups.add_member(ann, readers.id, bob.principal_id)
    assert await groups.list_groups(ann, admin(ann), None, 9) == [readers, writers]
    assert await groups.list_groups(ann, admin(ann), readers.id, 9) == [writers]
    assert await groups.list_groups(ann, admin(ann), None, 1) == [readers]
    assert await groups.list_groups(carol, person(carol), None, 9) == [readers]
    assert await groups.list_groups(carol, person(carol), readers.id, 9) == []
    assert await groups.get(carol, person(carol), readers.id) == readers
    for hidden in (writers.id, IdSource().new()):
        with pytest.raises(NotFoundError):
            await groups.get(carol, person(carol), hidden)
        with pytest.raises(NotFoundError):
            await groups.list_members(carol, person(carol), hidden, None, 9)
        with pytest.raises(NotFoundError):
            await groups.get_member(carol, person(carol), hidden, carol.principal_id)


async def test_a_guest_sees_of_the_members_themselves_alone(
    groups: GroupService, ann: Member, bob: Member, carol: Member
) -> None:
    group = (await groups.create(ann, "readers")).id
    both = sorted([bob, carol], key=lambda member: member.principal_id)
    for member in both:
        await groups.add_member(ann, group, member.principal_id)
    listed = await groups.list_members(carol, person(carol), group, None, 9)
    assert [(one.user_id, one.email) for one in listed] == [
        (one.principal_id, one.email) for one in both
    ]
    assert await groups.list_members(ann, admin(ann), group, None, 1) == listed[:1]
    assert await groups.list_members(ann, admin(ann), group, listed[0].user_id, 9) == listed[1:]
    (alone,) = await groups.list_members(carol, guest(carol), group, None, 9)
    assert alone.user_id == carol.principal_id
    assert await groups.get_member(carol, guest(carol), group, carol.principal_id) == alone
    with pytest.raises(NotFoundError):
        await groups.get_member(carol, guest(carol), group, bob.principal_id)


async def test_adding_again_changes_nothing(
    groups: GroupService, ann: Member, carol: Member, audit: Audit
) -> None:
    group = (await groups.create(ann, "readers")).id
    member, is_new = await groups.add_member(ann, group, carol.principal_id)
    assert is_new
    assert await groups.add_member(ann, group, carol.principal_id) == (member, False)
    actions = [entry.action for entry in await audit(ann.tenant_id, None)]
    assert actions == ["group.create", "group.add_member", "user.join_group"]


async def test_a_name_is_one_groups_of_a_tenant(
    groups: GroupService, make_scope: MakeScope, ann: Member
) -> None:
    await groups.create(ann, "readers")
    writers = await groups.create(ann, "writers")
    with pytest.raises(GroupExistsError):
        await groups.create(ann, "readers")
    with pytest.raises(GroupExistsError):
        await groups.rename(ann, writers.id, "readers")
    await groups.create(await make_scope(role="admin"), "readers")


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\x00b"])
async def test_what_is_no_name_is_refused(groups: GroupService, ann: Member, name: str) -> None:
    with pytest.raises(InvalidRequestError):
        await groups.create(ann, name)


async def test_a_change_names_the_revision_that_was_read(groups: GroupService, ann: Member) -> None:
    group = await groups.create(ann, "readers")
    renamed = await groups.rename(ann, group.id, "listeners", frozenset({1}))
    assert (renamed.name, renamed.revision) == ("listeners", 2)
    assert await groups.rename(ann, group.id, "listeners") == renamed
    with pytest.raises(StaleGroupError):
        await groups.rename(ann, group.id, "others", frozenset({1}))
    with pytest.raises(StaleGroupError):
        await groups.delete(ann, group.id, frozenset({1}))
    await groups.delete(ann, group.id, frozenset({2}))
    with pytest.raises(NotFoundError):
        await groups.get(ann, admin(ann), group.id)


async def test_another_tenants_group_or_user_is_not_there(
    groups: GroupService, make_scope: MakeScope, ann: Member
) -> None:
    stranger = await make_scope(role="admin")
    theirs = (await groups.create(stranger, "readers")).id
    ours = (await groups.create(ann, "readers")).id
    with pytest.raises(NotFoundError):
        await groups.add_member(ann, theirs, ann.principal_id)
    with pytest.raises(NotFoundError):
        await groups.add_member(ann, ours, stranger.principal_id)
    with pytest.raises(NotFoundError):
        await groups.rename(ann, theirs, "ours")
    with pytest.raises(NotFoundError):
        await groups.delete(ann, theirs)
    with pytest.raises(NotFoundError):
        await groups.get(ann, admin(ann), theirs)


async def test_a_link_comes_into_no_group(
    groups: GroupService, database: Database, ann: Member, carol: Member
) -> None:
    group = (await groups.create(ann, "readers")).id
    async with database.transaction(ann) as transaction:
        make_link = "UPDATE users SET kind = 'link', email = NULL WHERE id = $1"
        await transaction.execute(make_link, carol.principal_id)
    with pytest.raises(NotFoundError):
        await groups.add_member(ann, group, carol.principal_id)


async def test_whoever_is_no_admin_any_more_changes_nothing(
    groups: GroupService, members: MemberService, ann: Member, bob: Member, audit: Audit
) -> None:
    group = (await groups.create(ann, "readers")).id
    await members.change_role(ann, bob.principal_id, Role.MEMBER)
    attempts = (
        groups.create(bob, "mine"),
        groups.rename(bob, group, "mine"),
        groups.delete(bob, group),
        groups.add_member(bob, group, bob.principal_id),
        groups.remove_member(bob, group, bob.principal_id),
    )
    for attempt in attempts:
        with pytest.raises(NoAdminAnyMoreError):
            await attempt
    denied = [one.action for one in await audit(ann.tenant_id, None) if one.outcome == "denied"]
    assert denied == [
        *("group.create", "group.update", "group.delete"),
        *("group.add_member", "group.remove_member"),
    ]


async def test_both_sides_see_who_came_and_went(
    groups: GroupService, ann: Member, bob: Member, carol: Member, audit: Audit
) -> None:
    group = await groups.create(ann, "readers")
    await groups.add_member(ann, group.id, carol.principal_id)
    await groups.remove_member(ann, group.id, carol.principal_id)
    await groups.add_member(ann, group.id, carol.principal_id)
    await groups.rename(ann, group.id, "listeners")
    await groups.delete(ann, group.id)
    seen = await audit(ann.tenant_id, carol.principal_id)
    assert [entry.action for entry in seen] == [
        *("user.join_group", "user.leave_group", "user.join_group", "user.leave_group")
    ]
    assert {entry.resource for entry in seen} == {f"user_{carol.principal_id.hex}"}
    done = await audit(ann.tenant_id, ann.principal_id)
    assert [entry.action for entry in done if entry.resource.startswith("group_")] == [
        *("group.create", "group.add_member", "group.remove_member", "group.add_member"),
        *("group.update", "group.delete"),
    ]
    assert await audit(ann.tenant_id, bob.principal_id) == []


async def test_a_look_at_a_group_of_others_is_on_record_for_the_admins(
    groups: GroupService, ann: Member, carol: Member, audit: Audit
) -> None:
    group = (await groups.create(ann, "readers")).id
    with pytest.raises(NotFoundError):
        await groups.get(carol, person(carol), group)
    entry = (await audit(ann.tenant_id, None))[-1]
    assert (entry.action, entry.outcome) == ("group.read", Outcome.DENIED)
    assert entry.actor_id == carol.principal_id
    assert await audit(ann.tenant_id, carol.principal_id) == []


async def test_what_names_a_group_can_be_opened_until_it_is_gone(
    groups: GroupService, database: Database, ann: Member
) -> None:
    group = await groups.create(ann, "readers")
    reference = f"group_{group.id.hex}"
    async with database.transaction(ann) as transaction:
        assert await groups.find_salt(transaction, ann, reference) == group.ledger_salt
        assert await groups.find_salt(transaction, ann, f"user_{group.id.hex}") is None
    await groups.delete(ann, group.id)
    async with database.transaction(ann) as transaction:
        assert await groups.find_salt(transaction, ann, reference) is None


async def test_a_group_that_is_deleted_takes_nobody_in(
    groups: GroupService, database: Database, ann: Member, bob: Member, carol: Member, audit: Audit
) -> None:
    group = (await groups.create(ann, "readers")).id
    async with database.transaction(ann) as transaction:
        await transaction.execute("SELECT FROM groups FOR UPDATE")
        adding = asyncio.create_task(groups.add_member(bob, group, carol.principal_id))
        await until_blocked(database)
        await transaction.execute("DELETE FROM groups")
    with pytest.raises(NotFoundError):
        await adding
    assert await audit(ann.tenant_id, carol.principal_id) == []


async def test_whoever_came_in_before_a_deletion_is_told_of_it(
    groups: GroupService, database: Database, ann: Member, carol: Member, audit: Audit
) -> None:
    group = (await groups.create(ann, "readers")).id
    async with database.transaction(ann) as transaction:
        await transaction.execute("SELECT FROM groups FOR NO KEY UPDATE")
        await transaction.execute(
            "INSERT INTO group_members (tenant_id, group_id, user_id) VALUES ($1, $2, $3)",
            *(ann.tenant_id, group, carol.principal_id),
        )
        deleting = asyncio.create_task(groups.delete(ann, group))
        await until_blocked(database)
    await deleting
    assert [one.action for one in await audit(ann.tenant_id, carol.principal_id)] == [
        "user.leave_group"
    ]


async def test_a_user_who_is_removed_comes_into_no_group(
    groups: GroupService, database: Database, ann: Member, bob: Member, carol: Member
) -> None:
    group = (await groups.create(ann, "readers")).id
    async with database.transaction(ann) as transaction:
        await transaction.execute("DELETE FROM users WHERE id = $1", carol.principal_id)
        adding = asyncio.create_task(groups.add_member(bob, group, carol.principal_id))
        await until_blocked(database)
    with pytest.raises(NotFoundError):
        await adding


async def test_two_who_add_the_same_user_at_once_add_them_once(
    groups: GroupService, ann: Member, bob: Member, carol: Member, audit: Audit
) -> None:
    group = (await groups.create(ann, "readers")).id
    added = await asyncio.gather(
        *(groups.add_member(by, group, carol.principal_id) for by in (ann, bob, ann, bob))
    )
    assert sorted(is_new for _, is_new in added) == [False, False, False, True]
    assert len(await audit(ann.tenant_id, carol.principal_id)) == 1


async def test_a_deletion_with_more_members_than_one_append_takes_tells_all_of_them(
    groups: GroupService, database: Database, ann: Member
) -> None:
    group = (await groups.create(ann, "everybody")).id
    async with database.transaction(ann) as transaction:
        await transaction.execute(
            "INSERT INTO users (id, tenant_id, email, role) SELECT gen_random_uuid(), $1, n || '@example.org', 'member'"
            " FROM generate_series(1, $2::int) AS n",
            *(ann.tenant_id, MOST_ACTS + 1),
        )
        await transaction.execute(
            "INSERT INTO group_members (tenant_id, group_id, user_id)"
            " SELECT u.tenant_id, $1, u.id FROM users AS u WHERE u.role = 'member'",
            group,
        )
    await groups.delete(ann, group)
    async with database.transaction(ann) as transaction:
        told = await transaction.fetchval(
            "SELECT count(DISTINCT owner_id) FROM ledger_pending WHERE action = 'user.leave_group'"
        )
    assert told == MOST_ACTS + 1
