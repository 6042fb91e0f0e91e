"""Accounts: invited, signed up, verified, and given other passwords, each by a code that is good once.

ASVS 5.0: 6.2.2, 6.2.3 (the current password is asked for), 6.3.7 (told of a change), 6.4.1 (codes end soon), 6.4.3 (a
reset goes around nothing), 6.5.1 (good once), 6.5.2 and 6.5.3 (random, kept as hashes), 7.4.3 (other sessions end).
"""

import asyncio
import re
from dataclasses import replace

import pytest

from tests.identity.accounts.conftest import LAPTOP, OTHER, PASSWORD, PHONE, Parts
from tests.stepping import until_blocked
from undercroft.identity.accounts.attempts import MAILS, PAIR
from undercroft.identity.accounts.errors import (
    AlreadyAcceptedError,
    CurrentPasswordError,
    SignUpClosedError,
    TooManyAttemptsError,
    WeakPasswordError,
    WrongCodeError,
    WrongPasswordError,
)
from undercroft.identity.accounts.models import MOST_CODES
from undercroft.identity.errors import PersonRequiredError, UnauthenticatedError
from undercroft.identity.models import Kind, Permission, Principal, Role
from undercroft.identity.sessions.errors import RefreshRefusedError
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.mail.message import InvalidMessageError
from undercroft.kit.sql import AnyConnection

ANN = "ann@example.org"
BOB = "bob@example.org"


async def list_actions(owner: AnyConnection, principal: Principal) -> list[str]:
    """What is on record of a person, and seen by them in their audit."""
    rows = await owner.fetch(
        "SELECT action FROM ledger_pending WHERE owner_id = $1 ORDER BY xid, ordinal",
        principal.user_id,
    )
    return [row["action"] for row in rows]


async def make_admin(parts: Parts) -> Principal:
    return await parts.make_person("admin@example.org", role=Role.ADMIN)


async def test_an_invited_person_sets_a_password_by_the_code_in_the_mail(
    parts: Parts, owner: AnyConnection
) -> None:
    admin = await make_admin(parts)
    ann = (await parts.identity.issue_key("acme", ANN)).principal
    await parts.accounts.invite(admin, ann.user_id)
    letter = parts.post.letters[-1]
    assert letter.to == ANN
    assert "admin@example.org" in letter.text, "it says who asked"
    assert "do nothing" in letter.text, "and what to do if that is unexpected"
    assert not (await parts.accounts.get_account(ann)).is_verified
    await parts.accounts.use_password_code(parts.post.code(ANN), PASSWORD, LAPTOP)
    assert (await parts.accounts.get_account(ann)).is_verified
    await parts.enter(ANN)
    actions = await list_actions(owner, ann)
    assert actions[-4:] == [
        "account.invite",
        "account.verify",
        "account.set_password",
        "session.create",
    ]
    with pytest.raises(AlreadyAcceptedError):
        await parts.accounts.invite(admin, ann.user_id)


async def test_a_second_invitation_makes_the_first_void(parts: Parts) -> None:
    admin = await make_admin(parts)
    ann = (await parts.identity.issue_key("acme", ANN)).principal
    for _ in range(MOST_CODES + 2):
        await parts.accounts.invite(admin, ann.user_id)
    first = next(letter for letter in parts.post.letters if letter.to == ANN)
    (void,) = re.findall(r"uc_[0-9A-Za-z_-]{43}", first.text)
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_password_code(void, PASSWORD, LAPTOP)
    await parts.accounts.use_password_code(parts.post.code(ANN), PASSWORD, LAPTOP)


async def test_nobody_of_another_tenant_can_be_invited(parts: Parts) -> None:
    admin = await make_admin(parts)
    stranger = (await parts.identity.issue_key("mill", ANN)).principal
    for user_id in (stranger.user_id, IdSource().new()):
        with pytest.raises(NotFoundError):
            await parts.accounts.invite(admin, user_id)


