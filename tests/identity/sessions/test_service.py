"""A session's tokens are short, replaced at each use, and gone with the session.

ASVS 5.0: 7.2.1 (verified by the service), 7.2.4 (a new token at each sign-in), 7.3.1 and 7.3.2 (idle and longest life),
7.4.1 (no use after the end), 7.4.2 (ends with the account), 7.5.2 (a person sees and ends their sessions).
"""

from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import MakeScope, Member
from tests.identity.sessions.conftest import open_session
from undercroft.identity.errors import PersonRequiredError, UnauthenticatedError
from undercroft.identity.models import Kind, Permission, Principal, Role
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.errors import RefreshRefusedError
from undercroft.identity.sessions.service import MOST_SESSIONS, SessionService
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.sql import AnyConnection


async def is_signed_in(identity: IdentityService, access_token: str) -> bool:
    try:
        await identity.authenticate(access_token)
    except UnauthenticatedError:
        return False
    return True


async def list_actions(owner: AnyConnection, person: Member) -> list[str]:
    """What is on record of the person, who sees it in their audit: they did it and own what it was done to."""
    rows = await owner.fetch(
        "SELECT action FROM ledger_pending WHERE actor_id = $1 AND owner_id = $1 ORDER BY xid, ordinal",
        person.principal_id,
    )
    return [row["action"] for row in rows]


def by_key(person: Member) -> Principal:
    return Principal(person.tenant_id, person.principal_id, IdSource().new(), Role.MEMBER)


async def test_who_opens_a_session_is_signed_in_for_a_while(
    database: Database,
    sessions: SessionService,
    identity: IdentityService,
    make_scope: MakeScope,
    owner: AnyConnection,
) -> None:
    ann = await make_scope()
    tokens = await open_session(database, sessions, ann, "Firefox")
    principal = await identity.authenticate(tokens.access_token)
    assert (principal.tenant_id, principal.user_id) == (ann.tenant_id, ann.principal_id)
    now = datetime.now(UTC)
    assert timedelta(minutes=9) < tokens.access_expires_at - now <= timedelta(minutes=10)
    assert timedelta(days=29) < tokens.refresh_expires_at - now <= timedelta(days=30)
    assert await list_actions(owner, ann) == ["session.create"]


async def test_no_part_of_a_token_is_kept(
    database: Database, sessions: SessionService, make_scope: MakeScope, owner: AnyConnection
) -> None:
    tokens = await open_session(database, sessions, await make_scope())
    refreshed = await sessions.refresh(tokens.refresh_token)
    rows = [
        row[0]
        for table in ("sessions", "access_tokens")
        for row in await owner.fetch(f"SELECT t::text FROM {table} AS t")
    ]
    for secret in (tokens.access_token, refreshed.access_token, refreshed.refresh_token):
        for part in (secret, secret[3:25], secret[-43:]):
            assert not any(part in row or part.encode().hex() in row for row in rows)


