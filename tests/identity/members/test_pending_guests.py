"""Guests who were invited and have not come are bounded, of one inviter and of a tenant, whoever invites at once."""

import asyncio

import pytest

from tests.conftest import MakeScope, Member
from tests.stepping import rolled_back, until_blocked_or_done
from undercroft.identity.errors import TooManyGuestsError
from undercroft.identity.members.service import MemberService
from undercroft.identity.models import Kind, Role
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger

OF_INVITER = 100
OF_TENANT = 1000


@pytest.fixture
def people(database: Database) -> IdentityService:
    ids, clock = IdSource(), SystemClock()
    return IdentityService(database, Ledger(database, ids, clock), ids, clock)


async def fill(database: Database, scope: Scope, name: str, count: int) -> None:
    """Guests of somebody's."""
    async with database.transaction(scope) as transaction:
        await transaction.execute(
            "INSERT INTO users (id, tenant_id, email, role, kind)"
            " SELECT gen_random_uuid(), current_tenant(), $1 || n || '@example.org', 'member', 'guest'"
            " FROM generate_series(1, $2) AS n",
            name,
            count,
        )


async def invite(database: Database, people: IdentityService, scope: Scope, name: str) -> None:
    """As a grant to an address does it."""
    async with database.transaction(scope) as transaction:
        await people.find_or_invite(transaction, scope, f"{name}@example.org")


async def count_guests(database: Database, scope: Scope) -> int:
    async with database.transaction(scope) as transaction:
        return int(await transaction.fetchval("SELECT count(*) FROM users WHERE kind = 'guest'"))


async def test_one_inviter_has_a_hundred_who_have_not_come(
    database: Database, people: IdentityService, members: MemberService, ann: Member, bob: Member
) -> None:
    await fill(database, ann, "guest", OF_INVITER - 1)
    await invite(database, people, ann, "last")
    with pytest.raises(TooManyGuestsError, match="You have"):
        await invite(database, people, ann, "another")
    with pytest.raises(TooManyGuestsError):
        await members.invite(ann, "another@example.org", Kind.GUEST, Role.MEMBER)
    # Who is there is shared with all the same; people are no guests; and others invite theirs.
    await invite(database, people, ann, "last")
    await members.invite(ann, "person@example.org", Kind.PERSON, Role.MEMBER)
    await invite(database, people, bob, "another")
    async with database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE users SET email_verified_at = now() WHERE email = 'last@example.org'"
        )
    await invite(database, people, ann, "after")
    with pytest.raises(TooManyGuestsError):
        await invite(database, people, ann, "too-many")


async def test_a_tenant_has_a_thousand_and_another_has_its_own(
    database: Database, people: IdentityService, ann: Member, make_scope: MakeScope
) -> None:
    for number in range(OF_TENANT // OF_INVITER):
        inviter = await make_scope(ann.tenant_id)
        await fill(database, inviter, f"guest{number}of", OF_INVITER)
    with pytest.raises(TooManyGuestsError, match="This tenant has"):
        await invite(database, people, ann, "another")
    await invite(database, people, await make_scope(), "another")
    assert await count_guests(database, ann) == OF_TENANT


async def test_of_two_who_invite_at_once_the_second_sees_the_first_ones_guest(
    database: Database, people: IdentityService, ann: Member
) -> None:
    await fill(database, ann, "guest", OF_INVITER - 1)
    async with database.transaction(ann) as transaction:
        await people.find_or_invite(transaction, ann, "first@example.org")
        second = asyncio.create_task(invite(database, people, ann, "second"))
        await until_blocked_or_done(database, second)
    with pytest.raises(TooManyGuestsError):
        await second
    assert await count_guests(database, ann) == OF_INVITER


async def test_one_that_comes_to_nothing_leaves_its_room_to_the_next(
    database: Database, people: IdentityService, ann: Member
) -> None:
    await fill(database, ann, "guest", OF_INVITER - 1)
    async with rolled_back(database, ann) as transaction:
        await people.find_or_invite(transaction, ann, "first@example.org")
    await invite(database, people, ann, "second")
    assert await count_guests(database, ann) == OF_INVITER


async def test_whose_inviter_is_removed_still_counts_for_the_tenant(
    database: Database, people: IdentityService, ann: Member, bob: Member
) -> None:
    await invite(database, people, bob, "guest")
    async with database.transaction(ann) as transaction:
        inviter = "SELECT invited_by FROM users WHERE email = 'guest@example.org'"
        assert await transaction.fetchval(inviter) == bob.principal_id
        await transaction.execute("DELETE FROM users WHERE id = $1", bob.principal_id)
        assert await transaction.fetchval(inviter) is None
