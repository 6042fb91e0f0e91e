"""Guessing is slowed down, and cannot be used to keep somebody out. ASVS 5.0: 6.1.1, 6.3.1, 2.4.1."""

import asyncio

import pytest

from tests.conftest import MakeScope
from tests.stepping import until_blocked
from undercroft.identity.accounts.attempts import ACCOUNT, ADDRESS, MAILS, PAIR, Attempts
from undercroft.identity.accounts.errors import TooManyAttemptsError
from undercroft.identity.accounts.models import NO_TENANT, Client, Visitor
from undercroft.kit.database import Database
from undercroft.kit.sql import AnyConnection

ANN = "ann@example.org"
HOME = Client("203.0.113.7")


def elsewhere(number: int) -> Client:
    """An address of a network of its own."""
    return Client(f"2001:db8:{number:x}::1")


@pytest.fixture
def attempts(database: Database) -> Attempts:
    return Attempts(database)


@pytest.fixture
async def tenant(make_scope: MakeScope) -> Visitor:
    return Visitor((await make_scope()).tenant_id)


async def wait_of(attempts: Attempts, scope: Visitor, email: str, client: Client) -> int:
    """Seconds that an attempt has to wait; 0 when it was let try, and counted."""
    try:
        await attempts.take(scope, email, client)
    except TooManyAttemptsError as refused:
        return refused.retry_after or 0
    return 0


async def forgive(database: Database, attempts: Attempts, scope: Visitor, client: Client) -> None:
    async with database.transaction(scope) as transaction:
        await attempts.forgive(transaction, scope, ANN, client)


async def pass_time(owner: AnyConnection) -> None:
    """What had to wait need not any more."""
    await owner.execute("UPDATE attempts SET free_at = now()")


@pytest.mark.parametrize("limit", [PAIR, ACCOUNT, ADDRESS, MAILS])
def test_each_wait_is_twice_the_one_before_up_to_a_limit(limit: object) -> None:
    assert isinstance(limit, type(PAIR))
    waits = [limit.pause(failures) for failures in range(limit.free + 3000)]
    assert waits[: limit.free] == [0] * limit.free
    assert waits[limit.free : limit.free + 4] == [8, 16, 32, 64]
    assert waits[-1] == max(waits) == limit.longest <= 3600


async def test_five_guesses_are_free_and_then_each_waits_longer(
    attempts: Attempts, tenant: Visitor, owner: AnyConnection
) -> None:
    for _ in range(PAIR.free):
        assert await wait_of(attempts, tenant, ANN, HOME) == 0
    for expected in (8, 16, 32, 64, 128, 256, 512, 900, 900):
        # Refused attempts do not count, however many there are.
        for _ in range(3):
            assert expected - 5 < await wait_of(attempts, tenant, ANN, HOME) <= expected
        await pass_time(owner)
        assert await wait_of(attempts, tenant, ANN, HOME) == 0


async def test_guesses_from_many_addresses_count_together(
    attempts: Attempts, tenant: Visitor
) -> None:
    for number in range(ACCOUNT.free):
        assert await wait_of(attempts, tenant, ANN, elsewhere(number)) == 0
    assert await wait_of(attempts, tenant, ANN, elsewhere(1000)) > 0
    assert await wait_of(attempts, tenant, "bob@example.org", elsewhere(1000)) == 0


async def test_guesses_at_many_accounts_count_together(attempts: Attempts, tenant: Visitor) -> None:
    for number in range(ADDRESS.free):
        assert await wait_of(attempts, tenant, f"{number}@example.org", HOME) == 0
    assert await wait_of(attempts, tenant, "another@example.org", HOME) > 0
    assert await wait_of(attempts, tenant, "another@example.org", elsewhere(1)) == 0


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        (None, None, True),
        ("testclient", "testclient", True),
    ],
)
async def test_addresses_of_one_network_are_one_client(
    attempts: Attempts, tenant: Visitor, one: str | None, other: str | None, are_one: bool
) -> None:
    for _ in range(PAIR.free):
        await wait_of(attempts, tenant, ANN, Client(one))
    assert (await wait_of(attempts, tenant, ANN, Client(other)) > 0) is are_one


async def test_where_somebody_has_signed_in_others_guesses_do_not_keep_them_out(
    database: Database, attempts: Attempts, tenant: Visitor, owner: AnyConnection
) -> None:
    await wait_of(attempts, tenant, ANN, HOME)
    await forgive(database, attempts, tenant, HOME)
    for number in range(ACCOUNT.free + 10):
        await wait_of(attempts, tenant, ANN, elsewhere(number))
        await pass_time(owner)
    assert await wait_of(attempts, tenant, ANN, elsewhere(0)) == 0
    assert await wait_of(attempts, tenant, ANN, elsewhere(1)) > 0, "all others wait"
    assert await wait_of(attempts, tenant, ANN, HOME) == 0
    # Nor does a guesser at the person's own address for more than a quarter of an hour.
    for _ in range(PAIR.free):
        await wait_of(attempts, tenant, ANN, HOME)
    assert 0 < await wait_of(attempts, tenant, ANN, HOME) <= PAIR.longest


