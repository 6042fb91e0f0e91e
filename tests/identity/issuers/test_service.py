"""A registered issuer's token is its user's while the registration stands; a hostile one is nobody's."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from joserfc.jwk import RSAKey

from tests.identity.credentials import Desk
from tests.identity.issuers.conftest import (
    FIXED_AUDIENCE,
    Outside,
    make_ec_key,
    public,
    sign,
)
from undercroft.identity.errors import PersonRequiredError, UnauthenticatedError
from undercroft.identity.issuers.errors import IssuerExistsError, IssuerUnreachableError
from undercroft.identity.issuers.fetching import FRESH_SECONDS, INTERVAL_SECONDS, LONGEST_SECONDS
from undercroft.identity.issuers.service import IssuerService
from undercroft.identity.models import Kind, Permission, Role
from undercroft.kit.database import Database
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger

HEADER = {"alg": "ES256", "kid": "first", "typ": "JWT"}


def token(outside: Outside, header: dict[str, Any] | None = None, **changes: object) -> str:
    return sign(outside.key, json.dumps(outside.claims(**changes)), {**HEADER, **(header or {})})


def part(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_who_comes_first_becomes_a_member_and_stays_the_same(outside: Outside) -> None:
    first = await outside.service.authenticate(token(outside))
    again = await outside.service.authenticate(token(outside))
    other = await outside.service.authenticate(token(outside, sub="bob"))
    assert first == again
    assert (first.tenant_id, first.role, first.kind) == (
        outside.admin.tenant_id,
        Role.MEMBER,
        Kind.PERSON,
    )
    assert other.user_id != first.user_id
    assert outside.server.calls() == {"discovery": 1, "keys": 1}


async def test_two_first_requests_at_once_make_one_user(
    outside: Outside, database: Database
) -> None:
    found = await asyncio.gather(*(outside.service.authenticate(token(outside)) for _ in range(6)))
    assert len({principal.user_id for principal in found}) == 1
    async with database.transaction(outside.admin) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM users") == 2


def _mac(outside: Outside) -> str:
    secret = json.dumps(public(outside.key)).encode()
    signed = f"{part({**HEADER, 'alg': 'HS256'})}.{part(outside.claims())}"
    code = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(code).decode().rstrip('=')}"


def _other_algorithm(outside: Outside) -> str:
    key = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
    outside.server.publish(public(outside.key), public(key))
    header = {**HEADER, "alg": "RS256", "kid": "rsa"}
    return sign(key, json.dumps(outside.claims()), header)


def _own_key(outside: Outside) -> str:
    mine = make_ec_key("mine")
    named = {
        "jwk": public(mine),
        "jku": f"{outside.server.url}/keys",
        "x5u": "https://evil.example",
    }
    return sign(mine, json.dumps(outside.claims()), {**HEADER, "kid": "mine", **named})


def _header_twice(outside: Outside) -> str:
    header = json.dumps(HEADER)[:-1] + ', "alg": "ES256"}'
    return f"{part(header)}.{part(outside.claims())}.{part('x' * 64)}"


def _raw_header(outside: Outside, header: dict[str, Any]) -> str:
    _, payload, _ = token(outside).split(".")
    return f"{part(header)}.{payload}.{part('x' * 64)}"


def _changed(outside: Outside) -> str:
    header, _, signature = token(outside).split(".")
    return f"{header}.{part(outside.claims(sub='root'))}.{signature}"


HOSTILE: dict[str, Callable[[Outside], str]] = {
    "none": lambda o: f"{part({**HEADER, 'alg': 'none'})}.{part(o.claims())}.AA",
    "a MAC under the public key": _mac,
    "an algorithm that is not pinned": _other_algorithm,
    "somebody else's key": lambda o: sign(make_ec_key("first"), json.dumps(o.claims()), HEADER),
    "its own key in the header": _own_key,
    "a key id that is a path": lambda o: token(o, {"kid": "../../../../dev/null"}),
    "a key id that is a URL": lambda o: token(o, {"kid": f"{o.server.url}/keys"}),
    "a key id that is no text": lambda o: (
        f"{part({**HEADER, 'kid': {'a': 1}})}.{part(o.claims())}.AA"
    ),
    "an unknown key": lambda o: token(o, {"kid": "second"}),
    "critical extensions": lambda o: _raw_header(o, {**HEADER, "crit": ["exp"], "exp": 1}),
    "a nested token": lambda o: _raw_header(o, {**HEADER, "cty": "JWT"}),
    "another type": lambda o: token(o, {"typ": "logout+jwt"}),
    "a sign-out": lambda o: token(o, events={"http://schemas.openid.net/event": {}}),
    "another issuer": lambda o: token(o, iss="https://evil.example"),
    "the issuer with a slash": lambda o: token(o, iss=f"{o.server.url}/"),
    "another audience": lambda o: token(o, aud="https://api.example/other"),
    "an audience around it": lambda o: token(o, aud=f"{o.audience}.example"),
    "an audience in other letters": lambda o: token(o, aud=o.audience.upper()),
    "audiences in a text": lambda o: token(o, aud=f"{o.audience} another"),
    "an audience as the authorized party": lambda o: token(o, aud="another", azp=o.audience),
    "no audience": lambda o: token(o, aud=None),
    "an expired one": lambda o: token(o, exp=int(o.clock.now().timestamp()) - 61),
    "no expiry": lambda o: token(o, exp=None),
    "an endless one": lambda o: token(o, exp=int(o.clock.now().timestamp()) + 90_000),
    "an infinite one": lambda o: sign(
        o.key, json.dumps(o.claims(exp=1)).replace('"exp": 1', '"exp": 1e999'), HEADER
    ),
    "one of the future": lambda o: token(o, iat=int(o.clock.now().timestamp()) + 61),
    "one not yet valid": lambda o: token(o, nbf=int(o.clock.now().timestamp()) + 61),
    "no time of issue": lambda o: token(o, iat=None),
    "an old one": lambda o: token(o, iat=int(o.clock.now().timestamp()) - 90_000),
    "no subject": lambda o: token(o, sub=None),
    "an empty subject": lambda o: token(o, sub=""),
    "a long subject": lambda o: token(o, sub="x" * 256),
    "a subject with a NUL": lambda o: token(o, sub="ann\x00"),
    "a number for a subject": lambda o: token(o, sub=7),
    "a claim twice": lambda o: sign(
        o.key, json.dumps(o.claims())[:-1] + ', "sub": "root"}', HEADER
    ),
    "a header twice": _header_twice,
    "no object": lambda o: sign(o.key, "[1]", HEADER),
    "deep": lambda o: sign(o.key, '{"iss":' + "[" * 3000 + "]" * 3000 + "}", HEADER),
    "oversized": lambda o: token(o, more="x" * 9000),
    "encrypted": lambda o: token(o) + ".AA.AA",
    "a changed claim": _changed,
}


@pytest.mark.parametrize("audience", ["own", "fixed"])
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_token_is_nobodys(
    outside: Outside, database: Database, name: str, audience: str
) -> None:
    if audience == "fixed":
        await outside.fix_audience()
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(HOSTILE[name](outside))
    async with database.transaction(outside.admin) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM users") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["another", "AUDIENCE"]},
        {"exp": -59},
        {"iat": 59},
        {"nbf": 59},
        {"sub": "a|b/c@d"},
    ],
)
async def test_what_is_within_bounds_is_taken(outside: Outside, changes: dict[str, Any]) -> None:
    now = int(outside.clock.now().timestamp())
    changed: dict[str, Any] = {
        name: now + value if isinstance(value, int) else value for name, value in changes.items()
    }
    if "aud" in changed:
        changed["aud"] = ["another", outside.audience]
    if "exp" in changed:
        changed["iat"] = now - 300
    await outside.service.authenticate(token(outside, None, **changed))


@pytest.mark.parametrize("weakness", ["private half", "for encryption", "RSA of 1024 bits"])
async def test_a_key_that_proves_nothing_is_not_used(outside: Outside, weakness: str) -> None:
    key: Any = outside.key
    published = public(key)
    if weakness == "private half":
        published = dict(key.as_dict(private=True))
    elif weakness == "for encryption":
        published["use"] = "enc"
    else:
        outside.server.publish({**_weak_rsa(), "kid": "first"})
        published = None  # pyright: ignore[reportAssignmentType] - published already
    if published is not None:
        outside.server.publish(published)
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(token(outside))


def _weak_rsa() -> dict[str, Any]:
    number = int.from_bytes(hashlib.sha512(b"n").digest() * 2) | (1 << 1023) | 1
    modulus = base64.urlsafe_b64encode(number.to_bytes(128)).decode().rstrip("=")
    return {"kty": "RSA", "n": modulus, "e": "AQAB", "use": "sig"}


async def test_keys_rotate_without_an_interruption(outside: Outside) -> None:
    await outside.service.authenticate(token(outside))
    former, outside.key = outside.key, make_ec_key("second")
    outside.server.publish(public(former), public(outside.key))
    outside.clock.pass_seconds(INTERVAL_SECONDS)
    await outside.service.authenticate(token(outside, {"kid": "second"}))
    assert outside.server.calls() == {"discovery": 1, "keys": 1}


async def test_unknown_keys_fetch_once_in_an_interval_however_many_ask(outside: Outside) -> None:
    await outside.service.authenticate(token(outside))
    outside.clock.pass_seconds(INTERVAL_SECONDS)
    outside.server.publish(public(outside.key))
    for _ in range(2):
        asked = [
            outside.service.authenticate(token(outside, {"kid": f"k{number}"}))
            for number in range(20)
        ]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, UnauthenticatedError)
    assert outside.server.calls() == {"discovery": 1, "keys": 1}


@pytest.mark.parametrize("behaviour", ["failing", "garbage", "huge", "redirect", "another's"])
async def test_while_the_issuer_fails_its_keys_serve_until_their_limit(
    outside: Outside, behaviour: str
) -> None:
    await outside.service.authenticate(token(outside))
    outside.server.publish(public(outside.key), behaviour=behaviour)
    outside.clock.pass_seconds(FRESH_SECONDS + 1)
    await outside.service.authenticate(token(outside))
    outside.clock.pass_seconds(LONGEST_SECONDS)
    with pytest.raises(IssuerUnreachableError):
        await outside.service.authenticate(token(outside))
    outside.server.publish(public(outside.key))
    outside.clock.pass_seconds(INTERVAL_SECONDS)
    await outside.service.authenticate(token(outside))


async def test_a_key_that_was_taken_back_ends_with_the_next_fetch(outside: Outside) -> None:
    await outside.service.authenticate(token(outside))
    outside.server.publish(public(make_ec_key("second")))
    outside.clock.pass_seconds(FRESH_SECONDS + 1)
    # An unknown key waits for the fetch that is due.
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(token(outside, {"kid": "third"}))
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(token(outside))


async def test_a_deleted_registration_ends_at_the_next_statement(outside: Outside) -> None:
    await outside.service.authenticate(token(outside))
    (issuer,) = await outside.service.list_issuers(outside.admin, None, 10)
    await outside.service.delete(outside.admin, issuer.id)
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(token(outside))
    with pytest.raises(NotFoundError):
        await outside.service.delete(outside.admin, issuer.id)


async def test_a_registration_that_is_made_again_finds_the_same_people(outside: Outside) -> None:
    ann = await outside.service.authenticate(token(outside))
    (issuer,) = await outside.service.list_issuers(outside.admin, None, 10)
    await outside.service.delete(outside.admin, issuer.id)
    await outside.service.register(outside.admin, outside.registration())
    outside.clock.pass_seconds(31)
    again = await outside.service.authenticate(token(outside))
    assert again.user_id == ann.user_id


async def test_a_suspended_user_is_nobody(outside: Outside, database: Database) -> None:
    ann = await outside.service.authenticate(token(outside))
    async with database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE users SET suspended_at = now() WHERE id = $1", ann.user_id
        )
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(token(outside))


async def test_an_address_names_nobody_unless_it_is_verified_and_trusted(
    outside: Outside, desk: Desk
) -> None:
    bob = await desk.person(outside.admin.tenant_id)
    mine: dict[str, Any] = {"email": bob.email, "email_verified": True}
    by_default = await outside.service.authenticate(token(outside, sub="1", **mine))
    assert by_default.user_id != bob.principal_id
    (issuer,) = await outside.service.list_issuers(outside.admin, None, 10)
    await outside.service.delete(outside.admin, issuer.id)
    trusting = outside.registration(trusts_addresses=True, creates_users=False)
    await outside.service.register(outside.admin, trusting)
    outside.clock.pass_seconds(31)
    for verified in (None, False, "true"):
        claimed = token(outside, sub="2", email=bob.email, email_verified=verified)
        with pytest.raises(UnauthenticatedError):
            await outside.service.authenticate(claimed)
    found = await outside.service.authenticate(token(outside, sub="2", **mine))
    assert found.user_id == bob.principal_id


@pytest.mark.parametrize("twin", ["mi\u212ae@corp.example", "mike@\u212aelvin.example"])
async def test_an_address_in_other_letters_is_nobodys(
    outside: Outside, desk: Desk, database: Database, twin: str
) -> None:
    """The Kelvin sign is a k in small letters: whom an issuer lets have one is not Mike."""
    mike = await desk.person(outside.admin.tenant_id)
    async with database.transaction(outside.admin) as transaction:
        await transaction.execute(
            "UPDATE users SET email = $2 WHERE id = $1", mike.principal_id, twin.lower()
        )
    (issuer,) = await outside.service.list_issuers(outside.admin, None, 10)
    await outside.service.delete(outside.admin, issuer.id)
    trusting = outside.registration(trusts_addresses=True, creates_users=False)
    await outside.service.register(outside.admin, trusting)
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(token(outside, email=twin, email_verified=True))


async def test_only_a_person_with_all_their_rights_says_who_is_who(outside: Outside) -> None:
    """Whoever brings the issuer's token has all that its user may: more than a narrowed credential gets hold of."""
    another = outside.registration(url="https://evil.example")
    narrowed = replace(outside.admin, scopes=frozenset({Permission.ADMINISTER}))
    program = replace(outside.admin, kind=Kind.SERVICE)
    acting = replace(outside.admin, actor_id=outside.admin.user_id)
    for caller in (narrowed, program, acting):
        with pytest.raises(PersonRequiredError):
            await outside.service.register(caller, another)