async def test_signing_up_is_closed_until_an_admin_opens_it(
    parts: Parts, owner: AnyConnection
) -> None:
    admin = await make_admin(parts)
    for tenant in ("acme", "not there"):
        with pytest.raises(SignUpClosedError):
            await parts.mailing.sign_up(tenant, ANN, LAPTOP)
    assert not await parts.accounts.is_sign_up_open(admin)
    await parts.accounts.open_sign_up(admin)
    await parts.accounts.open_sign_up(admin)
    assert await parts.accounts.is_sign_up_open(admin)
    await parts.mailing.sign_up("acme", ANN, LAPTOP)
    assert await owner.fetchval("SELECT count(*) FROM users WHERE email = $1", ANN) == 0
    await parts.accounts.use_password_code(parts.post.code(ANN), PASSWORD, LAPTOP)
    ann = await parts.identity.authenticate((await parts.enter(ANN)).access_token)
    assert ann.role is Role.MEMBER
    assert await list_actions(owner, ann) == [
        "user.create",
        "account.verify",
        "account.set_password",
        "session.create",
    ]
    rows = await owner.fetch(
        "SELECT purpose FROM ledger_pending WHERE action = 'tenant.change_sign_up'"
    )
    assert [row["purpose"] for row in rows] == ["open"]


async def test_nobody_opens_or_closes_signing_up_for_an_admin(parts: Parts) -> None:
    admin = await make_admin(parts)
    for other in (
        replace(admin, kind=Kind.SERVICE),
        replace(admin, actor_id=IdSource().new()),
        replace(admin, scopes=frozenset(Permission)),
    ):
        with pytest.raises(PersonRequiredError):
            await parts.accounts.open_sign_up(other)
        assert not await parts.accounts.is_sign_up_open(admin)
        await parts.accounts.open_sign_up(admin)
        with pytest.raises(PersonRequiredError):
            await parts.accounts.close_sign_up(other)
        assert await parts.accounts.is_sign_up_open(admin)
        await parts.accounts.close_sign_up(admin)


async def test_a_code_to_sign_up_is_void_once_that_is_closed_or_the_person_has_a_password(
    parts: Parts,
) -> None:
    admin = await make_admin(parts)
    await parts.accounts.open_sign_up(admin)
    await parts.mailing.sign_up("acme", ANN, LAPTOP)
    await parts.accounts.close_sign_up(admin)
    with pytest.raises(SignUpClosedError):
        await parts.accounts.use_password_code(parts.post.code(ANN), PASSWORD, LAPTOP)
    await parts.accounts.open_sign_up(admin)
    await parts.make_person(BOB)
    await parts.mailing.sign_up("acme", "eve@example.org", LAPTOP)
    await parts.mailing.sign_up("acme", "eve@example.org", LAPTOP)
    one, other = [
        re.findall(r"uc_[0-9A-Za-z_-]{43}", letter.text)[0]
        for letter in parts.post.letters
        if letter.to == "eve@example.org"
    ]
    await parts.accounts.use_password_code(one, PASSWORD, LAPTOP)
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_password_code(other, OTHER, LAPTOP)
    await parts.enter("eve@example.org")


async def test_who_has_an_account_and_signs_up_gets_a_code_for_a_new_password(parts: Parts) -> None:
    admin = await make_admin(parts)
    await parts.accounts.open_sign_up(admin)
    await parts.make_person(ANN)
    await parts.mailing.sign_up("acme", ANN, LAPTOP)
    assert "password is the same" in parts.post.letters[-1].text
    await parts.enter(ANN)


async def test_a_code_is_good_once_even_at_the_same_time(parts: Parts, database: Database) -> None:
    ann = await parts.make_person(ANN)
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    code = parts.post.code(ANN)
    async with database.transaction(ann) as transaction:
        await transaction.execute("SELECT FROM users FOR UPDATE")
        both = [
            asyncio.create_task(parts.accounts.use_password_code(code, password, LAPTOP))
            for password in (OTHER, "a second lantern there")
        ]
        await until_blocked(database, 2)
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [WrongCodeError]
    with pytest.raises(WrongPasswordError):
        await parts.enter(ANN)


