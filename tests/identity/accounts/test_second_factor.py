"""Second factors: enrolled in two steps, asked for at sign-in, each code good once, removed with both factors.

ASVS 5.0: 6.3.3 (a second factor), 6.4.3 and 6.4.4 (a reset does not go around it, a lost one is replaced), 6.5.1 to
6.5.5 (codes are good once, hashed, random and short-lived), 6.6.3 (guessing is limited), 7.4.3 and 6.3.7 (others end,
and told).
"""

import asyncio
import base64

import pytest

from tests.clocks import SetClock
from tests.identity.accounts.conftest import LAPTOP, OTHER, PASSWORD, PHONE, Parts
from tests.identity.accounts.test_service import list_actions
from tests.stepping import until_blocked
from undercroft.identity.accounts.attempts import CODES, PAIR
from undercroft.identity.accounts.errors import (
    CurrentPasswordError,
    TooManyAttemptsError,
    WrongPasswordError,
)
from undercroft.identity.accounts.models import Client
from undercroft.identity.errors import (
    PersonRequiredError,
    SecondFactorRequiredError,
    UnauthenticatedError,
)
from undercroft.identity.models import Permission, Principal, Role
from undercroft.identity.second_factors import totp
from undercroft.identity.second_factors.errors import (
    AlreadyEnrolledError,
    ChallengeOverError,
    EnrolmentOverError,
    NotEnrolledError,
    OwnSecondFactorError,
    WrongSecondFactorError,
)
from undercroft.identity.second_factors.models import Challenge
from undercroft.identity.sessions.models import SessionTokens
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.sql import AnyConnection

ANN = "ann@example.org"
NOT_MADE = "us_" + "A" * 43


class App:
    """An authenticator app: it knows the secret and what time it is."""

    def __init__(self, parts: Parts, secret: str) -> None:
        self._parts = parts
        self._secret = base64.b32decode(secret)

    def code(self) -> str:
        return totp.make_code(self._secret, self._parts.clock.now())

    def next_code(self) -> str:
        """The first one that was not shown before."""
        self._parts.clock.seconds += totp.STEP_SECONDS
        return self.code()


async def enrol(parts: Parts, person: Principal) -> tuple[App, list[str]]:
    """A second factor of somebody's, with its recovery codes."""
    begun = await parts.second_factor.begin(person, PASSWORD, LAPTOP)
    app = App(parts, begun.secret)
    return app, await parts.second_factor.confirm(person, app.next_code(), LAPTOP)


async def challenge(parts: Parts, password: str = PASSWORD, client: Client = LAPTOP) -> str:
    """What signing in is answered with."""
    opened = await parts.sign_in.sign_in("acme", ANN, password, client)
    assert isinstance(opened, Challenge)
    return opened.text