async def test_a_place_is_known_for_a_while(
    database: Database, attempts: Attempts, tenant: Visitor, owner: AnyConnection
) -> None:
    await wait_of(attempts, tenant, ANN, HOME)
    await forgive(database, attempts, tenant, HOME)
    for number in range(ACCOUNT.free):
        await wait_of(attempts, tenant, ANN, elsewhere(number))
    await owner.execute("UPDATE attempts SET known_until = now() WHERE known_until IS NOT NULL")
    assert await wait_of(attempts, tenant, ANN, HOME) > 0


async def test_a_success_begins_the_accounts_counts_anew_and_gives_the_address_one_back(
    database: Database, attempts: Attempts, tenant: Visitor
) -> None:
    for number in range(ADDRESS.free - PAIR.free):
        await wait_of(attempts, tenant, f"{number}@example.org", HOME)
    for _ in range(PAIR.free):
        assert await wait_of(attempts, tenant, ANN, HOME) == 0
    assert await wait_of(attempts, tenant, ANN, HOME) > 0
    await forgive(database, attempts, tenant, HOME)
    # The address has to wait still: whoever has an account could guess at others' without end.
    assert await wait_of(attempts, tenant, ANN, HOME) > 0
    for _ in range(PAIR.free):
        assert await wait_of(attempts, tenant, ANN, elsewhere(1)) == 0


async def test_who_signs_in_to_their_own_account_does_not_get_more_guesses_at_others(
    database: Database, attempts: Attempts, tenant: Visitor, owner: AnyConnection
) -> None:
    for number in range(ADDRESS.free - 1):
        await wait_of(attempts, tenant, f"{number}@example.org", HOME)
    assert await wait_of(attempts, tenant, ANN, HOME) == 0
    await forgive(database, attempts, tenant, HOME)
    assert await wait_of(attempts, tenant, "bob@example.org", HOME) > 0
    await pass_time(owner)
    assert await wait_of(attempts, tenant, "bob@example.org", HOME) == 0
    assert await wait_of(attempts, tenant, "cat@example.org", HOME) > 0


async def test_after_a_day_the_count_begins_anew(
    attempts: Attempts, tenant: Visitor, owner: AnyConnection
) -> None:
    for _ in range(PAIR.free):
        await wait_of(attempts, tenant, ANN, HOME)
    await owner.execute(
        "UPDATE attempts SET free_at = now(), last_at = now() - interval '25 hours'"
    )
    for _ in range(PAIR.free):
        assert await wait_of(attempts, tenant, ANN, HOME) == 0


async def test_a_tenant_that_is_not_there_counts_as_others_do(attempts: Attempts) -> None:
    for _ in range(PAIR.free):
        assert await wait_of(attempts, Visitor(NO_TENANT), ANN, HOME) == 0
    assert await wait_of(attempts, Visitor(NO_TENANT), ANN, HOME) > 0


async def test_tenants_count_apart_and_no_address_is_kept(
    attempts: Attempts, make_scope: MakeScope, owner: AnyConnection
) -> None:
    one, other = Visitor((await make_scope()).tenant_id), Visitor((await make_scope()).tenant_id)
    for _ in range(PAIR.free):
        await wait_of(attempts, one, ANN, HOME)
    assert await wait_of(attempts, other, ANN, HOME) == 0
    rows = await owner.fetch("SELECT subject FROM attempts")
    assert len({row["subject"] for row in rows}) == len(rows) == 6


async def test_guesses_at_once_are_counted_one_after_the_other(
    database: Database, attempts: Attempts, tenant: Visitor
) -> None:
    await wait_of(attempts, tenant, ANN, HOME)
    async with database.transaction(tenant) as transaction:
        await transaction.execute("SELECT FROM attempts FOR UPDATE")
        waiting = [
            asyncio.create_task(wait_of(attempts, tenant, ANN, HOME)) for _ in range(PAIR.free + 1)
        ]
        await until_blocked(database, len(waiting))
    waits = await asyncio.gather(*waiting)
    assert sum(wait == 0 for wait in waits) == PAIR.free - 1


async def test_mails_are_counted_by_who_asks(attempts: Attempts, tenant: Visitor) -> None:
    for _ in range(MAILS.free):
        await attempts.take_mail(tenant, HOME)
    with pytest.raises(TooManyAttemptsError):
        await attempts.take_mail(tenant, HOME)
    await attempts.take_mail(tenant, elsewhere(1))
    assert await wait_of(attempts, tenant, ANN, HOME) == 0