async def test_a_sign_up_code_is_good_once_even_at_the_same_time(
    parts: Parts, database: Database, owner: AnyConnection
) -> None:
    admin = await make_admin(parts)
    await parts.accounts.open_sign_up(admin)
    await parts.mailing.sign_up("acme", ANN, LAPTOP)
    code = parts.post.code(ANN)
    async with owner.transaction():
        await owner.execute("SELECT FROM mail_codes FOR UPDATE")
        both = [
            asyncio.create_task(parts.accounts.use_password_code(code, password, LAPTOP))
            for password in (PASSWORD, OTHER)
        ]
        await until_blocked(database, 2)
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [WrongCodeError]
    assert await owner.fetchval("SELECT count(*) FROM users WHERE email = $1", ANN) == 1


@pytest.mark.parametrize(
    "code", ["", "uc_", "uc_" + "A" * 43, "uc_" + "A" * 44, "uc_\x00" + "A" * 42]
)
async def test_a_made_up_code_is_good_for_nothing(parts: Parts, code: str) -> None:
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_password_code(code, PASSWORD, LAPTOP)
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_verification_code(code)


async def test_a_code_ends_and_is_kept_as_a_hash(parts: Parts, owner: AnyConnection) -> None:
    await parts.make_person(ANN)
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    code = parts.post.code(ANN)
    lifetime = "SELECT extract(EPOCH FROM expires_at - created_at) FROM mail_codes"
    assert await owner.fetchval(lifetime) == 3600
    row = await owner.fetchval("SELECT c::text FROM mail_codes AS c")
    assert code not in row
    assert code.encode().hex() not in row
    await owner.execute("UPDATE mail_codes SET expires_at = now()")
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_password_code(code, OTHER, LAPTOP)


async def test_a_code_is_good_for_its_purpose_alone(parts: Parts) -> None:
    ann = (await parts.identity.issue_key("acme", ANN)).principal
    await parts.accounts.ask_for_verification(ann)
    verifying = parts.post.code(ANN)
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_password_code(verifying, PASSWORD, LAPTOP)
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_verification_code(parts.post.code(ANN))
    await parts.accounts.use_verification_code(verifying)
    assert (await parts.accounts.get_account(ann)).is_verified
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_verification_code(verifying)


