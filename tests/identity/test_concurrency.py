"""Keys at the same time, stepped: nobody waits who need not, nothing is made twice, and no secret is kept anywhere."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from tests.stepping import PATIENCE, Gate, rolled_back, until_blocked
from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.keys import make_key
from undercroft.identity.models import Role
from undercroft.identity.repository import IdentityRepository
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection, PooledConnection
from undercroft.kit.tokens import hash_token
from undercroft.ledger.models import OperatorScope
from undercroft.ledger.service import Ledger

REPOSITORY = IdentityRepository()


class LateDatabase(Database):
    """Whose statements without a scope have their answers, and keep them, while it has a gate."""

    gate: Gate | None = None
    statements = 0

    @asynccontextmanager
    async def statement_without_scope(self) -> AsyncGenerator[PooledConnection]:
        async with super().statement_without_scope() as connection:
            yield connection
            self.statements += 1
            if self.gate is not None:
                await self.gate.pass_through()


@pytest.fixture
def identity(database: Database) -> IdentityService:
    ids, clock = IdSource(), SystemClock()
    return IdentityService(database, Ledger(database, ids, clock), ids, clock)


async def test_two_commands_that_create_one_tenant_end_with_one(
    identity: IdentityService, database: Database, owner: AnyConnection
) -> None:
    ids = IdSource()
    first = OperatorScope(ids.new())
    async with database.transaction(first) as transaction:
        assert await REPOSITORY.insert_tenant(transaction, first.tenant_id, "acme")
        second = asyncio.create_task(identity.issue_key("acme", "ann@example.org", None, None))
        await until_blocked(database)
    issued = await second
    assert issued.principal.tenant_id == first.tenant_id
    assert await owner.fetchval("SELECT count(*) FROM tenants") == 1
    assert (await identity.authenticate(issued.secret)).tenant_id == first.tenant_id


async def test_a_tenant_whose_creation_was_rolled_back_is_created_by_the_other_command(
    identity: IdentityService, database: Database, owner: AnyConnection
) -> None:
    ids = IdSource()
    first = OperatorScope(ids.new())
    async with rolled_back(database, first) as transaction:
        await REPOSITORY.insert_tenant(transaction, first.tenant_id, "acme")
        second = asyncio.create_task(identity.issue_key("acme", "ann@example.org", None, None))
        await until_blocked(database)
    issued = await second
    assert issued.principal.tenant_id != first.tenant_id
    assert await owner.fetchval("SELECT count(*) FROM tenants") == 1


async def test_two_commands_that_create_one_user_end_with_one(
    identity: IdentityService, database: Database
) -> None:
    scope = (await identity.issue_key("acme", "bob@example.org", None, None)).principal
    user_id = IdSource().new()
    async with database.transaction(scope) as transaction:
        await REPOSITORY.insert_user(
            transaction, user_id, scope.tenant_id, "ann@example.org", Role.MEMBER
        )
        second = asyncio.create_task(identity.issue_key("acme", "ann@example.org", None, None))
        await until_blocked(database)
    assert (await second).principal.user_id == user_id


async def test_one_address_in_two_tenants_is_two_users(identity: IdentityService) -> None:
    acme = (await identity.issue_key("acme", "ann@example.org", None, None)).principal
    mill = (await identity.issue_key("mill", "ann@example.org", None, None)).principal
    assert acme.tenant_id != mill.tenant_id
    assert acme.user_id != mill.user_id


async def test_two_requests_with_one_key_do_not_wait_for_each_other(
    identity: IdentityService, database: Database
) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, None)
    key_hash = hash_token(issued.secret)
    async with (
        database.transaction_without_scope() as first,
        database.transaction_without_scope() as second,
    ):
        async with asyncio.timeout(PATIENCE):
            assert await REPOSITORY.find_key_holder(first, key_hash) == issued.principal
            # The first has marked the key as used and has not committed.
            assert await REPOSITORY.find_key_holder(second, key_hash) == issued.principal


async def test_use_is_noted_again_after_a_minute(
    identity: IdentityService, owner: AnyConnection
) -> None:
    secret = (await identity.issue_key("acme", "ann@example.org", None, None)).secret
    assert await owner.fetchval("SELECT last_used_at FROM api_keys") is None
    await identity.authenticate(secret)
    assert await owner.fetchval("SELECT last_used_at > now() - interval '1 minute' FROM api_keys")
    for age, moves in (("59 seconds", False), ("61 seconds", True)):
        await owner.execute("UPDATE api_keys SET last_used_at = now() - $1::text::interval", age)
        before = await owner.fetchval("SELECT last_used_at FROM api_keys")
        await identity.authenticate(secret)
        assert (await owner.fetchval("SELECT last_used_at FROM api_keys") != before) is moves


async def test_a_key_is_found_by_nothing_but_its_hash(identity: IdentityService) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, None)
    hidden = issued.secret[11:]
    # The same secret part under another visible one, and the other way round, are other keys.
    for forged in (
        f"uk_aaaaaaaa{hidden}",
        issued.secret[:-1] + ("A" if hidden[-1] != "A" else "B"),
    ):
        with pytest.raises(UnauthenticatedError):
            await identity.authenticate(forged)


async def test_a_key_lives_to_its_last_moment_by_the_databases_clock(
    identity: IdentityService, owner: AnyConnection
) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, timedelta(hours=1))
    assert await identity.authenticate(issued.secret) == issued.principal
    await owner.execute("UPDATE api_keys SET expires_at = now()")
    with pytest.raises(UnauthenticatedError) as expired:
        await identity.authenticate(issued.secret)
    with pytest.raises(UnauthenticatedError) as unknown:
        await identity.authenticate(make_key(bytes).secret)
    assert expired.value.message == unknown.value.message


async def test_a_key_is_revoked_only_by_its_own_tenant(identity: IdentityService) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, None)
    await identity.issue_key("mill", "bob@example.org", None, None)
    prefix = issued.secret[:11]
    for tenant in ("mill", "nobody"):
        with pytest.raises(NotFoundError):
            await identity.revoke_key(tenant, prefix)
    assert await identity.authenticate(issued.secret) == issued.principal


@pytest.mark.parametrize(
    "email",
    [
        "ann\udcff@example.org",  # what an argument that is not UTF-8 becomes
        "ann\x7f@example.org",
        "İ" * 60 + "@example.org",  # grows when it is lowered
        "a" * 65 + "@example.org",
    ],
)
async def test_an_address_the_database_could_not_keep_is_refused(
    identity: IdentityService, email: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await identity.issue_key("acme", email, None, None)
    refused.value.message.encode()  # can be printed


@pytest.mark.parametrize("tenant", ["", "x" * 201, "a\nb", "a\x00b", "a\udcffb"])
async def test_a_tenant_name_the_database_could_not_keep_is_refused(
    identity: IdentityService, tenant: str
) -> None:
    with pytest.raises(InvalidRequestError):
        await identity.issue_key(tenant, "ann@example.org", None, None)
    with pytest.raises(NotFoundError):
        await identity.revoke_key(tenant, "uk_aaaaaaaa")


async def test_no_part_of_a_secret_is_in_any_column_of_the_database(
    identity: IdentityService, owner: AnyConnection
) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, None)
    await identity.authenticate(issued.secret)
    dumped = await dump(owner)
    assert issued.secret[:11] in dumped, "the dump holds what is kept"
    for part in (issued.secret, issued.secret[12:], issued.secret[12:28], issued.secret[-16:]):
        assert part not in dumped
        assert part.encode().hex() not in dumped


async def dump(owner: AnyConnection) -> str:
    """Every row of every table as text."""
    tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows: list[str] = []
    for table in tables:
        name = table["tablename"]
        rows += [row[0] for row in await owner.fetch(f"SELECT t::text FROM {name} AS t")]
    return "\n".join(rows)


async def test_requests_with_one_key_share_a_look_that_was_begun_after_they_came(
    identity: IdentityService, database_urls: DatabaseUrls
) -> None:
    issued = await identity.issue_key("acme", "ann@example.org", None, None)
    ids, clock = IdSource(), SystemClock()
    async with LateDatabase(database_urls.service, clock=clock, size=2) as late:
        asked = IdentityService(late, Ledger(late, ids, clock), ids, clock)
        late.gate = Gate()
        first = asyncio.create_task(asked.authenticate(issued.secret))
        await late.gate.wait_until_reached()
        await identity.revoke_key("acme", issued.secret.rpartition("_")[0][:11])
        others = [asyncio.create_task(asked.authenticate(issued.secret)) for _ in range(100)]
        await asyncio.sleep(0)
        late.gate.open()
        assert (await first).tenant_id == issued.principal.tenant_id
        refused = await asyncio.gather(*others, return_exceptions=True)
        assert {type(each) for each in refused} == {UnauthenticatedError}
        assert late.statements == 2
