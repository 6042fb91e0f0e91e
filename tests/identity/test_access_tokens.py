"""An access token carries its user's rights, or less, until it ends, is revoked, or somebody behind it is suspended."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from undercroft.identity.errors import ForbiddenError, UnauthenticatedError
from undercroft.identity.keys import make_access_token
from undercroft.identity.models import Permission, Principal, Role
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.tokens import hash_token
from undercroft.ledger.service import Ledger

TOKEN = make_access_token(lambda count: b"\x07" * count)
TOKEN_ID = UUID(int=7)
HOUR = timedelta(hours=1)


@pytest.fixture
def identity(database: Database) -> IdentityService:
    ids, clock = IdSource(), SystemClock()
    return IdentityService(database, Ledger(database, ids, clock), ids, clock)


async def keep(
    database: Database,
    holder: Member,
    *,
    scopes: list[str] | None = None,
    lifetime: timedelta = HOUR,
) -> None:
    async with database.transaction(holder) as transaction:
        await transaction.execute(
            "INSERT INTO access_tokens (id, tenant_id, user_id, token_hash, scopes, expires_at)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            TOKEN_ID,
            holder.tenant_id,
            holder.principal_id,
            hash_token(TOKEN),
            scopes,
            datetime.now(UTC) + lifetime,
        )


async def run(database: Database, scope: Member, statement: str, *arguments: object) -> None:
    async with database.transaction(scope) as transaction:
        await transaction.execute(statement, *arguments)


async def test_its_bearer_is_its_user(
    identity: IdentityService, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope(role="admin")
    await keep(database, ann)
    principal = await identity.authenticate(TOKEN)
    assert principal == Principal(ann.tenant_id, ann.principal_id, TOKEN_ID, Role.ADMIN)
    await identity.require(principal, Permission.ADMINISTER)


async def test_it_carries_what_it_is_scoped_to_and_never_more_than_its_user_may(
    identity: IdentityService, database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await keep(database, ann, scopes=["ledger:read", "administer", "of a later version"])
    principal = await identity.authenticate(TOKEN)
    assert principal.scopes == {Permission.LEDGER_READ, Permission.ADMINISTER}
    await identity.require(principal, Permission.LEDGER_READ)
    for beyond in (Permission.SEARCH, Permission.ADMINISTER):
        with pytest.raises(ForbiddenError):
            await identity.require(principal, beyond)


async def test_an_ended_one_is_unknown(
    identity: IdentityService, database: Database, make_scope: MakeScope
) -> None:
    await keep(database, await make_scope(), lifetime=timedelta(seconds=-1))
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(TOKEN)


@pytest.mark.parametrize("ending", ["revoked", "suspended"])
async def test_it_ends_with_its_revocation_and_with_its_user(
    identity: IdentityService, database: Database, make_scope: MakeScope, ending: str
) -> None:
    ann = await make_scope()
    await keep(database, ann)
    await identity.authenticate(TOKEN)
    if ending == "revoked":
        await run(database, ann, "UPDATE access_tokens SET revoked_at = now()")
    else:
        suspend = "UPDATE users SET suspended_at = now() WHERE id = $1"
        await run(database, ann, suspend, ann.principal_id)
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(TOKEN)


async def test_a_suspended_users_key_is_unknown(
    identity: IdentityService, database: Database
) -> None:
    issued = await identity.issue_key("acme", "ann@example.org")
    ann = issued.principal
    async with database.transaction(ann) as transaction:
        await transaction.execute("UPDATE users SET suspended_at = now()")
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(issued.secret)
