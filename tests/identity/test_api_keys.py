"""A person makes keys for themselves and an admin for services, and no key carries more than what made it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.conftest import Member
from tests.identity.conftest import Audit
from tests.ledger.conftest import Parts
from undercroft.identity.api_keys import MOST_KEYS, ApiKeyService
from undercroft.identity.errors import (
    NotYourKeyError,
    OutlivingKeyError,
    TooManyKeysError,
    UnauthenticatedError,
    WiderKeyError,
)
from undercroft.identity.members.service import MemberService
from undercroft.identity.models import Kind, Permission, Principal, Role
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.models import Outcome

SEARCH = frozenset({Permission.SEARCH})
ACT = frozenset({Permission.ACT_FOR_USERS})


@pytest.fixture
def keys(database: Database, parts: Parts, members: MemberService) -> ApiKeyService:
    return ApiKeyService(database, parts.ledger, members, IdSource(), SystemClock())


@pytest.fixture
def identity(database: Database, parts: Parts) -> IdentityService:
    return IdentityService(database, parts.ledger, IdSource(), SystemClock())


def principal(member: Member, role: Role = Role.MEMBER) -> Principal:
    return Principal(member.tenant_id, member.principal_id, member.principal_id, role)


async def test_a_person_makes_and_revokes_keys_of_their_own(
    keys: ApiKeyService, identity: IdentityService, carol: Member, audit: Audit
) -> None:
    caller = principal(carol)
    made = await keys.create(caller, carol.principal_id, SEARCH, timedelta(hours=1))
    assert made.secret not in repr(made)
    bearer = await identity.authenticate(made.secret)
    assert (bearer.user_id, bearer.scopes) == (carol.principal_id, SEARCH)
    assert bearer.credential_id == made.key.id
    (listed,) = await keys.list_keys(caller, carol.principal_id, None, 9)
    assert (listed.id, listed.scopes) == (made.key.id, {"search"})
    revoked = await keys.revoke(caller, carol.principal_id, made.key.id)
    assert revoked.revoked_at is not None
    assert await keys.revoke(caller, carol.principal_id, made.key.id) == revoked
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(made.secret)
    entries = await audit(carol.tenant_id, carol.principal_id)
    assert [one.action for one in entries] == ["key.create", "key.revoke"]
    assert {one.actor_id for one in entries} == {carol.principal_id}


async def test_an_admin_makes_keys_for_services_and_for_no_other_person(
    keys: ApiKeyService,
    identity: IdentityService,
    members: MemberService,
    ann: Member,
    carol: Member,
    audit: Audit,
) -> None:
    admin = principal(ann, Role.ADMIN)
    service = await members.create_service(ann, "invoices", Role.MEMBER)
    made = await keys.create(admin, service.id, None, None)
    bearer = await identity.authenticate(made.secret)
    assert (bearer.kind, bearer.role, bearer.scopes) == (Kind.SERVICE, Role.MEMBER, None)
    with pytest.raises(NotYourKeyError):
        await keys.create(admin, carol.principal_id, SEARCH, None)
    denied = (await audit(ann.tenant_id, carol.principal_id))[-1]
    assert (denied.action, denied.outcome) == ("key.create", Outcome.DENIED)


async def test_an_admin_sees_and_revokes_everybodys(
    keys: ApiKeyService, identity: IdentityService, ann: Member, carol: Member
) -> None:
    made = await keys.create(principal(carol), carol.principal_id, None, None)
    admin = principal(ann, Role.ADMIN)
    assert await keys.get(admin, carol.principal_id, made.key.id) == made.key
    await keys.revoke(admin, carol.principal_id, made.key.id)
    with pytest.raises(UnauthenticatedError):
        await identity.authenticate(made.secret)


async def test_anybody_elses_keys_are_not_there(
    keys: ApiKeyService, ann: Member, carol: Member, audit: Audit
) -> None:
    made = await keys.create(principal(ann, Role.ADMIN), ann.principal_id, None, None)
    caller = principal(carol)
    for attempt in (
        keys.create(caller, ann.principal_id, SEARCH, None),
        keys.list_keys(caller, ann.principal_id, None, 9),
        keys.get(caller, ann.principal_id, made.key.id),
        keys.revoke(caller, ann.principal_id, made.key.id),
        keys.get(caller, carol.principal_id, made.key.id),
    ):
        with pytest.raises(NotFoundError):
            await attempt
    denied = [one.action for one in await audit(ann.tenant_id, None) if one.outcome == "denied"]
    assert denied == ["key.create", "key.read", "key.read", "key.revoke"]


async def test_whoever_was_an_admin_when_they_asked_makes_none_for_services(
    keys: ApiKeyService, members: MemberService, ann: Member, bob: Member
) -> None:
    service = await members.create_service(ann, "invoices", Role.MEMBER)
    await members.change_role(ann, bob.principal_id, Role.MEMBER)
    with pytest.raises(NotFoundError):
        await keys.create(principal(bob, Role.ADMIN), service.id, SEARCH, None)


async def test_no_key_carries_more_than_what_made_it(
    keys: ApiKeyService, members: MemberService, ann: Member, carol: Member
) -> None:
    scopes = frozenset({Permission.KEYS, Permission.SEARCH})
    narrowed = replace(principal(carol), scopes=scopes)
    await keys.create(narrowed, carol.principal_id, SEARCH, None)
    for wider in (None, frozenset({Permission.SEARCH, Permission.RECORDS_READ})):
        with pytest.raises(WiderKeyError):
            await keys.create(narrowed, carol.principal_id, wider, None)
    service = await members.create_service(ann, "invoices", Role.ADMIN)
    narrow_admin = replace(principal(ann, Role.ADMIN), scopes=scopes)
    for wider in (None, ACT, frozenset({Permission.ADMINISTER})):
        with pytest.raises(WiderKeyError):
            await keys.create(narrow_admin, service.id, wider, None)


async def test_no_key_lasts_longer_than_the_key_that_made_it(
    keys: ApiKeyService,
    identity: IdentityService,
    members: MemberService,
    ann: Member,
) -> None:
    hour = timedelta(hours=1)
    short = await keys.create(principal(ann, Role.ADMIN), ann.principal_id, None, hour)
    leaked = await identity.authenticate(short.secret)
    service = await members.create_service(ann, "invoices", Role.MEMBER)
    for whose in (ann.principal_id, service.id):
        for longer in (None, 2 * hour):
            with pytest.raises(OutlivingKeyError):
                await keys.create(leaked, whose, SEARCH, longer)
        made = await keys.create(leaked, whose, SEARCH, hour / 2)
        assert short.key.expires_at is not None
        assert made.key.expires_at is not None
        assert made.key.expires_at < short.key.expires_at


async def test_only_a_person_lets_a_service_act_for_users(
    keys: ApiKeyService, members: MemberService, ann: Member
) -> None:
    service = await members.create_service(ann, "invoices", Role.ADMIN)
    other = await members.create_service(ann, "letters", Role.MEMBER)
    itself = Principal(ann.tenant_id, service.id, service.id, Role.ADMIN, Kind.SERVICE)
    for whose in (service.id, other.id):
        with pytest.raises(WiderKeyError):
            await keys.create(itself, whose, ACT, None)
    made = await keys.create(principal(ann, Role.ADMIN), other.id, ACT, None)
    assert made.key.scopes == ACT


async def test_a_scope_that_the_user_cannot_have_is_refused(
    keys: ApiKeyService, carol: Member
) -> None:
    for beyond in (Permission.ADMINISTER, Permission.ACT_FOR_USERS):
        with pytest.raises(InvalidRequestError, match=beyond):
            await keys.create(principal(carol), carol.principal_id, frozenset({beyond}), None)


async def test_keys_that_can_be_used_are_bounded(
    keys: ApiKeyService, database: Database, carol: Member
) -> None:
    async with database.transaction(carol) as transaction:
        await transaction.execute(
            "INSERT INTO api_keys (id, tenant_id, user_id, prefix, key_hash)"
            " SELECT gen_random_uuid(), $1, $2, 'uk_00000000', sha256(n::text::bytea)"
            " FROM generate_series(1, $3::int) AS n",
            *(carol.tenant_id, carol.principal_id, MOST_KEYS),
        )
    with pytest.raises(TooManyKeysError):
        await keys.create(principal(carol), carol.principal_id, SEARCH, None)
    async with database.transaction(carol) as transaction:
        await transaction.execute("UPDATE api_keys SET expires_at = now()")
    await keys.create(principal(carol), carol.principal_id, SEARCH, None)
