"""Keys are found by their hash alone, live as long as they should, and are made once however many ask."""

import asyncio
from datetime import timedelta

import pytest

from undercroft.identity.errors import (
    ForbiddenError,
    GuestAdminError,
    LastAdminError,
    UnauthenticatedError,
)
from undercroft.identity.models import Permission, Role
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import IdSource
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.service import Ledger


@pytest.fixture
def identity(database: Database) -> IdentityService:
    ids, clock = IdSource(), SystemClock()
    return IdentityService(database, Ledger(database, ids, clock), ids, clock)


async def test_a_new_database_has_no_user_and_no_key(owner: AnyConnection) -> None:
    for table in ("tenants", "users", "api_keys"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_a_key_is_its_users_until_it_is_revoked(identity: IdentityService) -> None:
    issued = await identity.issue_key("acme", "Ann@Example.org", Role.ADMIN, None)
    principal = await identity.authenticate(issued.secret)
    assert principal == issued.principal
    await identity.require(principal, Permission.ADMINISTER)
    await identity.revoke_key("acme", issued.secret.rpartition("_")[0][:11])
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(issued.secret)


async def test_an_expired_key_is_unknown(identity: IdentityService) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, timedelta(seconds=-1))
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(issued.secret)


@pytest.mark.parametrize("presented", ["", "uk_", "nonsense", "uk_aaaaaaaa_" + "x" * 43, "\x00"])
async def test_what_is_no_key_is_unknown(identity: IdentityService, presented: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(presented)


async def test_a_member_may_not_administer(identity: IdentityService) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, None)
    await identity.require(issued.principal, Permission.DOCUMENTS_WRITE)
    with pytest.raises(ForbiddenError):
        await identity.require(issued.principal, Permission.ADMINISTER)


async def test_commands_at_once_make_one_tenant_and_one_user(identity: IdentityService) -> None:
    issued = await asyncio.gather(
        *(identity.issue_key("acme", "ann@example.org", None, None) for _ in range(8))
    )
    assert len({key.principal.tenant_id for key in issued}) == 1
    assert len({key.principal.user_id for key in issued}) == 1
    assert len({key.secret for key in issued}) == 8


async def test_a_role_is_kept_unless_one_is_given(identity: IdentityService) -> None:
    await identity.issue_key("acme", "ann@example.org", Role.ADMIN, None)
    assert (
        await identity.issue_key("acme", "ann@example.org", None, None)
    ).principal.role == "admin"
    await identity.issue_key("acme", "bob@example.org", Role.ADMIN, None)
    demoted = await identity.issue_key("acme", "ann@example.org", Role.MEMBER, None)
    assert demoted.principal.role == "member"


async def test_an_operator_does_not_demote_the_last_admin(identity: IdentityService) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", Role.ADMIN, None)
    with pytest.raises(LastAdminError):
        await identity.issue_key("acme", "ann@example.org", Role.MEMBER, None)
    assert (await identity.authenticate(issued.secret)).role == "admin"


async def test_an_operator_does_not_make_a_guest_an_admin(
    identity: IdentityService, database: Database
) -> None:
    guest = (await identity.issue_key("acme", "ann@example.org", None, None)).principal
    async with database.transaction(guest) as transaction:
        await transaction.execute("UPDATE users SET kind = 'guest'")
    with pytest.raises(GuestAdminError):
        await identity.issue_key("acme", "ann@example.org", Role.ADMIN, None)
    assert (await identity.issue_key("acme", "ann@example.org")).principal.kind == "guest"


@pytest.mark.parametrize("email", ["", "ann", "a b@example.org", "ann@", "ann@exa\nmple.org"])
async def test_what_is_no_address_is_refused(identity: IdentityService, email: str) -> None:
    with pytest.raises(InvalidRequestError):
        await identity.issue_key("acme", email, None, None)


async def test_the_secret_is_nowhere_in_the_database(
    identity: IdentityService, database: Database
) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, None)
    async with database.transaction(issued.principal) as transaction:
        rows = await transaction.fetch("SELECT k::text AS row FROM api_keys AS k")
    assert len(rows) == 1
    hidden = issued.secret[12:]
    assert hidden not in rows[0]["row"]
    assert issued.secret.encode().hex() not in rows[0]["row"]


async def test_use_is_noted_once_a_minute_and_never_waits(
    identity: IdentityService, database: Database
) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, None)
    await identity.authenticate(issued.secret)
    async with database.transaction(issued.principal) as transaction:
        first = await transaction.fetchval("SELECT last_used_at FROM api_keys FOR UPDATE")
        # The row is locked here; another request with the same key goes on all the same.
        async with asyncio.timeout(60):
            await identity.authenticate(issued.secret)
    async with database.transaction(issued.principal) as transaction:
        assert await transaction.fetchval("SELECT last_used_at FROM api_keys") == first
