"""Introspection says what would authenticate, to the tenant alone; whoever holds a token ends it, on record."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.identity.credentials import HOUR, Desk
from tests.ledger.conftest import make_parts
from tests.stepping import until_blocked
from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.models import Permission
from undercroft.identity.tokens.repository import TokenRepository
from undercroft.kit.database import Database
from undercroft.kit.tokens import hash_token
from undercroft.ledger.models import AuditFilter


async def test_it_is_what_its_bearer_authenticates_as(desk: Desk) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    exchanged = await desk.exchange.exchange(robot, (await desk.token(ann)).secret)
    for secret in (
        (await desk.token(ann, ("search",))).secret,
        (await desk.key(ann)).secret,
        exchanged.secret,
    ):
        found = await desk.tokens.introspect(robot, secret)
        assert found is not None
        assert found.principal == await desk.identity.authenticate(secret)
        assert abs(found.issued_at - datetime.now(UTC)) < timedelta(seconds=20)


async def test_it_says_when_it_expires(desk: Desk) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    token = await desk.tokens.introspect(robot, (await desk.token(ann)).secret)
    assert token is not None
    assert token.expires_at is not None
    assert abs(token.expires_at - datetime.now(UTC) - HOUR) < timedelta(seconds=20)
    key = await desk.tokens.introspect(robot, (await desk.key(ann)).secret)
    assert key is not None
    assert key.expires_at is None


async def test_of_another_tenants_or_an_ended_one_nothing_is_said(desk: Desk) -> None:
    robot = await desk.robot((await desk.person()).tenant_id)
    stranger = await desk.person()
    colleague = await desk.person(robot.tenant_id)
    over = timedelta(seconds=-1)
    for secret in (
        (await desk.token(stranger)).secret,
        (await desk.key(stranger)).secret,
        (await desk.token(colleague, None, over)).secret,
        (await desk.key(colleague, None, over)).secret,
        "ut_" + "A" * 43,
        "ux_" + "A" * 43,
        "nothing",
        "",
        "ut_" + "é" * 43,
        "ut_" + "A" * 10_000,
    ):
        assert await desk.tokens.introspect(robot, secret) is None


async def test_to_be_asked_about_is_not_to_be_used(desk: Desk, database: Database) -> None:
    ann = await desk.person()
    key = await desk.key(ann)
    await desk.tokens.introspect(await desk.robot(ann.tenant_id), key.secret)
    async with database.transaction(ann) as transaction:
        used = await transaction.fetchval("SELECT last_used_at FROM api_keys WHERE id = $1", key.id)
    assert used is None


@pytest.mark.parametrize("is_key", [True, False])
async def test_whoever_holds_one_ends_it(desk: Desk, is_key: bool) -> None:
    ann = await desk.person()
    bob = await desk.identity.authenticate(
        (await desk.key(await desk.person(ann.tenant_id))).secret
    )
    held = await (desk.key if is_key else desk.token)(ann)
    await desk.identity.authenticate(held.secret)
    await desk.tokens.revoke(bob, held.secret)
    with pytest.raises(UnauthenticatedError):
        await desk.identity.authenticate(held.secret)


@pytest.mark.parametrize("is_key", [True, False])
async def test_another_tenants_is_left_as_it_is(desk: Desk, is_key: bool) -> None:
    bob = await desk.identity.authenticate((await desk.key(await desk.person())).secret)
    held = await (desk.key if is_key else desk.token)(await desk.person())
    await desk.tokens.revoke(bob, held.secret)
    await desk.identity.authenticate(held.secret)


async def test_its_end_is_on_record_once(desk: Desk, database: Database) -> None:
    ann = await desk.person()
    bob = await desk.identity.authenticate(
        (await desk.key(await desk.person(ann.tenant_id))).secret
    )
    token, key = await desk.token(ann), await desk.key(ann)
    for secret in (token.secret, key.secret, token.secret, key.secret, "ut_" + "A" * 43):
        await desk.tokens.revoke(bob, secret)
    parts = make_parts(database)
    await parts.sequencer.sequence(ann.tenant_id)
    entries = await parts.audit.list_entries(ann, ann.principal_id, AuditFilter(), limit=10)
    assert [(entry.action, entry.actor_id, entry.resource) for entry in entries[::-1]] == [
        ("token.revoke", bob.user_id, f"user_{ann.principal_id.hex}"),
        ("key.revoke", bob.user_id, f"key_{key.id.hex}"),
    ]


@pytest.mark.parametrize("is_key", [True, False])
async def test_of_two_who_end_it_at_once_one_does(
    desk: Desk, database: Database, is_key: bool
) -> None:
    ann = await desk.person()
    bob = await desk.identity.authenticate((await desk.key(ann)).secret)
    held = await (desk.key if is_key else desk.token)(ann)
    repository = TokenRepository()
    revoke = repository.revoke_api_key if is_key else repository.revoke_access_token
    async with database.transaction(ann) as transaction:
        assert await revoke(transaction, hash_token(held.secret)) is not None
        second = asyncio.create_task(desk.tokens.revoke(bob, held.secret))
        await until_blocked(database)
    await second
    async with database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM ledger_pending") == 0


async def test_scopes_of_a_later_version_are_not_told(desk: Desk) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    token = await desk.token(ann, ("search", "of a later version"))
    found = await desk.tokens.introspect(robot, token.secret)
    assert found is not None
    assert found.principal.scopes == {Permission.SEARCH}