async def test_an_admin_alone_cannot_have_an_issuer_name_users_by_address(
    outside: Outside, desk: Desk, database: Database
) -> None:
    """With an issuer of their own they would be any user, whose things no admin reads."""
    bob = await desk.person(outside.admin.tenant_id)
    parts = Ledger(database, IdSource(), outside.clock), outside.service._keys
    unlisted = IssuerService(database, *parts, IdSource(), outside.clock)
    (issuer,) = await outside.service.list_issuers(outside.admin, None, 10)
    await outside.service.delete(outside.admin, issuer.id)
    trusting = outside.registration(trusts_addresses=True)
    with pytest.raises(InvalidRequestError, match="operator"):
        await unlisted.register(outside.admin, trusting)
    await outside.service.register(outside.admin, trusting)
    claimed = token(outside, sub="1", email=bob.email, email_verified=True)
    struck_off = await unlisted.authenticate(claimed)
    assert struck_off.user_id != bob.principal_id


async def test_a_nickname_does_not_name_whom_a_subject_names(outside: Outside) -> None:
    ann = await outside.service.authenticate(token(outside))
    (issuer,) = await outside.service.list_issuers(outside.admin, None, 10)
    await outside.service.delete(outside.admin, issuer.id)
    await outside.service.register(outside.admin, outside.registration(subject_claim="nickname"))
    outside.clock.pass_seconds(31)
    eve = await outside.service.authenticate(token(outside, sub="eve", nickname="ann"))
    assert eve.user_id != ann.user_id
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(token(outside, sub="eve", nickname="a" * 250))


