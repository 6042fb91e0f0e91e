"""Signing in with a password, and being refused without learning anything.

ASVS 5.0: 6.1.1 and 6.3.1 (guessing is slowed down), 6.3.8 (no account can be told from none), 16.3.1 (on record).
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime

import pytest

from tests.identity.accounts.conftest import LAPTOP, OTHER, PASSWORD, PHONE, Parts
from tests.stepping import Gate
from undercroft.identity.accounts import hashing
from undercroft.identity.accounts.errors import TooManyAttemptsError, WrongPasswordError
from undercroft.identity.accounts.hashing import HashCost, PasswordHasher
from undercroft.identity.accounts.pace import Pace
from undercroft.identity.accounts.sign_in import SignIn
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.errors import UnavailableError
from undercroft.kit.ids import IdSource
from undercroft.kit.sql import AnyConnection
from undercroft.ledger.service import Ledger

ANN = "ann@example.org"


async def test_a_right_password_opens_a_session(parts: Parts) -> None:
    ann = await parts.make_person(ANN)
    tokens = await parts.enter("Ann@Example.org")
    principal = await parts.identity.authenticate(tokens.access_token)
    assert (principal.tenant_id, principal.user_id) == (ann.tenant_id, ann.user_id)
    assert principal.scopes is None


async def test_a_password_does_not_expire(parts: Parts, owner: AnyConnection) -> None:
    """ASVS 5.0, 6.2.10: whoever has to change a good one chooses a worse."""
    ann = await parts.make_person(ANN)
    await owner.execute(
        "UPDATE passwords SET changed_at = now() - interval '10 years' WHERE user_id = $1",
        ann.user_id,
    )
    tokens = await parts.enter(ANN)
    assert (await parts.identity.authenticate(tokens.access_token)).user_id == ann.user_id


@pytest.mark.parametrize(
    ("tenant", "email", "password"),
    [
        ("acme", ANN, OTHER),
        ("acme", ANN, PASSWORD.upper()),
        ("acme", "bob@example.org", PASSWORD),
        ("acme", "no address at all", PASSWORD),
        ("mill", ANN, PASSWORD),
        ("", ANN, PASSWORD),
    ],
)
async def test_whatever_is_wrong_is_refused_alike(
    parts: Parts, tenant: str, email: str, password: str
) -> None:
    await parts.make_person(ANN)
    with pytest.raises(WrongPasswordError) as refused:
        await parts.enter(email, password, tenant=tenant)
    assert refused.value.message == WrongPasswordError().message


async def test_one_without_a_password_a_service_and_a_suspended_person_are_refused_alike(
    parts: Parts,
    owner: AnyConnection,
) -> None:
    await parts.identity.issue_key("acme", "new@example.org")
    await parts.make_person(ANN)
    await owner.execute(
        "UPDATE users SET suspended_at = $2 WHERE email = $1", ANN, datetime.now(UTC)
    )
    for email in ("new@example.org", ANN):
        with pytest.raises(WrongPasswordError):
            await parts.enter(email)


async def test_an_answer_leaves_on_a_beat_whatever_was_looked_up(
    database: Database, parts: Parts
) -> None:
    await parts.make_person(ANN)

    class Clock(SystemClock):
        """Work takes as long as it is told."""

        def __init__(self) -> None:
            self.readings = [10.0]

        def monotonic(self) -> float:
            return self.readings.pop(0)

    answered: set[float] = set()
    for email, taken in ((ANN, 0.113), ("nobody@example.org", 0.107), (ANN, 0.249)):
        clock, ids = Clock(), IdSource()
        clock.readings.append(10.0 + taken)
        slept: list[float] = []

        async def sleep(seconds: float, slept: list[float] = slept) -> None:
            slept.append(seconds)

        ledger = Ledger(database, ids, SystemClock())
        sign_in = SignIn(
            database,
            ledger,
            parts.identity,
            parts.sessions,
            parts.factors,
            parts.hasher,
            parts.post,
            Pace(clock, sleep),
        )
        with pytest.raises(WrongPasswordError):
            await sign_in.sign_in("acme", email, OTHER, LAPTOP)
        answered.add(round(taken + sum(slept), 6))
    assert answered == {0.25}


async def test_as_much_is_hashed_for_nobody(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    await parts.make_person(ANN)
    hashed: list[str] = []
    is_password = hashing._is_password

    def watch(password: bytes, encoded: str) -> bool:
        hashed.append(encoded.rpartition("$")[0].rpartition("$")[0])
        return is_password(password, encoded)

    monkeypatch.setattr(hashing, "_is_password", watch)
    for tenant, email in (("acme", ANN), ("acme", "nobody@example.org"), ("mill", ANN)):
        with pytest.raises(WrongPasswordError):
            await parts.enter(email, OTHER, tenant=tenant)
    assert len(hashed) == 3
    assert len(set(hashed)) == 1


async def test_a_refusal_is_on_record_for_whom_it_was_tried_as(
    parts: Parts,
    owner: AnyConnection,
) -> None:
    ann = await parts.make_person(ANN)
    for email in (ANN, "nobody@example.org"):
        with pytest.raises(WrongPasswordError):
            await parts.enter(email, OTHER)
    rows = await owner.fetch(
        "SELECT actor_id, owner_id FROM ledger_pending WHERE outcome = 'denied'"
    )
    assert [tuple(row) for row in rows] == [(ann.user_id, ann.user_id)]


async def test_a_hash_of_another_cost_is_renewed_at_sign_in(
    database: Database,
    parts: Parts,
    owner: AnyConnection,
) -> None:
    await parts.make_person(ANN)
    clock, ids = SystemClock(), IdSource()
    hasher = PasswordHasher(HashCost(iterations=2, lanes=1, kibibytes=64))
    sign_in = SignIn(
        database,
        Ledger(database, ids, clock),
        parts.identity,
        parts.sessions,
        parts.factors,
        hasher,
        parts.post,
        Pace(clock, parts.beats.sleep),
    )
    await sign_in.sign_in("acme", ANN, PASSWORD, LAPTOP)
    encoded = await owner.fetchval("SELECT encoded FROM passwords")
    assert encoded.startswith("$argon2id$v=19$m=64,t=2,p=1$")
    await sign_in.sign_in("acme", ANN, PASSWORD, LAPTOP)
    assert await owner.fetchval("SELECT encoded FROM passwords") == encoded
    hasher.close()
    await parts.enter(ANN)


async def test_a_password_that_is_changed_while_it_is_checked_opens_nothing(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await parts.make_person(ANN)
    gate, check = Gate(), hashing.HashingPlace.is_password

    async def stop(place: hashing.HashingPlace, password: bytes, encoded: str | None) -> bool:
        is_right = await check(place, password, encoded)
        await gate.pass_through()
        return is_right

    monkeypatch.setattr(hashing.HashingPlace, "is_password", stop)
    entering = asyncio.create_task(parts.enter(ANN))
    await gate.wait_until_reached()
    await parts.mailing.ask_for_password("acme", ANN, PHONE)
    await parts.accounts.use_password_code(parts.post.code(ANN), OTHER, PHONE)
    gate.open()
    with pytest.raises(WrongPasswordError):
        await entering
    await parts.enter(ANN, OTHER)


async def test_a_hundred_guesses_at_once_get_no_more_than_the_limit(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await parts.make_person(ANN)
    checked: list[bytes] = []
    is_password = hashing._is_password

    def watch(password: bytes, encoded: str) -> bool:
        checked.append(password)
        return is_password(password, encoded)

    monkeypatch.setattr(hashing, "_is_password", watch)
    # Without the password: whoever has it may be among the first, and to them the guesses before are forgiven.
    guesses = [f"guess number {number}" for number in range(100)]
    outcomes = await asyncio.gather(
        *(parts.enter(ANN, guess) for guess in guesses), return_exceptions=True
    )
    assert len(checked) == 5
    refused = [outcome for outcome in outcomes if isinstance(outcome, TooManyAttemptsError)]
    assert len(refused) == 95
    with pytest.raises(TooManyAttemptsError):
        await parts.enter(ANN, PASSWORD)
    assert len(checked) == 5


async def test_nobodys_attempts_are_used_up_because_the_service_is_busy(parts: Parts) -> None:
    await parts.make_person(ANN)
    async with AsyncExitStack() as stack:
        with suppress(UnavailableError):
            while True:
                await stack.enter_async_context(parts.hasher.place())
        for _ in range(10):
            with pytest.raises(UnavailableError):
                await parts.enter(ANN, OTHER)
    await parts.enter(ANN)
