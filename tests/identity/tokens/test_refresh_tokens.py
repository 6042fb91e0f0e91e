"""Refresh tokens are introspected and revoked like any other, and exchanged for nothing."""

import pytest

from tests.identity.credentials import Desk
from tests.identity.sessions.conftest import open_session
from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.keys import ACCESS_TOKEN_PREFIX, API_KEY_PREFIX
from undercroft.identity.sessions.errors import RefreshRefusedError
from undercroft.identity.sessions.service import SessionService
from undercroft.identity.sessions.tokens import REFRESH_TOKEN_PREFIX
from undercroft.identity.tokens.kinds import AccessTokens, ApiKeys, RefreshTokens
from undercroft.identity.tokens.service import TokenService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database, IdSource(), SystemClock())


@pytest.fixture
def sessions(database: Database, ledger: Ledger) -> SessionService:
    return SessionService(database, ledger, IdSource())


@pytest.fixture
def tokens(database: Database, ledger: Ledger) -> TokenService:
    kinds = {
        ACCESS_TOKEN_PREFIX: AccessTokens(),
        API_KEY_PREFIX: ApiKeys(),
        REFRESH_TOKEN_PREFIX: RefreshTokens(),
    }
    return TokenService(database, ledger, kinds)


async def test_the_good_one_is_active_and_the_one_before_is_not(
    desk: Desk, database: Database, sessions: SessionService, tokens: TokenService
) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    first = await open_session(database, sessions, ann)
    found = await tokens.introspect(robot, first.refresh_token)
    assert found is not None
    assert found.principal.user_id == ann.principal_id
    assert found.expires_at == first.refresh_expires_at
    second = await sessions.refresh(first.refresh_token)
    assert await tokens.introspect(robot, first.refresh_token) is None
    assert await tokens.introspect(robot, second.refresh_token) is not None
    # To be asked about is not to be used: the good one is still good.
    await sessions.refresh(second.refresh_token)
    stranger = await desk.robot((await desk.person()).tenant_id)
    assert await tokens.introspect(stranger, second.refresh_token) is None


@pytest.mark.parametrize("is_former", [False, True])
async def test_whoever_holds_one_ends_the_session_once(
    desk: Desk,
    database: Database,
    sessions: SessionService,
    tokens: TokenService,
    is_former: bool,
) -> None:
    ann = await desk.person()
    robot = await desk.robot(ann.tenant_id)
    first = await open_session(database, sessions, ann)
    second = await sessions.refresh(first.refresh_token)
    stranger = await desk.robot((await desk.person()).tenant_id)
    await tokens.revoke(stranger, second.refresh_token)
    await desk.identity.authenticate(second.access_token)
    held = (first if is_former else second).refresh_token
    for _ in range(2):
        await tokens.revoke(robot, held)
    for given in (first, second):
        with pytest.raises(UnauthenticatedError):
            await desk.identity.authenticate(given.access_token)
    with pytest.raises(RefreshRefusedError):
        await sessions.refresh(second.refresh_token)
    assert await tokens.introspect(robot, second.refresh_token) is None
    async with database.transaction(ann) as transaction:
        entries = await transaction.fetch(
            "SELECT actor_id, owner_id, resource FROM ledger_pending WHERE action = 'session.revoke'"
        )
    assert [tuple(entry) for entry in entries] == [
        (robot.user_id, ann.principal_id, f"session_{second.session_id.hex}")
    ]


@pytest.mark.parametrize("token", ["ur_", "ur_" + "x" * 65, "ur_" + "x" * 64 + "é"])
async def test_of_rubbish_nothing_is_said(desk: Desk, tokens: TokenService, token: str) -> None:
    robot = await desk.robot((await desk.person()).tenant_id)
    assert await tokens.introspect(robot, token) is None
    await tokens.revoke(robot, token)
