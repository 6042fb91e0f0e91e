"""Sessions at the same time, stepped: one next token, and no token that outlives what it hangs on.

ASVS 5.0: 7.4.1, 7.4.2, 10.4.5 (refresh tokens are replaced, and a replay revokes what came of them).
"""

import asyncio

import asyncpg
import pytest

from tests.conftest import MakeScope
from tests.identity.sessions.conftest import open_session
from tests.stepping import rolled_back, until_blocked
from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.models import Principal, Role
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.errors import RefreshRefusedError
from undercroft.identity.sessions.models import SessionLifetimes
from undercroft.identity.sessions.repository import SessionRepository
from undercroft.identity.sessions.service import SessionService
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.sql import AnyConnection

REPOSITORY = SessionRepository()
GRACE = SessionLifetimes().grace


async def test_two_refreshes_of_one_token_at_once_get_one_next_token(
    database: Database,
    sessions: SessionService,
    identity: IdentityService,
    make_scope: MakeScope,
    owner: AnyConnection,
) -> None:
    ann = await make_scope()
    tokens = await open_session(database, sessions, ann)
    async with rolled_back(database, ann) as transaction:
        # Both have found the session and wait for its row.
        await REPOSITORY.lock_session(transaction, tokens.session_id, GRACE)
        both = [asyncio.create_task(sessions.refresh(tokens.refresh_token)) for _ in range(2)]
        await until_blocked(database, 2)
    one, other = await asyncio.gather(*both)
    assert one.refresh_token == other.refresh_token != tokens.refresh_token
    assert one.access_token != other.access_token
    for refreshed in (one, other):
        await identity.authenticate(refreshed.access_token)
    assert await owner.fetchval("SELECT count(*) FROM sessions") == 1
    assert await owner.fetchval("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == 1
    await sessions.refresh(one.refresh_token)


async def test_many_refreshes_of_one_token_at_once_get_one_next_token(
    database: Database, sessions: SessionService, make_scope: MakeScope
) -> None:
    tokens = await open_session(database, sessions, await make_scope())
    refreshed = await asyncio.gather(*(sessions.refresh(tokens.refresh_token) for _ in range(40)))
    assert len({each.refresh_token for each in refreshed}) == 1


async def test_a_refresh_whose_transaction_comes_to_nothing_leaves_the_token_good(
    database: Database, sessions: SessionService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    tokens = await open_session(database, sessions, ann)
    async with rolled_back(database, ann) as transaction:
        await transaction.execute("UPDATE sessions SET token_hash = sha256('another')")
    await sessions.refresh(tokens.refresh_token)


async def test_a_refresh_that_waits_for_the_sign_out_is_refused(
    database: Database, sessions: SessionService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    tokens = await open_session(database, sessions, ann)
    async with database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE sessions SET ended_at = now(), end_reason = 'signed_out' WHERE id = $1",
            tokens.session_id,
        )
        refreshing = asyncio.create_task(sessions.refresh(tokens.refresh_token))
        await until_blocked(database)
    with pytest.raises(RefreshRefusedError):
        await refreshing


async def test_a_sign_out_that_waits_for_a_refresh_ends_what_that_has_made(
    database: Database,
    sessions: SessionService,
    identity: IdentityService,
    make_scope: MakeScope,
    owner: AnyConnection,
) -> None:
    ann = await make_scope()
    caller = Principal(ann.tenant_id, ann.principal_id, IdSource().new(), Role.MEMBER)
    tokens = await open_session(database, sessions, ann)
    async with database.transaction(ann) as transaction:
        await REPOSITORY.lock_session(transaction, tokens.session_id, GRACE)
        ending = asyncio.create_task(sessions.end_session(caller, tokens.session_id))
        await until_blocked(database)
        await REPOSITORY.insert_access_token(
            transaction, IdSource().new(), tokens.session_id, b"\x07" * 32, GRACE
        )
    await ending
    assert await owner.fetchval("SELECT count(*) FROM access_tokens WHERE revoked_at IS NULL") == 0
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(tokens.access_token)


async def test_the_database_makes_no_token_for_a_session_that_is_being_ended(
    database: Database, sessions: SessionService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    tokens = await open_session(database, sessions, ann)

    async def insert() -> None:
        async with database.transaction(ann) as transaction:
            await REPOSITORY.insert_access_token(
                transaction, IdSource().new(), tokens.session_id, b"\x07" * 32, GRACE
            )

    async with database.transaction(ann) as transaction:
        await transaction.execute("UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'")
        inserting = asyncio.create_task(insert())
        await until_blocked(database)
    with pytest.raises(asyncpg.CheckViolationError, match="the session has ended"):
        await inserting


async def test_a_sign_in_that_waits_for_a_suspension_fails(
    database: Database, sessions: SessionService, make_scope: MakeScope, owner: AnyConnection
) -> None:
    ann = await make_scope()
    async with database.transaction(ann) as transaction:
        await transaction.execute("UPDATE users SET suspended_at = now()")
        opening = asyncio.create_task(open_session(database, sessions, ann))
        await until_blocked(database)
    with pytest.raises(asyncpg.CheckViolationError, match="the user is suspended"):
        await opening
    assert await owner.fetchval("SELECT count(*) FROM sessions") == 0


async def test_a_suspension_that_waits_for_a_sign_in_ends_it(
    database: Database,
    sessions: SessionService,
    identity: IdentityService,
    make_scope: MakeScope,
) -> None:
    ann = await make_scope()

    async def suspend() -> None:
        async with database.transaction(ann) as transaction:
            await transaction.execute("UPDATE users SET suspended_at = now()")

    async with database.transaction(ann) as transaction:
        tokens = await sessions.open_session(transaction, ann, None)
        suspending = asyncio.create_task(suspend())
        await until_blocked(database)
    await suspending
    async with database.transaction(ann) as transaction:
        await transaction.execute("UPDATE users SET suspended_at = NULL")
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(tokens.access_token)
    with pytest.raises(RefreshRefusedError):
        await sessions.refresh(tokens.refresh_token)