async def test_nobody_registers_for_another_tenants_audience(outside: Outside, desk: Desk) -> None:
    eve = await desk.identity.authenticate((await desk.key(await desk.person(role="admin"))).secret)
    with pytest.raises(InvalidRequestError, match="tenant's own"):
        await outside.service.register(eve, outside.registration())
    with pytest.raises(asyncpg.CheckViolationError):
        await desk.run(
            await desk.person(),
            "INSERT INTO issuers (id, tenant_id, url, audience, algorithms, subject_claim, creates_users,"
            " trusts_addresses) VALUES (gen_random_uuid(), current_tenant(), 'https://a.example', $1, '{ES256}',"
            " 'sub', true, false)",
            outside.audience,
        )
    with pytest.raises(IssuerExistsError):
        await outside.service.register(outside.admin, outside.registration())


REGISTER = (
    "INSERT INTO issuers (id, tenant_id, url, audience, algorithms, subject_claim, creates_users,"
    " trusts_addresses) VALUES (gen_random_uuid(), current_tenant(), $1, $2, '{ES256}', 'sub', true, false)"
)


async def test_a_fixed_audience_is_the_tenants_to_whom_the_operator_gave_it(
    outside: Outside, desk: Desk, database: Database
) -> None:
    person = await desk.person(role="admin")
    eve = await desk.identity.authenticate((await desk.key(person)).secret)
    fixed = outside.registration(audience=FIXED_AUDIENCE)
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(token(outside, aud=FIXED_AUDIENCE))
    with pytest.raises(InvalidRequestError, match="fixed_audiences"):
        await outside.service.register(eve, fixed)
    for changes in ({"url": "https://evil.example"}, {"audience": "4321.apps.example"}):
        with pytest.raises(InvalidRequestError, match="fixed_audiences"):
            await outside.service.register(outside.admin, replace(fixed, **changes))
    await outside.service.register(outside.admin, fixed)
    for named in (FIXED_AUDIENCE, ["another", FIXED_AUDIENCE]):
        found = await outside.service.authenticate(token(outside, aud=named))
        assert found.tenant_id == outside.admin.tenant_id
    # Whom it is registered for is one: also where the service would have let another.
    with pytest.raises(asyncpg.UniqueViolationError):
        await desk.run(person, REGISTER, outside.server.url, FIXED_AUDIENCE)
    # Of two registrations, each for an audience of the token's, none is meant.
    await desk.run(person, REGISTER, outside.server.url, "of-eve")
    for audiences in (["of-eve", FIXED_AUDIENCE], ["of-eve", outside.audience]):
        with pytest.raises(UnauthenticatedError):
            await outside.service.authenticate(token(outside, aud=audiences))
    # Nor by what was never given to whoever registered it, or is no more.
    with pytest.raises(UnauthenticatedError):
        await outside.service.authenticate(token(outside, aud="of-eve"))
    parts = Ledger(database, IdSource(), outside.clock), outside.service._keys
    unlisted = IssuerService(database, *parts, IdSource(), outside.clock)
    assert await unlisted.authenticate(token(outside))
    with pytest.raises(UnauthenticatedError):
        await unlisted.authenticate(token(outside, aud=FIXED_AUDIENCE))
