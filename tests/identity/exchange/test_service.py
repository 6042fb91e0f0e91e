"""A service acts for a user with what both of them may, for as long as both of their credentials are good."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.identity.credentials import HOUR, Desk
from tests.ledger.conftest import make_parts
from undercroft.identity.errors import ForbiddenError, UnauthenticatedError
from undercroft.identity.exchange.errors import NotAServiceError, ScopeError, SubjectTokenError
from undercroft.identity.exchange.service import LONGEST_LIFE
from undercroft.identity.models import Kind, Permission, Principal
from undercroft.kit.database import Database
from undercroft.kit.tokens import hash_token
from undercroft.ledger.models import AuditFilter

ENDINGS = {
    "subject token revoked": "UPDATE access_tokens SET revoked_at = now() WHERE id = $1",
    "subject token expired": (
        "UPDATE access_tokens SET expires_at = now() - interval '1 second' WHERE id = $1"
    ),
    "subject token forgotten": "DELETE FROM access_tokens WHERE id = $1",
    "subject key revoked": "UPDATE api_keys SET revoked_at = now() WHERE id = $2",
    "subject key expired": (
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $2"
    ),
    "service's key revoked": "UPDATE api_keys SET revoked_at = now() WHERE id = $3",
    "service's key expired": (
        "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $3"
    ),
    "user suspended": "UPDATE users SET suspended_at = now() WHERE id = $4",
    "service suspended": "UPDATE users SET suspended_at = now() WHERE id = $5",
    "itself revoked": "UPDATE access_tokens SET revoked_at = now() WHERE id = $6",
}


async def test_its_bearer_is_the_user_and_the_service_is_named(desk: Desk) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    issued = await desk.exchange.exchange(robot, (await desk.token(ann)).secret)
    bearer = await desk.identity.authenticate(issued.secret)
    assert (bearer.tenant_id, bearer.user_id, bearer.actor_id, bearer.kind) == (
        ann.tenant_id,
        ann.principal_id,
        robot.user_id,
        Kind.PERSON,
    )
    assert bearer.scopes == issued.scopes


@pytest.mark.parametrize(
    ("subject", "service", "requested", "left"),
    [
        (None, ("act_for_users", "search", "models"), None, "search models"),
        (("search", "keys"), ("act_for_users", "search", "keys", "models"), None, "search"),
        (None, ("act_for_users", "search", "models"), ["models", "documents:read"], "models"),
        (None, ("act_for_users", "search"), ["search", "act_for_users", "unheard-of"], "search"),
        (None, ("act_for_users", "administer", "search"), None, "search"),
    ],
)
async def test_it_carries_what_is_asked_for_and_both_have(
    desk: Desk,
    subject: tuple[str, ...] | None,
    service: tuple[str, ...],
    requested: list[str] | None,
    left: str,
) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id, service)
    token = await desk.token(ann, subject)
    issued = await desk.exchange.exchange(robot, token.secret, requested)
    assert issued.scopes == set(map(Permission, left.split()))
    bearer = await desk.identity.authenticate(issued.secret)
    for permission in Permission:
        if permission in issued.scopes:
            await desk.identity.require(bearer, permission)
        else:
            with pytest.raises(ForbiddenError):
                await desk.identity.require(bearer, permission)


async def test_a_service_that_is_no_admin_administers_nothing_for_an_admin(desk: Desk) -> None:
    ann = await desk.person(role="admin")
    service = await desk.service(ann.tenant_id)
    key = await desk.key(service, ("act_for_users", "administer", "search"))
    robot = await desk.identity.authenticate(key.secret)
    issued = await desk.exchange.exchange(robot, (await desk.token(ann)).secret)
    assert issued.scopes == {Permission.SEARCH}


async def test_nothing_is_left(desk: Desk) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id, ("act_for_users", "search"))
    token = await desk.token(ann, ("models",))
    with pytest.raises(ScopeError):
        await desk.exchange.exchange(robot, token.secret)
    with pytest.raises(ScopeError):
        await desk.exchange.exchange(robot, (await desk.token(ann)).secret, [])


@pytest.mark.parametrize("is_key", [True, False])
@pytest.mark.parametrize("lifetime", [timedelta(minutes=2), HOUR])
async def test_it_expires_after_ten_minutes_and_never_after_its_subject(
    desk: Desk, is_key: bool, lifetime: timedelta
) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    make = desk.key if is_key else desk.token
    subject = await make(ann, None, lifetime)
    issued = await desk.exchange.exchange(robot, subject.secret)
    expected = datetime.now(UTC) + min(lifetime, LONGEST_LIFE)
    assert abs(issued.expires_at - expected) < timedelta(seconds=20)


async def test_it_never_expires_after_the_services_key(desk: Desk) -> None:
    ann = await desk.person()
    key = await desk.key(
        await desk.service(ann.tenant_id), ("act_for_users", "search"), timedelta(minutes=1)
    )
    robot = await desk.identity.authenticate(key.secret)
    issued = await desk.exchange.exchange(robot, (await desk.token(ann)).secret)
    assert issued.expires_at < datetime.now(UTC) + timedelta(minutes=1, seconds=20)


@pytest.mark.parametrize("ending", ENDINGS)
async def test_it_ends_at_the_next_statement_with_whatever_it_rests_on(
    desk: Desk, database: Database, ending: str
) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    token, key = await desk.token(ann), await desk.key(ann)
    subject = key if "subject key" in ending else token
    issued = await desk.exchange.exchange(robot, subject.secret)
    bearer = await desk.identity.authenticate(issued.secret)
    every = (
        token.id,
        key.id,
        robot.credential_id,
        ann.principal_id,
        robot.user_id,
        bearer.credential_id,
    )
    number = int(ENDINGS[ending].rpartition("$")[2])
    await desk.run(ann, ENDINGS[ending].replace(f"${number}", "$1"), every[number - 1])
    with pytest.raises(UnauthenticatedError):
        await desk.identity.authenticate(issued.secret)
    async with database.transaction(ann) as transaction:
        assert await desk.tokens.find(transaction, issued.secret) is None


async def test_it_does_not_end_with_another_token_of_the_users(desk: Desk) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    other = await desk.token(ann)
    issued = await desk.exchange.exchange(robot, (await desk.token(ann)).secret)
    await desk.tokens.revoke(robot, other.secret)
    await desk.identity.authenticate(issued.secret)


async def test_rights_are_handed_on_once(desk: Desk) -> None:
    ann = await desk.person()
    first, second = await desk.robot(ann.tenant_id), await desk.robot(ann.tenant_id)
    issued = await desk.exchange.exchange(first, (await desk.token(ann)).secret)
    for robot in (first, second):
        with pytest.raises(SubjectTokenError, match="handed on once"):
            await desk.exchange.exchange(robot, issued.secret)
    bearer = await desk.identity.authenticate(issued.secret)
    with pytest.raises(NotAServiceError):
        await desk.exchange.exchange(bearer, (await desk.token(ann)).secret)


async def test_the_database_lets_no_chain_authenticate(desk: Desk) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    issued = await desk.exchange.exchange(robot, (await desk.token(ann)).secret)
    bearer = await desk.identity.authenticate(issued.secret)
    chained = await desk.exchange.exchange(robot, (await desk.token(ann)).secret)
    link = "UPDATE access_tokens SET subject_token_id = $2 WHERE token_hash = $1"
    await desk.run(ann, link, hash_token(chained.secret), bearer.credential_id)
    with pytest.raises(UnauthenticatedError):
        await desk.identity.authenticate(chained.secret)


@pytest.mark.parametrize(
    "change",
    [
        "user_id = actor_id",
        "actor_id = user_id",
        "actor_key_id = subject_key_id",
        "subject_key_id = actor_key_id",
        "subject_key_id = NULL",
        "actor_key_id = NULL",
        "actor_id = NULL",
        "scopes = NULL",
    ],
)
async def test_the_database_refuses_what_is_no_exchange(desk: Desk, change: str) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    await desk.exchange.exchange(robot, (await desk.key(ann)).secret)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await desk.run(ann, f"UPDATE access_tokens SET {change}")


async def _unknown(desk: Desk, robot: Principal) -> str:
    del robot
    return (await desk.token(await desk.person())).secret[:-4] + "AAAA"


async def _of_another_tenant(desk: Desk, robot: Principal) -> str:
    del robot
    return (await desk.token(await desk.person())).secret


async def _expired(desk: Desk, robot: Principal) -> str:
    ann = await desk.person(robot.tenant_id)
    return (await desk.token(ann, None, timedelta(seconds=-1))).secret


async def _of_a_suspended(desk: Desk, robot: Principal) -> str:
    ann = await desk.person(robot.tenant_id)
    token = await desk.token(ann)
    suspend = "UPDATE users SET suspended_at = now() WHERE id = $1"
    await desk.run(ann, suspend, ann.principal_id)
    return token.secret


async def _of_a_service(desk: Desk, robot: Principal) -> str:
    return (await desk.key(await desk.service(robot.tenant_id))).secret


async def _foreign(desk: Desk, robot: Principal) -> str:
    del desk, robot
    return "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ."


@pytest.mark.parametrize(
    "subject", [_unknown, _of_another_tenant, _expired, _of_a_suspended, _of_a_service, _foreign]
)
async def test_what_is_no_persons_valid_token_of_the_tenant_is_refused(
    desk: Desk, subject: Callable[[Desk, Principal], Awaitable[str]]
) -> None:
    robot = await desk.robot((await desk.person()).tenant_id)
    with pytest.raises(SubjectTokenError):
        await desk.exchange.exchange(robot, await subject(desk, robot))


async def test_only_a_service_by_its_own_key_exchanges(desk: Desk) -> None:
    ann = await desk.person(role="admin")
    token = await desk.token(ann)
    with pytest.raises(NotAServiceError):
        await desk.exchange.exchange(await desk.identity.authenticate(token.secret), token.secret)
    service = await desk.service(ann.tenant_id)
    by_token = await desk.token(service, ("act_for_users", "search"))
    with pytest.raises(NotAServiceError):
        await desk.exchange.exchange(
            await desk.identity.authenticate(by_token.secret), token.secret
        )


async def test_a_key_that_is_revoked_while_it_asks_gets_nothing(desk: Desk) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    await desk.run(ann, "UPDATE api_keys SET revoked_at = now() WHERE id = $1", robot.credential_id)
    with pytest.raises(NotAServiceError):
        await desk.exchange.exchange(robot, (await desk.token(ann)).secret)


async def test_the_exchange_is_on_record_for_the_user_and_the_service(
    desk: Desk, database: Database
) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    await desk.exchange.exchange(robot, (await desk.token(ann)).secret)
    parts = make_parts(database)
    await parts.sequencer.sequence(ann.tenant_id)
    for viewer in (ann.principal_id, robot.user_id):
        (entry,) = await parts.audit.list_entries(ann, viewer, AuditFilter(), limit=10)
        assert (entry.action, entry.actor_id, entry.on_behalf_of, entry.owner_id) == (
            "token.exchange",
            robot.user_id,
            ann.principal_id,
            ann.principal_id,
        )
        assert entry.resource == f"user_{ann.principal_id.hex}"


async def test_the_secret_is_shown_once_and_stored_nowhere(desk: Desk, database: Database) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    issued = await desk.exchange.exchange(robot, (await desk.token(ann)).secret)
    assert issued.secret not in repr(issued)
    async with database.transaction(ann) as transaction:
        rows = await transaction.fetch("SELECT t::text AS row FROM access_tokens AS t")
    assert all(issued.secret not in row["row"] for row in rows)
