"""There is always an admin who can act, whoever is demoted, suspended or removed at the same time."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.stepping import rolled_back, until_blocked
from undercroft.identity.errors import LastAdminError, UnauthenticatedError
from undercroft.identity.members.errors import NoAdminAnyMoreError
from undercroft.identity.members.service import MemberService
from undercroft.identity.models import Role
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger

LOSSES = {
    "demoted": "UPDATE users SET role = 'member' WHERE id = $1",
    "suspended": "UPDATE users SET suspended_at = now() WHERE id = $1",
    "removed": "DELETE FROM users WHERE id = $1",
    "made a service": "UPDATE users SET kind = 'service', email = NULL, name = 'x' WHERE id = $1",
}
"""What makes of an admin none who can act, whatever program says so."""

ACTS: dict[str, Callable[[MemberService, Member, Member], Awaitable[object]]] = {
    "demote": lambda members, by, whom: members.change_role(by, whom.principal_id, Role.MEMBER),
    "suspend": lambda members, by, whom: members.suspend(by, whom.principal_id),
    "remove": lambda members, by, whom: members.remove(by, whom.principal_id),
}


async def count_admins(database: Database, scope: Member) -> int:
    async with database.transaction(scope) as transaction:
        return int(
            await transaction.fetchval(
                "SELECT count(*) FROM users"
                " WHERE kind = 'person' AND role = 'admin' AND suspended_at IS NULL"
            )
        )


@pytest.mark.parametrize("loss", LOSSES)
async def test_the_last_admin_stays(database: Database, ann: Member, loss: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="no admin left"):
        async with database.transaction(ann) as transaction:
            await transaction.execute(LOSSES[loss], ann.principal_id)
    assert await count_admins(database, ann) == 1


@pytest.mark.parametrize("loss", LOSSES)
async def test_one_of_two_may_go(database: Database, ann: Member, bob: Member, loss: str) -> None:
    async with database.transaction(ann) as transaction:
        await transaction.execute(LOSSES[loss], bob.principal_id)
    assert await count_admins(database, ann) == 1


@pytest.mark.usefixtures("bob")
async def test_all_admins_do_not_go_in_one_statement(database: Database, ann: Member) -> None:
    for statement in (
        "UPDATE users SET role = 'member'",
        "UPDATE users SET suspended_at = now()",
        "DELETE FROM users",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            async with database.transaction(ann) as transaction:
                await transaction.execute(statement)
    assert await count_admins(database, ann) == 2


@pytest.mark.parametrize(
    "other",
    [
        "UPDATE users SET suspended_at = now() WHERE id = $1",
        "UPDATE users SET kind = 'service', email = NULL, name = 'x' WHERE id = $1",
    ],
)
async def test_an_admin_who_cannot_act_as_a_person_does_not_count(
    database: Database, ann: Member, bob: Member, other: str
) -> None:
    async with database.transaction(ann) as transaction:
        await transaction.execute(other, bob.principal_id)
    with pytest.raises(asyncpg.RestrictViolationError):
        async with database.transaction(ann) as transaction:
            await transaction.execute(LOSSES["demoted"], ann.principal_id)


async def test_another_tenants_admin_does_not_count(
    database: Database, ann: Member, make_scope: MakeScope
) -> None:
    await make_scope(role="admin")
    with pytest.raises(asyncpg.RestrictViolationError):
        async with database.transaction(ann) as transaction:
            await transaction.execute(LOSSES["demoted"], ann.principal_id)


@pytest.mark.parametrize("second", LOSSES)
@pytest.mark.parametrize("first", LOSSES)
async def test_of_two_losses_at_once_the_second_waits_and_is_refused(
    database: Database, ann: Member, bob: Member, first: str, second: str
) -> None:
    async def lose_ann() -> None:
        async with database.transaction(bob) as transaction:
            await transaction.execute(LOSSES[second].replace("'x'", "'y'"), ann.principal_id)

    async with database.transaction(ann) as transaction:
        await transaction.execute(LOSSES[first], bob.principal_id)
        losing = asyncio.create_task(lose_ann())
        await until_blocked(database)
    with pytest.raises(asyncpg.RestrictViolationError):
        await losing
    assert await count_admins(database, ann) == 1


async def test_of_two_losses_at_once_the_second_goes_on_when_the_first_comes_to_nothing(
    database: Database, ann: Member, bob: Member
) -> None:
    async def lose_ann() -> None:
        async with database.transaction(bob) as transaction:
            await transaction.execute(LOSSES["demoted"], ann.principal_id)

    async with rolled_back(database, ann) as transaction:
        await transaction.execute(LOSSES["demoted"], bob.principal_id)
        losing = asyncio.create_task(lose_ann())
        await until_blocked(database)
    await losing
    assert await count_admins(database, ann) == 1


async def test_two_tenants_do_not_wait_for_each_other(
    database: Database, ann: Member, bob: Member, make_scope: MakeScope
) -> None:
    other = await make_scope(role="admin")
    another = await make_scope(other.tenant_id, role="admin")
    async with database.transaction(ann) as transaction:
        await transaction.execute(LOSSES["demoted"], bob.principal_id)
        async with asyncio.timeout(60), database.transaction(other) as second:
            await second.execute(LOSSES["demoted"], another.principal_id)


async def test_whatever_is_made_for_the_tenant_meanwhile_does_not_wait(
    database: Database, ann: Member, bob: Member, make_scope: MakeScope
) -> None:
    async with database.transaction(ann) as transaction:
        await transaction.execute(LOSSES["demoted"], bob.principal_id)
        async with asyncio.timeout(60):
            await make_scope(ann.tenant_id)


@pytest.mark.parametrize("act", ACTS)
async def test_of_two_admins_who_act_on_each_other_the_second_is_none_any_more(
    members: MemberService, database: Database, ann: Member, bob: Member, act: str
) -> None:
    run = ACTS[act]
    async with database.transaction(ann) as transaction:
        # Ann's act, up to its commit.
        await transaction.execute(LOSSES["demoted"], bob.principal_id)
        bobs = asyncio.create_task(_outcome(run(members, bob, ann)))
        await until_blocked(database)
    assert isinstance(await bobs, NoAdminAnyMoreError)
    assert await count_admins(database, ann) == 1


@pytest.mark.parametrize("act", ACTS)
async def test_two_admins_who_act_on_each_other_at_once_leave_one(
    members: MemberService, database: Database, ann: Member, bob: Member, act: str
) -> None:
    run = ACTS[act]
    outcomes = await asyncio.gather(
        _outcome(run(members, ann, bob)), _outcome(run(members, bob, ann))
    )
    refused = [one for one in outcomes if one is not None]
    assert len(refused) == 1, outcomes
    assert isinstance(refused[0], NoAdminAnyMoreError | UnauthenticatedError)
    assert await count_admins(database, ann) == 1


@pytest.mark.parametrize("act", ACTS)
async def test_of_two_admins_who_step_down_at_once_one_stays(
    members: MemberService, database: Database, ann: Member, bob: Member, act: str
) -> None:
    run = ACTS[act]
    outcomes = await asyncio.gather(
        _outcome(run(members, ann, ann)), _outcome(run(members, bob, bob))
    )
    assert [type(one) for one in outcomes if one is not None] == [LastAdminError]
    assert await count_admins(database, ann) == 1


async def test_an_operator_and_an_admin_at_once_leave_one(
    members: MemberService, database: Database, ann: Member, bob: Member
) -> None:
    identity = IdentityService(
        database, Ledger(database, IdSource(), SystemClock()), IdSource(), SystemClock()
    )
    tenant = f"tenant {ann.tenant_id.hex}"
    outcomes = await asyncio.gather(
        _outcome(identity.issue_key(tenant, ann.email, Role.MEMBER)),
        _outcome(members.change_role(bob, bob.principal_id, Role.MEMBER)),
    )
    assert [type(one) for one in outcomes if one is not None] == [LastAdminError]
    assert await count_admins(database, ann) == 1


async def test_an_admins_act_is_done_before_they_are_demoted_or_not_at_all(
    members: MemberService, database: Database, ann: Member, bob: Member
) -> None:
    async with database.transaction(bob) as transaction:
        await members.require_admin(transaction, bob)
        demotion = asyncio.create_task(_outcome(ACTS["demote"](members, ann, bob)))
        await until_blocked(database)
    assert await demotion is None
    with pytest.raises(NoAdminAnyMoreError):
        async with database.transaction(bob) as transaction:
            await members.require_admin(transaction, bob)


async def _outcome(act: Awaitable[object]) -> UndercroftError | None:
    try:
        await act
    except UndercroftError as error:
        return error
    return None