async def test_whoever_has_one_signs_in_with_both(parts: Parts, owner: AnyConnection) -> None:
    ann = await parts.make_person(ANN)
    app, recovery_codes = await enrol(parts, ann)
    assert len(set(recovery_codes)) == 10
    assert parts.post.letters[-1].to == ANN
    assert "second factor" in parts.post.letters[-1].subject
    waiting = await challenge(parts)
    assert await owner.fetchval("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == 0
    tokens = await parts.sign_in.answer(waiting, app.next_code(), LAPTOP)
    assert (await parts.identity.authenticate(tokens.access_token)).user_id == ann.user_id
    with pytest.raises(ChallengeOverError):
        await parts.sign_in.answer(waiting, app.next_code(), LAPTOP)
    assert (await list_actions(owner, ann))[-2:] == ["account.add_second_factor", "session.create"]


async def test_a_code_is_good_once_and_so_is_every_older_one(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    app, _ = await enrol(parts, ann)
    enrolled_by = app.code()
    older = app.next_code()
    used = app.next_code()
    await parts.sign_in.answer(await challenge(parts), used, LAPTOP)
    waiting = await challenge(parts)
    for code in (enrolled_by, older, used):
        with pytest.raises(WrongSecondFactorError):
            await parts.sign_in.answer(waiting, code, LAPTOP)


async def test_the_code_before_is_good_until_the_next_one_and_none_of_the_future(
    parts: Parts,
) -> None:
    ann = await parts.make_person(ANN)
    app, _ = await enrol(parts, ann)
    early = app.next_code()
    parts.clock.seconds -= totp.STEP_SECONDS
    waiting = await challenge(parts)
    with pytest.raises(WrongSecondFactorError):
        await parts.sign_in.answer(waiting, early, LAPTOP)
    late = app.next_code()
    parts.clock.seconds += 2 * totp.STEP_SECONDS
    with pytest.raises(WrongSecondFactorError):
        await parts.sign_in.answer(waiting, late, LAPTOP)
    before = app.next_code()
    parts.clock.seconds += totp.STEP_SECONDS
    await parts.sign_in.answer(waiting, f"{before[:3]} {before[3:]}", LAPTOP)


async def test_of_two_who_bring_one_code_at_once_one_gets_in(
    database: Database, parts: Parts
) -> None:
    """Each has a challenge of its own, so it is the code that lets one of them in."""
    ann = await parts.make_person(ANN)
    app, recovery_codes = await enrol(parts, ann)
    for code in (app.next_code(), recovery_codes[0]):
        waiting = [await challenge(parts, client=client) for client in (LAPTOP, PHONE)]
        async with database.transaction(ann) as transaction:
            await transaction.fetchval("SELECT 1 FROM second_factors FOR UPDATE")
            await transaction.fetchval("SELECT 1 FROM users FOR UPDATE")
            coming = [
                asyncio.create_task(parts.sign_in.answer(text, code, client))
                for text, client in zip(waiting, (LAPTOP, PHONE), strict=True)
            ]
            await until_blocked(database, 2)
        results = await asyncio.gather(*coming, return_exceptions=True)
        assert sum(isinstance(result, SessionTokens) for result in results) == 1
        assert sum(isinstance(result, WrongSecondFactorError) for result in results) == 1


async def test_the_database_refuses_a_second_use_without_the_users_lock(
    database: Database, parts: Parts
) -> None:
    """What locks the user in front of it is not what makes a code good once."""
    ann = await parts.make_person(ANN)
    app, recovery_codes = await enrol(parts, ann)
    for code in (app.next_code(), recovery_codes[0]):
        async with database.transaction(ann) as first:
            await parts.factors.prove(first, ann, code)

            async def again(code: str = code) -> None:
                async with database.transaction(ann) as second:
                    await parts.factors.prove(second, ann, code)

            coming = asyncio.create_task(again())
            await until_blocked(database)
        with pytest.raises(WrongSecondFactorError):
            await coming


async def test_of_two_who_answer_one_challenge_at_once_one_gets_in(
    database: Database, parts: Parts
) -> None:
    ann = await parts.make_person(ANN)
    _, recovery_codes = await enrol(parts, ann)
    text = await challenge(parts)
    async with database.transaction(ann) as first:
        await parts.factors.answer(first, ann, text, recovery_codes[0])

        async def again() -> None:
            async with database.transaction(ann) as second:
                await parts.factors.answer(second, ann, text, recovery_codes[1])

        coming = asyncio.create_task(again())
        await until_blocked(database)
    with pytest.raises(ChallengeOverError):
        await coming


async def test_a_recovery_code_stands_in_for_the_device_once(
    parts: Parts, owner: AnyConnection
) -> None:
    ann = await parts.make_person(ANN)
    _, recovery_codes = await enrol(parts, ann)
    written = recovery_codes[3].upper().replace("-", " ")
    await parts.sign_in.answer(await challenge(parts), written, LAPTOP)
    assert "recovery code" in parts.post.letters[-1].subject
    assert (await parts.second_factor.get_standing(ann)).codes_left == 9
    assert "account.use_recovery_code" in await list_actions(owner, ann)
    with pytest.raises(WrongSecondFactorError):
        await parts.sign_in.answer(await challenge(parts), recovery_codes[3], LAPTOP)


async def test_codes_secrets_and_challenges_cannot_be_read_in_the_database(
    parts: Parts, owner: AnyConnection
) -> None:
    ann = await parts.make_person(ANN)
    begun = await parts.second_factor.begin(ann, PASSWORD, LAPTOP)
    assert f"secret={begun.secret}" in begun.uri
    app = App(parts, begun.secret)
    recovery_codes = await parts.second_factor.confirm(ann, app.next_code(), LAPTOP)
    text = await challenge(parts)
    stored = b""
    for table in ("second_factors", "recovery_codes", "sign_in_challenges"):
        for row in await owner.fetch(f"SELECT * FROM {table}"):
            stored += b"".join(value for value in row.values() if isinstance(value, bytes))
    assert base64.b32decode(begun.secret) not in stored
    assert stored.count(b"") > 1
    for shown in (text, *recovery_codes, begun.secret):
        assert shown.encode() not in stored
        assert shown not in repr(begun)
    for letter in parts.post.letters:
        assert not any(code in letter.text for code in recovery_codes)


async def test_an_enrolment_counts_for_nothing_before_a_code_of_it(
    parts: Parts, owner: AnyConnection
) -> None:
    ann = await parts.make_person(ANN)
    with pytest.raises(EnrolmentOverError):
        await parts.second_factor.confirm(ann, "123456", LAPTOP)
    with pytest.raises(CurrentPasswordError):
        await parts.second_factor.begin(ann, OTHER, LAPTOP)
    first = App(parts, (await parts.second_factor.begin(ann, PASSWORD, LAPTOP)).secret)
    await parts.enter(ANN)
    second = App(parts, (await parts.second_factor.begin(ann, PASSWORD, LAPTOP)).secret)
    with pytest.raises(WrongSecondFactorError):
        await parts.second_factor.confirm(ann, first.next_code(), LAPTOP)
    assert (await parts.second_factor.get_standing(ann)).enabled_at is None
    await owner.execute("UPDATE second_factors SET begun_at = now() - interval '16 minutes'")
    with pytest.raises(EnrolmentOverError):
        await parts.second_factor.confirm(ann, second.code(), LAPTOP)
    third = App(parts, (await parts.second_factor.begin(ann, PASSWORD, LAPTOP)).secret)
    await parts.second_factor.confirm(ann, third.code(), LAPTOP)
    for again in (
        parts.second_factor.begin(ann, PASSWORD, LAPTOP),
        parts.second_factor.confirm(ann, third.next_code(), LAPTOP),
    ):
        with pytest.raises(AlreadyEnrolledError):
            await again


async def test_with_it_end_the_sessions_that_were_opened_without(parts: Parts) -> None:
    await parts.make_person(ANN)
    here, there = await parts.enter(ANN), await parts.enter(ANN)
    ann = await parts.identity.authenticate(here.access_token)
    await enrol(parts, ann)
    assert await parts.identity.authenticate(here.access_token) == ann
    with pytest.raises(UnauthenticatedError):
        await parts.identity.authenticate(there.access_token)


async def test_a_sign_in_that_waits_for_an_enrolment_gets_no_session_past_it(
    database: Database, parts: Parts
) -> None:
    """Its password was right before the second factor counted."""
    ann = await parts.make_person(ANN)
    app = App(parts, (await parts.second_factor.begin(ann, PASSWORD, LAPTOP)).secret)
    async with database.transaction(ann) as transaction:
        await transaction.fetchval("SELECT 1 FROM users FOR NO KEY UPDATE")
        coming = asyncio.create_task(parts.sign_in.sign_in("acme", ANN, PASSWORD, PHONE))
        await until_blocked(database)
        await parts.factors.confirm(transaction, ann, app.next_code())
    assert isinstance(await coming, Challenge)


async def test_a_new_password_by_mail_does_not_go_around_it(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    app, _ = await enrol(parts, ann)
    before = await challenge(parts)
    await parts.mailing.ask_for_password("acme", ANN, PHONE)
    await parts.accounts.use_password_code(parts.post.code(ANN), OTHER, PHONE)
    with pytest.raises(ChallengeOverError):
        await parts.sign_in.answer(before, app.next_code(), LAPTOP)
    waiting = await challenge(parts, OTHER)
    tokens = await parts.sign_in.answer(waiting, app.next_code(), LAPTOP)
    assert (await parts.identity.authenticate(tokens.access_token)).user_id == ann.user_id


async def test_guesses_at_codes_are_counted_with_those_at_the_password(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    app, _ = await enrol(parts, ann)
    waiting = await challenge(parts)
    for _ in range(PAIR.free - 1):
        with pytest.raises(WrongSecondFactorError):
            await parts.sign_in.answer(waiting, "no code", LAPTOP)
    with pytest.raises(TooManyAttemptsError):
        await parts.sign_in.answer(waiting, app.next_code(), LAPTOP)
    with pytest.raises(TooManyAttemptsError):
        await parts.sign_in.sign_in("acme", ANN, PASSWORD, LAPTOP)
    await parts.sign_in.answer(waiting, app.code(), PHONE)


async def test_no_mail_and_no_address_begins_the_count_of_codes_anew(parts: Parts) -> None:
    """Whoever has the password and the mailbox has a million codes before them, and no way to try them."""
    ann = await parts.make_person(ANN)
    app, recovery_codes = await enrol(parts, ann)
    waiting = await challenge(parts, client=PHONE)
    for number in range(CODES.free):
        if number % 3 == 2:
            await parts.mailing.ask_for_password("acme", ANN, Client(f"192.0.2.{number}"))
            await parts.accounts.use_password_code(parts.post.code(ANN), PASSWORD, PHONE)
            waiting = await challenge(parts, client=Client(f"198.51.100.{100 + number}"))
        with pytest.raises(WrongSecondFactorError):
            await parts.sign_in.answer(waiting, "000000", Client(f"203.0.113.{100 + number}"))
    for code in (app.next_code(), recovery_codes[0]):
        with pytest.raises(TooManyAttemptsError):
            await parts.sign_in.answer(waiting, code, LAPTOP)


async def test_a_wrong_code_is_on_record(parts: Parts, owner: AnyConnection) -> None:
    ann = await parts.make_person(ANN)
    await enrol(parts, ann)
    with pytest.raises(WrongSecondFactorError):
        await parts.sign_in.answer(await challenge(parts), "000000", LAPTOP)
    rows = await owner.fetch("SELECT action, actor_id FROM ledger_pending WHERE outcome = 'denied'")
    assert [tuple(row) for row in rows] == [("session.refuse", ann.user_id)]


async def test_a_challenge_ends_and_none_is_made_up(parts: Parts, owner: AnyConnection) -> None:
    ann = await parts.make_person(ANN)
    app, _ = await enrol(parts, ann)
    waiting = await challenge(parts)
    await owner.execute("UPDATE sign_in_challenges SET expires_at = now()")
    for text in (waiting, NOT_MADE, "rubbish", ""):
        with pytest.raises(ChallengeOverError):
            await parts.sign_in.answer(text, app.next_code(), LAPTOP)
    await parts.sessions.forget_ended()
    assert await owner.fetchval("SELECT count(*) FROM sign_in_challenges") == 0


async def test_a_suspended_person_answers_no_challenge(parts: Parts, owner: AnyConnection) -> None:
    ann = await parts.make_person(ANN)
    app, _ = await enrol(parts, ann)
    waiting = await challenge(parts)
    await owner.execute("UPDATE users SET suspended_at = now()")
    with pytest.raises(ChallengeOverError):
        await parts.sign_in.answer(waiting, app.next_code(), LAPTOP)


async def test_it_is_removed_with_both_factors_and_its_key_with_it(
    parts: Parts, owner: AnyConnection
) -> None:
    ann = await parts.make_person(ANN)
    keys = await owner.fetchval("SELECT count(*) FROM data_keys")
    app, recovery_codes = await enrol(parts, ann)
    with pytest.raises(CurrentPasswordError):
        await parts.second_factor.remove(ann, OTHER, app.next_code(), LAPTOP)
    with pytest.raises(WrongSecondFactorError):
        await parts.second_factor.remove(ann, PASSWORD, "000000", LAPTOP)
    tokens = await parts.sign_in.answer(await challenge(parts), app.next_code(), LAPTOP)
    here = await parts.identity.authenticate(tokens.access_token)
    await parts.second_factor.remove(here, PASSWORD, recovery_codes[0], LAPTOP)
    assert "no second factor" in parts.post.letters[-1].subject
    await parts.enter(ANN)
    assert (await list_actions(owner, ann))[-3] == "account.use_recovery_code"
    assert (await list_actions(owner, ann))[-2] == "account.remove_second_factor"
    for table in ("second_factors", "recovery_codes", "sign_in_challenges"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0
    mails = await owner.fetchval("SELECT count(*) FROM outgoing_mail")
    assert await owner.fetchval("SELECT count(*) FROM data_keys") == keys + mails - 1
    with pytest.raises(NotEnrolledError):
        await parts.second_factor.remove(ann, PASSWORD, recovery_codes[1], LAPTOP)


async def test_recovery_codes_are_replaced_with_both_factors(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    app, old = await enrol(parts, ann)
    new = await parts.second_factor.renew_recovery_codes(ann, PASSWORD, app.next_code(), LAPTOP)
    assert not set(old) & set(new)
    waiting = await challenge(parts)
    with pytest.raises(WrongSecondFactorError):
        await parts.sign_in.answer(waiting, old[0], LAPTOP)
    await parts.sign_in.answer(waiting, new[0], LAPTOP)


async def test_an_admin_removes_anothers_and_not_their_own(
    parts: Parts, owner: AnyConnection
) -> None:
    ann = await parts.make_person(ANN)
    admin = await parts.make_person("admin@example.org", role=Role.ADMIN)
    await enrol(parts, ann)
    with pytest.raises(OwnSecondFactorError):
        await parts.second_factor.remove_of(admin, admin.user_id)
    with pytest.raises(NotFoundError):
        await parts.second_factor.remove_of(admin, IdSource().new())
    await parts.second_factor.remove_of(admin, ann.user_id)
    assert (parts.post.letters[-1].to, "no second factor" in parts.post.letters[-1].subject) == (
        ANN,
        True,
    )
    row = await owner.fetchrow(
        "SELECT actor_id, owner_id FROM ledger_pending WHERE action = 'account.remove_second_factor'"
    )
    assert row is not None
    assert tuple(row) == (admin.user_id, ann.user_id)
    await parts.enter(ANN)
    with pytest.raises(NotEnrolledError):
        await parts.second_factor.remove_of(admin, ann.user_id)


async def test_where_it_is_demanded_people_without_one_may_enrol_and_nothing_else(
    parts: Parts, owner: AnyConnection
) -> None:
    admin = await parts.make_person("admin@example.org", role=Role.ADMIN)
    ann = await parts.make_person(ANN)
    service = (await parts.identity.issue_key("acme", "robot@example.org")).secret
    await owner.execute(
        "UPDATE users SET kind = 'service', email = NULL, name = 'robot' WHERE email LIKE 'robot%'"
    )
    key = (await parts.identity.issue_key("acme", ANN)).secret
    tokens = await parts.enter(ANN)
    await parts.second_factor.demand(admin, is_demanded=True)
    await parts.second_factor.demand(admin, is_demanded=True)
    for secret in (key, tokens.access_token):
        person = await parts.identity.authenticate(secret)
        with pytest.raises(SecondFactorRequiredError):
            await parts.identity.require(person, Permission.DOCUMENTS_READ)
        await parts.identity.require(person, Permission.KEYS, while_enrolling=True)
    robot = await parts.identity.authenticate(service)
    await parts.identity.require(robot, Permission.DOCUMENTS_READ)
    await parts.second_factor.begin(person, PASSWORD, LAPTOP)
    assert (await parts.identity.authenticate(key)).must_enrol, "what was begun counts for nothing"
    await enrol(parts, await parts.identity.authenticate(tokens.access_token))
    for secret in (key, tokens.access_token):
        person = await parts.identity.authenticate(secret)
        await parts.identity.require(person, Permission.DOCUMENTS_READ)
    actions = [row["action"] for row in await owner.fetch("SELECT action FROM ledger_pending")]
    assert actions.count("tenant.change_second_factor") == 1
    assert actions.count("permission.use") == 2
    await parts.second_factor.demand(admin, is_demanded=False)
    other = await parts.make_person("bob@example.org")
    await parts.identity.require(other, Permission.DOCUMENTS_READ)
    assert ann.user_id == person.user_id


async def test_only_the_person_looks_after_it(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    narrowed = Principal(
        ann.tenant_id,
        ann.user_id,
        ann.credential_id,
        ann.role,
        scopes=frozenset(Permission),
    )
    for asked in (
        parts.second_factor.get_standing(narrowed),
        parts.second_factor.begin(narrowed, PASSWORD, LAPTOP),
        parts.second_factor.confirm(narrowed, "000000", LAPTOP),
        parts.second_factor.remove(narrowed, PASSWORD, "000000", LAPTOP),
        parts.second_factor.renew_recovery_codes(narrowed, PASSWORD, "000000", LAPTOP),
        parts.second_factor.remove_of(narrowed, IdSource().new()),
        parts.second_factor.demand(narrowed, is_demanded=False),
    ):
        with pytest.raises(PersonRequiredError):
            await asked


async def test_a_wrong_password_tells_nothing_of_a_second_factor(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    await enrol(parts, ann)
    with pytest.raises(WrongPasswordError):
        await parts.sign_in.sign_in("acme", ANN, OTHER, LAPTOP)


async def test_with_a_user_goes_the_key_of_their_secret(
    database: Database, parts: Parts, owner: AnyConnection
) -> None:
    ann = (await parts.identity.issue_key("acme", ANN)).principal
    async with database.transaction(ann) as transaction:
        await parts.factors.begin(transaction, ann, ANN, "acme")
    assert await owner.fetchval("SELECT count(*) FROM data_keys") == 1
    async with database.transaction(ann) as transaction:
        await transaction.execute("DELETE FROM api_keys")
        await transaction.execute("DELETE FROM users WHERE id = $1", ann.user_id)
    assert await owner.fetchval("SELECT count(*) FROM second_factors") == 0
    assert await owner.fetchval("SELECT count(*) FROM data_keys") == 0


def test_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B, of which apps show the last six digits."""
    secret, clock = b"12345678901234567890", SetClock()
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        clock.seconds = float(seconds)
        assert totp.make_code(secret, clock.now()) == code