async def test_a_refresh_replaces_the_token_and_keeps_the_session(
    database: Database, sessions: SessionService, identity: IdentityService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first = await open_session(database, sessions, ann)
    second = await sessions.refresh(first.refresh_token)
    third = await sessions.refresh(second.refresh_token)
    assert len({tokens.refresh_token for tokens in (first, second, third)}) == 3
    assert len({tokens.access_token for tokens in (first, second, third)}) == 3
    assert len({tokens.session_id for tokens in (first, second, third)}) == 1
    assert await is_signed_in(identity, third.access_token)


async def test_who_lost_the_answer_gets_the_same_next_token_again(
    database: Database, sessions: SessionService, identity: IdentityService, make_scope: MakeScope
) -> None:
    first = await open_session(database, sessions, await make_scope())
    lost = await sessions.refresh(first.refresh_token)
    again = await sessions.refresh(first.refresh_token)
    assert again.refresh_token == lost.refresh_token
    assert await is_signed_in(identity, again.access_token)
    await sessions.refresh(again.refresh_token)


@pytest.mark.parametrize("how", ["late", "after the next was used", "two behind"])
async def test_a_token_that_was_replaced_ends_the_whole_family(
    database: Database,
    sessions: SessionService,
    identity: IdentityService,
    make_scope: MakeScope,
    owner: AnyConnection,
    how: str,
) -> None:
    ann = await make_scope()
    other = await open_session(database, sessions, ann)
    first = await open_session(database, sessions, ann)
    last = await sessions.refresh(first.refresh_token)
    if how == "late":
        await owner.execute("UPDATE sessions SET refreshed_at = now() - interval '31 seconds'")
    else:
        last = await sessions.refresh(last.refresh_token)
    if how == "two behind":
        last = await sessions.refresh(last.refresh_token)
    with pytest.raises(RefreshRefusedError):
        await sessions.refresh(first.refresh_token)
    for dead in (first, last):
        assert not await is_signed_in(identity, dead.access_token)
        with pytest.raises(RefreshRefusedError):
            await sessions.refresh(dead.refresh_token)
    assert await is_signed_in(identity, other.access_token), "other sessions live on"
    assert (await list_actions(owner, ann)).count("session.reuse") == 1
    row = await owner.fetchrow("SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL")
    assert row is not None
    assert row["end_reason"] == "reused"


async def test_a_made_up_token_ends_nothing(
    database: Database, sessions: SessionService, make_scope: MakeScope
) -> None:
    tokens = await open_session(database, sessions, await make_scope())
    stranger = await open_session(database, sessions, await make_scope())
    mixed = stranger.refresh_token[:25] + tokens.refresh_token[25:]
    for wrong in ("", "ur_", tokens.access_token, "ur_" + "A" * 65, tokens.refresh_token[:-1]):
        with pytest.raises(RefreshRefusedError):
            await sessions.refresh(wrong)
    with pytest.raises(RefreshRefusedError):
        await sessions.refresh(mixed)
    await sessions.refresh(tokens.refresh_token)


async def test_a_session_that_is_not_refreshed_expires_and_one_that_is_ends_at_last(
    database: Database,
    sessions: SessionService,
    make_scope: MakeScope,
    owner: AnyConnection,
) -> None:
    tokens = await open_session(database, sessions, await make_scope())
    # An hour before the session's last moment nothing outlives that.
    await owner.execute(
        "UPDATE sessions SET ends_at = now() + interval '1 hour', expires_at = now()+ interval '1 hour'"
    )
    tokens = await sessions.refresh(tokens.refresh_token)
    assert tokens.refresh_expires_at - datetime.now(UTC) <= timedelta(hours=1)
    await owner.execute(
        "UPDATE sessions SET ends_at = now() + interval '1 minute', expires_at = now() + interval '1 minute'"
    )
    tokens = await sessions.refresh(tokens.refresh_token)
    assert tokens.access_expires_at - datetime.now(UTC) <= timedelta(minutes=1)
    await owner.execute("UPDATE sessions SET expires_at = now()")
    with pytest.raises(RefreshRefusedError):
        await sessions.refresh(tokens.refresh_token)


async def test_a_person_sees_their_sessions_and_ends_one(
    database: Database,
    sessions: SessionService,
    identity: IdentityService,
    make_scope: MakeScope,
    owner: AnyConnection,
) -> None:
    ann, bob = await make_scope(), await make_scope()
    here = await open_session(database, sessions, ann, "Firefox\x00 \u202e on a laptop")
    there = await open_session(database, sessions, ann, "x" * 5000)
    await open_session(database, sessions, bob, "not Ann's")
    caller = await identity.authenticate(here.access_token)
    listed = await sessions.list_sessions(caller, after=None, limit=10)
    assert [session.id for session in listed] == [here.session_id, there.session_id]
    assert [session.is_current for session in listed] == [True, False]
    assert [session.user_agent for session in listed] == ["Firefox  on a laptop", "x" * 200]
    assert len(await sessions.list_sessions(caller, after=here.session_id, limit=10)) == 1
    await sessions.end_session(caller, there.session_id)
    assert not await is_signed_in(identity, there.access_token)
    with pytest.raises(RefreshRefusedError):
        await sessions.refresh(there.refresh_token)
    assert await is_signed_in(identity, here.access_token)
    assert len(await sessions.list_sessions(caller, after=None, limit=10)) == 1
    assert await list_actions(owner, ann) == ["session.create", "session.create", "session.revoke"]


async def test_another_ones_session_cannot_be_told_from_none(
    database: Database, sessions: SessionService, identity: IdentityService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    colleague, stranger = await make_scope(ann.tenant_id, role="admin"), await make_scope()
    tokens = await open_session(database, sessions, ann)
    for other in (colleague, stranger):
        with pytest.raises(NotFoundError):
            await sessions.end_session(by_key(other), tokens.session_id)
        assert await sessions.list_sessions(by_key(other), after=None, limit=10) == []
    assert await is_signed_in(identity, tokens.access_token)
    await sessions.end_session(by_key(ann), tokens.session_id)
    with pytest.raises(NotFoundError):
        await sessions.end_session(by_key(ann), tokens.session_id)


async def test_signing_out_elsewhere_keeps_the_session_one_is_in(
    database: Database, sessions: SessionService, identity: IdentityService, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    here, *elsewhere = [await open_session(database, sessions, ann) for _ in range(3)]
    bobs = await open_session(database, sessions, bob)
    await sessions.end_other_sessions(await identity.authenticate(here.access_token))
    assert await is_signed_in(identity, here.access_token)
    assert await is_signed_in(identity, bobs.access_token)
    for tokens in elsewhere:
        assert not await is_signed_in(identity, tokens.access_token)
    await sessions.end_other_sessions(by_key(ann))
    assert not await is_signed_in(identity, here.access_token)


@pytest.mark.parametrize("narrowed", ["scopes", "actor", "kind"])
async def test_what_was_narrowed_does_not_reach_sessions(
    database: Database, sessions: SessionService, make_scope: MakeScope, narrowed: str
) -> None:
    ann = await make_scope()
    tokens = await open_session(database, sessions, ann)
    caller = Principal(
        ann.tenant_id,
        ann.principal_id,
        IdSource().new(),
        Role.MEMBER,
        kind=Kind.SERVICE if narrowed == "kind" else Kind.PERSON,
        actor_id=IdSource().new() if narrowed == "actor" else None,
        scopes=frozenset(Permission) if narrowed == "scopes" else None,
    )
    with pytest.raises(PersonRequiredError):
        await sessions.list_sessions(caller, after=None, limit=10)
    with pytest.raises(PersonRequiredError):
        await sessions.end_session(caller, tokens.session_id)
    with pytest.raises(PersonRequiredError):
        await sessions.end_other_sessions(caller)


async def test_a_suspended_person_is_signed_out_for_good(
    database: Database,
    sessions: SessionService,
    identity: IdentityService,
    make_scope: MakeScope,
    owner: AnyConnection,
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    tokens = await open_session(database, sessions, ann)
    bobs = await open_session(database, sessions, bob)
    suspend = "UPDATE users SET suspended_at = $2 WHERE id = $1"
    await owner.execute(suspend, ann.principal_id, datetime.now(UTC))
    assert not await is_signed_in(identity, tokens.access_token)
    with pytest.raises(RefreshRefusedError):
        await sessions.refresh(tokens.refresh_token)
    with pytest.raises(Exception, match="the user is suspended"):
        await open_session(database, sessions, ann)
    await owner.execute(suspend, ann.principal_id, None)
    assert not await is_signed_in(identity, tokens.access_token)
    with pytest.raises(RefreshRefusedError):
        await sessions.refresh(tokens.refresh_token)
    assert await is_signed_in(identity, bobs.access_token)


async def test_who_signs_in_again_and_again_loses_the_oldest_session(
    database: Database, sessions: SessionService, identity: IdentityService, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    opened = [await open_session(database, sessions, ann) for _ in range(MOST_SESSIONS + 1)]
    states = [await is_signed_in(identity, tokens.access_token) for tokens in opened]
    assert states == [False] + [True] * MOST_SESSIONS


async def test_what_is_of_no_use_is_forgotten_and_what_is_of_use_is_kept(
    database: Database, sessions: SessionService, make_scope: MakeScope, owner: AnyConnection
) -> None:
    ann = await make_scope()
    old = await open_session(database, sessions, ann)
    new = await open_session(database, sessions, ann)
    assert await sessions.forget_ended() == 0
    await owner.execute(
        "UPDATE sessions SET expires_at = now() - interval '31 days' WHERE id = $1", old.session_id
    )
    await owner.execute("UPDATE access_tokens SET expires_at = now() - interval '25 hours'")
    assert await sessions.forget_ended() == 3
    assert [row["id"] for row in await owner.fetch("SELECT id FROM sessions")] == [new.session_id]
    await sessions.refresh(new.refresh_token)