async def test_a_verified_address_is_not_written_to_again(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    before = len(parts.post.letters)
    await parts.accounts.ask_for_verification(ann)
    assert len(parts.post.letters) == before


async def test_a_reset_ends_every_session_and_a_change_every_other(
    parts: Parts, owner: AnyConnection
) -> None:
    ann = await parts.make_person(ANN)
    here, there = await parts.enter(ANN), await parts.enter(ANN, client=PHONE)
    caller = await parts.identity.authenticate(here.access_token)
    await parts.accounts.change_password(caller, PASSWORD, OTHER, LAPTOP)
    await parts.identity.authenticate(here.access_token)
    with pytest.raises(UnauthenticatedError):
        await parts.identity.authenticate(there.access_token)
    with pytest.raises(WrongPasswordError):
        await parts.enter(ANN)
    assert "was changed" in parts.post.letters[-1].text
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    await parts.accounts.use_password_code(parts.post.code(ANN), PASSWORD, LAPTOP)
    for tokens in (here, there):
        with pytest.raises(RefreshRefusedError):
            await parts.sessions.refresh(tokens.refresh_token)
    actions = await list_actions(owner, ann)
    assert actions.count("account.change_password") == 1
    assert actions.count("account.reset_password") == 1
    assert actions.count("session.revoke") == 2


async def test_a_changed_password_makes_codes_void_that_would_set_another(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    code = parts.post.code(ANN)
    await parts.accounts.change_password(ann, PASSWORD, OTHER, LAPTOP)
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_password_code(code, PASSWORD, LAPTOP)


async def test_the_current_password_is_asked_for_and_guesses_at_it_are_counted(
    parts: Parts,
) -> None:
    ann = await parts.make_person(ANN)
    for _ in range(PAIR.free):
        with pytest.raises(CurrentPasswordError):
            await parts.accounts.change_password(ann, OTHER, "something quite new", LAPTOP)
    with pytest.raises(TooManyAttemptsError):
        await parts.accounts.change_password(ann, PASSWORD, OTHER, LAPTOP)
    with pytest.raises(TooManyAttemptsError):
        await parts.enter(ANN)


async def test_a_weak_password_is_refused_and_the_code_stays_good(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    code = parts.post.code(ANN)
    for weak in ("short", "password1", f"{ANN}!!"):
        with pytest.raises(WeakPasswordError):
            await parts.accounts.use_password_code(code, weak, LAPTOP)
        with pytest.raises(WeakPasswordError):
            await parts.accounts.change_password(ann, PASSWORD, weak, LAPTOP)
    await parts.accounts.use_password_code(code, OTHER, LAPTOP)


async def test_a_new_password_lets_in_whom_guesses_kept_out(parts: Parts) -> None:
    await parts.make_person(ANN)
    for _ in range(PAIR.free):
        with pytest.raises(WrongPasswordError):
            await parts.enter(ANN, OTHER)
    with pytest.raises(TooManyAttemptsError):
        await parts.enter(ANN)
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    await parts.accounts.use_password_code(parts.post.code(ANN), OTHER, LAPTOP)
    await parts.enter(ANN, OTHER)


async def test_an_account_is_its_persons_alone(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    narrowed = Principal(
        ann.tenant_id, ann.user_id, ann.credential_id, ann.role, scopes=frozenset(Permission)
    )
    with pytest.raises(PersonRequiredError):
        await parts.accounts.change_password(narrowed, PASSWORD, OTHER, LAPTOP)
    with pytest.raises(PersonRequiredError):
        await parts.accounts.ask_for_verification(narrowed)
    with pytest.raises(PersonRequiredError):
        await parts.accounts.invite(narrowed, ann.user_id)


async def test_a_suspended_person_gets_no_code_and_uses_none(
    parts: Parts, owner: AnyConnection
) -> None:
    await parts.make_person(ANN)
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    code = parts.post.code(ANN)
    await owner.execute("UPDATE users SET suspended_at = now()")
    before = len(parts.post.letters)
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    assert len(parts.post.letters) == before
    with pytest.raises(WrongCodeError):
        await parts.accounts.use_password_code(code, OTHER, LAPTOP)


async def test_whoever_asks_is_answered_alike_and_only_who_has_an_account_gets_mail(
    parts: Parts,
) -> None:
    await parts.identity.issue_key("acme", ANN)
    for tenant, email in (("acme", ANN), ("acme", BOB), ("mill", ANN)):
        await parts.mailing.ask_for_password(tenant, email.upper(), PHONE)
    assert [letter.to for letter in parts.post.letters] == [ANN]
    assert len(parts.beats.slept) == 3
    assert all(0 < seconds <= 0.25 for seconds in parts.beats.slept)
    with pytest.raises(InvalidMessageError):
        await parts.mailing.ask_for_password("acme", "no address", PHONE)


async def test_nobodys_mailbox_is_filled_and_the_codes_in_it_stay_good(parts: Parts) -> None:
    await parts.make_person(ANN)
    before = len(parts.post.letters)
    await asyncio.gather(
        *(parts.mailing.ask_for_password("acme", ANN, LAPTOP) for _ in range(MAILS.free))
    )
    assert len(parts.post.letters) - before == MOST_CODES
    first = parts.post.letters[before]
    (code,) = re.findall(r"uc_[0-9A-Za-z_-]{43}", first.text)
    with pytest.raises(TooManyAttemptsError):
        await parts.mailing.ask_for_password("acme", BOB, LAPTOP)
    await parts.accounts.use_password_code(code, OTHER, LAPTOP)


async def test_a_reset_and_a_change_at_once_do_not_wait_for_each_other_for_ever(
    parts: Parts, database: Database
) -> None:
    ann = await parts.make_person(ANN)
    await parts.mailing.ask_for_password("acme", ANN, LAPTOP)
    code = parts.post.code(ANN)
    async with database.transaction(ann) as transaction:
        await transaction.execute("SELECT FROM users FOR UPDATE")
        changing = asyncio.create_task(parts.accounts.change_password(ann, PASSWORD, OTHER, LAPTOP))
        await until_blocked(database, 1)
        using = asyncio.create_task(
            parts.accounts.use_password_code(code, "a third lantern here", LAPTOP)
        )
        await until_blocked(database, 2)
    outcomes = await asyncio.gather(changing, using, return_exceptions=True)
    failed = [outcome for outcome in outcomes if outcome is not None]
    assert len(failed) == 1
    assert isinstance(failed[0], CurrentPasswordError | WrongCodeError)
