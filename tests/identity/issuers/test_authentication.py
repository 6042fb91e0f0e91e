"""An issuer has to have authenticated its users as the registration asks; what a token lacks of that is said by name.

ASVS 5.0, 6.8.4.
"""

from dataclasses import replace
from typing import Any

import pytest

from tests.identity.credentials import Desk
from tests.identity.issuers.conftest import Outside
from tests.identity.issuers.test_service import token
from undercroft.identity.errors import UnauthenticatedError
from undercroft.identity.issuers.errors import IssuerExistsError, WeakAuthenticationError
from undercroft.identity.issuers.models import FixedAudience, RequiredAuthentication
from undercroft.identity.issuers.service import IssuerService
from undercroft.kit.database import Database
from undercroft.kit.errors import ErrorKind, InvalidRequestError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.models import TENANT_PREFIX
from undercroft.ledger.service import Ledger

WANTED = RequiredAuthentication(("urn:mfa", "urn:phishing-resistant"), ("otp", "pwd"), 3600)
ENOUGH: dict[str, Any] = {"acr": "urn:mfa", "amr": ["pwd", "otp", "geo"], "auth_time": -3600}


async def register(outside: Outside, wanted: RequiredAuthentication) -> None:
    """Register it with that in place of what it was."""
    (issuer,) = await outside.service.list_issuers(outside.admin, None, 10)
    await outside.service.delete(outside.admin, issuer.id)
    made = await outside.service.register(
        outside.admin, outside.registration(authentication=wanted)
    )
    assert made.registration.authentication == wanted


def says(outside: Outside, claims: dict[str, Any]) -> str:
    """A token with these; a time is meant from now on."""
    time = claims.get("auth_time")
    if isinstance(time, int) and not isinstance(time, bool):
        claims = {**claims, "auth_time": int(outside.clock.now().timestamp()) + time}
    return token(outside, None, **claims)


async def test_who_was_authenticated_as_it_is_asked_is_let_in(outside: Outside) -> None:
    await register(outside, WANTED)
    for more in ({}, {"acr": "urn:phishing-resistant"}, {"auth_time": 0}, {"auth_time": -3660}):
        principal = await outside.service.authenticate(says(outside, {**ENOUGH, **more}))
        assert principal.tenant_id == outside.admin.tenant_id


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        *(("acr", value) for value in (None, "urn:password", "urn:mfa ", "URN:MFA", ["urn:mfa"], 0)),
        *(("amr", value) for value in (None, [], ["otp"], "pwd otp", {"pwd": 1, "otp": 1}, [["pwd", "otp"]])),
        *(("auth_time", value) for value in (None, -3661, 61, "now", True, [0])),
    ],
)  # fmt: skip
async def test_what_a_token_lacks_is_said_by_name(
    outside: Outside, database: Database, claim: str, value: object
) -> None:
    await register(outside, WANTED)
    with pytest.raises(WeakAuthenticationError) as refused:
        await outside.service.authenticate(says(outside, {**ENOUGH, claim: value}))
    assert (refused.value.param, refused.value.kind) == (claim, ErrorKind.UNAUTHENTICATED)
    assert f"`{claim}`" in refused.value.message
    async with database.transaction(outside.admin) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM users") == 1


async def test_a_token_that_does_not_hold_is_told_nothing(outside: Outside) -> None:
    """What is asked is said to whoever has a good token alone."""
    await register(outside, WANTED)
    for changes in ({"exp": 1}, {"aud": "another"}, {"sub": None, "events": {}}):
        with pytest.raises(UnauthenticatedError):
            await outside.service.authenticate(token(outside, None, **changes))


async def test_where_nothing_is_asked_nothing_is_looked_at(outside: Outside) -> None:
    for claims in ({}, {"acr": 7, "amr": "pwd", "auth_time": "never"}):
        await outside.service.authenticate(token(outside, None, **claims))


async def test_each_is_asked_alone(outside: Outside) -> None:
    for wanted, enough in (
        (RequiredAuthentication(acr_values=("urn:mfa",)), {"acr": "urn:mfa"}),
        (RequiredAuthentication(amr_values=("otp",)), {"amr": ["otp"]}),
        (RequiredAuthentication(longest_age=60), {"auth_time": -60}),
    ):
        await register(outside, wanted)
        outside.clock.pass_seconds(31)
        await outside.service.authenticate(says(outside, enough))
        with pytest.raises(WeakAuthenticationError):
            await outside.service.authenticate(token(outside))


async def test_what_was_struck_off_does_not_keep_the_pair(
    outside: Outside, desk: Desk, database: Database, owner: AnyConnection
) -> None:
    """The operator gives a fixed audience to another tenant, whose users come in from then on."""
    eve = await desk.identity.authenticate((await desk.key(await desk.person(role="admin"))).secret)
    await outside.fix_audience()
    ann = await outside.service.authenticate(token(outside))
    fixed = outside.registration()
    given = FixedAudience(render_id(TENANT_PREFIX, eve.tenant_id), fixed.url, fixed.audience)
    parts = Ledger(database, IdSource(), outside.clock), outside.service._keys
    later = IssuerService(
        database, *parts, IdSource(), outside.clock, fixed_audiences=frozenset({given})
    )
    with pytest.raises(UnauthenticatedError):
        await later.authenticate(token(outside))
    with pytest.raises(InvalidRequestError, match="fixed_audiences"):
        await later.register(outside.admin, fixed)
    await later.register(eve, fixed)
    found = await later.authenticate(token(outside))
    assert (found.tenant_id, found.user_id != ann.user_id) == (eve.tenant_id, True)
    assert await later.list_issuers(outside.admin, None, 10) == []
    rows = await owner.fetch(
        "SELECT tenant_id FROM ledger_pending WHERE action = 'issuer.delete' ORDER BY xid, ordinal"
    )
    assert [row["tenant_id"] for row in rows] == [outside.admin.tenant_id] * 2
    with pytest.raises(IssuerExistsError):
        await later.register(eve, fixed)


async def test_of_two_to_whom_one_pair_was_given_who_registers_first_keeps_it(
    outside: Outside, desk: Desk, database: Database
) -> None:
    eve = await desk.identity.authenticate((await desk.key(await desk.person(role="admin"))).secret)
    await outside.fix_audience()
    fixed = outside.registration()
    given = frozenset(
        FixedAudience(render_id(TENANT_PREFIX, tenant_id), fixed.url, fixed.audience)
        for tenant_id in (eve.tenant_id, outside.admin.tenant_id)
    )
    parts = Ledger(database, IdSource(), outside.clock), outside.service._keys
    both = IssuerService(database, *parts, IdSource(), outside.clock, fixed_audiences=given)
    with pytest.raises(IssuerExistsError):
        await both.register(eve, replace(fixed, creates_users=True))
    assert (await both.authenticate(token(outside))).tenant_id == outside.admin.tenant_id
