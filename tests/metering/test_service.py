"""Quotas hold exactly, whoever comes at once; what was used is counted once, whatever ends it."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.identity.credentials import Desk
from tests.owner import past_policies
from tests.stepping import PATIENCE, rolled_back, until_blocked, until_blocked_or_done
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.ledger.service import Ledger
from undercroft.metering.errors import LargerThanQuotaError, QuotaSpentError
from undercroft.metering.models import Ending, Period, Quota, QuotaKind, Spent, Whose
from undercroft.metering.quotas import QuotaService
from undercroft.metering.service import Charge, Metering, UsageRounds

NEVER_OVER = datetime(2100, 1, 1, tzinfo=UTC)
"""A window that a test pins: none of its requests comes after it."""


@dataclass
class Bench:
    """What is tested, and what it runs on."""

    database: Database
    urls: DatabaseUrls
    metering: Metering
    quotas: QuotaService
    rounds: UsageRounds

    async def set(
        self,
        scope: Member,
        whose: Whose,
        requests: int | None = None,
        tokens: int | None = None,
        period: Period = Period.DAY,
    ) -> None:
        """Set a quota, whose window is not over while the test runs."""
        await self.quotas.set(scope, Quota(whose, period, requests, tokens))
        subject = whose.id or scope.tenant_id
        if whose.kind is QuotaKind.EACH_USER:
            subject = scope.principal_id
        await self.pin(scope, subject, period)

    async def pin(self, scope: Member, subject: UUID, period: Period = Period.DAY) -> None:
        async with self.database.transaction(scope) as transaction:
            await transaction.execute(
                "INSERT INTO quota_windows (tenant_id, subject_id, period, started_at, requests, tokens)"
                " VALUES ($1, $2, $3, $4, 0, 0) ON CONFLICT DO NOTHING",
                scope.tenant_id,
                subject,
                period,
                NEVER_OVER,
            )

    async def begin(self, scope: Scope, tokens: int = 0, model: str = "echo") -> UUID:
        """Begin a request; its id."""
        request_id = IdSource().new()
        async with self.database.transaction(scope) as transaction:
            await Charge(scope).reserve(transaction, request_id, model, tokens)
        return request_id

    async def end(self, scope: Member, request_id: UUID, spent: Spent) -> bool:
        ending = await self.only_end(scope, request_id, spent)
        if ending is Ending.OWED:
            await self.metering.settle(request_id)
        return ending is not Ending.BEFORE

    async def only_end(self, scope: Member, request_id: UUID, spent: Spent) -> Ending:
        """As who dies before it is settled."""
        async with self.database.transaction(scope) as transaction:
            return await self.metering.end(transaction, request_id, spent)

    async def used(self, scope: Member) -> tuple[int | None, int | None]:
        """What is counted of the only quota."""
        (kept,) = await self.quotas.list_all(scope)
        return kept.requests, kept.tokens

    async def usage(self, scope: Member, user_id: UUID | None = None) -> list[tuple[object, ...]]:
        rows = await self.metering.list_usage(
            scope, date(2020, 1, 1), date(2100, 1, 1), user_id, None, 100
        )
        return [
            (row.user_id, row.model, row.requests, row.input_tokens, row.output_tokens)
            for row in rows
        ]


TENANT = Whose(QuotaKind.TENANT)


@pytest.fixture
def bench(database: Database, database_urls: DatabaseUrls) -> Bench:
    ids = IdSource()
    ledger = Ledger(database, ids, SystemClock())
    return Bench(
        database,
        database_urls,
        Metering(database, ids),
        QuotaService(database, ledger),
        UsageRounds(database),
    )


async def count(attempts: list[Awaitable[object]]) -> int:
    """How many are let through; the others meet a quota that is spent."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(error, QuotaSpentError) for error in refused), refused
    return len(results) - len(refused)


@pytest.mark.parametrize(("requests", "tokens"), [(7, None), (None, 70), (7, 1000)])
async def test_of_many_at_once_exactly_as_many_begin_as_there_is_room_for(
    bench: Bench, make_scope: MakeScope, requests: int | None, tokens: int | None
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, requests, tokens)
    assert await count([bench.begin(ann, 10) for _ in range(20)]) == 7
    assert await bench.used(ann) == (7, 70)
    assert len(await bench.quotas.list_all(ann)) == 1


async def test_the_second_waits_for_the_first_and_is_judged_by_what_that_left(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, 1)
    async with rolled_back(bench.database, ann) as transaction:
        await Charge(ann).reserve(transaction, IdSource().new(), "echo", 0)
        second = asyncio.create_task(bench.begin(ann))
        await until_blocked(bench.database)
        assert not second.done()
    # The first has come to nothing: there is room.
    async with asyncio.timeout(PATIENCE):
        await second
    with pytest.raises(QuotaSpentError):
        await bench.begin(ann)
    assert await bench.used(ann) == (1, 0)


async def test_what_was_refused_counts_nowhere(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, 10)
    await bench.set(ann, Whose(QuotaKind.USER, ann.principal_id), 1)
    await bench.begin(ann)
    with pytest.raises(QuotaSpentError):
        await bench.begin(ann)
    kept = {each.quota.whose.kind: each.requests for each in await bench.quotas.list_all(ann)}
    assert kept == {QuotaKind.TENANT: 1, QuotaKind.USER: 1}
    await bench.rounds.add_up()
    assert await bench.usage(ann) == []


async def test_a_request_ends_once_and_what_it_took_takes_the_place_of_what_was_held(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, tokens=100)
    first = await bench.begin(ann, 90)
    with pytest.raises(QuotaSpentError):
        await bench.begin(ann, 20)
    ends = [bench.end(ann, first, Spent(3, 4, 1)) for _ in range(8)]
    assert sorted(await asyncio.gather(*ends)) == [False] * 7 + [True]
    assert await bench.used(ann) == (1, 7)
    await bench.begin(ann, 20)
    assert await bench.usage(ann) == [(ann.principal_id, "echo", 1, 3, 4)]


async def test_who_ends_it_waits_for_who_ends_it_now(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, tokens=100)
    request = await bench.begin(ann, 50)
    async with rolled_back(bench.database, ann) as transaction:
        assert await bench.metering.end(transaction, request, Spent(1, 1)) is Ending.OWED
        second = asyncio.create_task(bench.end(ann, request, Spent(2, 2)))
        await until_blocked(bench.database)
    async with asyncio.timeout(PATIENCE):
        assert await second
    assert await bench.used(ann) == (1, 4)


async def test_who_ends_a_request_waits_for_nobody_in_its_window(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, tokens=100)
    request = await bench.begin(ann, 50)
    async with rolled_back(bench.database, ann) as transaction:
        # Somebody stops there.
        await Charge(ann).reserve(transaction, IdSource().new(), "echo", 1)
        ending = asyncio.create_task(bench.only_end(ann, request, Spent(2, 3)))
        assert not await until_blocked_or_done(bench.database, ending)
        assert ending.result() is Ending.OWED
        assert await bench.usage(ann) == [(ann.principal_id, "echo", 1, 2, 3)]
        settling = asyncio.create_task(bench.metering.settle(request))
        assert await until_blocked_or_done(bench.database, settling)
        async with asyncio.timeout(PATIENCE):
            # Nor does it wait for ever: it is owed still, and nobody's day has it yet.
            await settling
            assert await bench.rounds.add_up() == 0
    assert await bench.used(ann) == (1, 50)
    assert await bench.rounds.add_up() == 1
    assert await bench.used(ann) == (1, 5)
    assert await bench.usage(ann) == [(ann.principal_id, "echo", 1, 2, 3)]


async def test_what_is_owed_is_settled_once_whoever_comes(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann, eve = await make_scope(), await make_scope()
    for scope in (ann, eve):
        await bench.set(scope, TENANT, tokens=1000)
        await bench.set(scope, Whose(QuotaKind.EACH_USER), tokens=1000)
    requests = [(each, await bench.begin(each, 50)) for each in (ann, eve) for _ in range(4)]
    for scope, request in requests:
        assert await bench.only_end(scope, request, Spent(2, 3)) is Ending.OWED
        assert await bench.only_end(scope, request, Spent(9, 9)) is Ending.BEFORE
    settled = [bench.metering.settle(request) for _, request in requests for _ in range(3)]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*settled, *(bench.rounds.add_up() for _ in range(3)))
    await bench.rounds.add_up()
    for scope in (ann, eve):
        async with bench.database.transaction(scope) as transaction:
            windows = await transaction.fetch("SELECT requests, tokens FROM quota_windows")
        assert [tuple(window) for window in windows] == [(4, 20)] * 2
        assert await bench.usage(scope) == [(scope.principal_id, "echo", 4, 8, 12)]


async def test_one_tenants_window_keeps_nobody_elses_from_being_settled(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann, eve = await make_scope(), await make_scope()
    for scope in (ann, eve):
        await bench.set(scope, TENANT, tokens=100)
    for scope in (ann, ann, eve):
        await bench.only_end(scope, await bench.begin(scope, 50), Spent(1, 1))
    async with rolled_back(bench.database, ann) as transaction:
        await transaction.execute("UPDATE quota_windows SET requests = requests")
        async with asyncio.timeout(PATIENCE):
            assert await bench.rounds.add_up() == 1
        assert await bench.used(eve) == (1, 2)
    assert await bench.rounds.add_up() == 2
    assert await bench.used(ann) == (2, 4)


async def test_each_quota_that_applies_is_held_to(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    ben, robot = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    await bench.set(ann, Whose(QuotaKind.EACH_USER), 3)
    await bench.pin(ann, ben.principal_id)
    await bench.set(ann, Whose(QuotaKind.USER, ben.principal_id), 1)
    # Ben has one of his own; what the robot does for Ann is Ann's.
    assert await count([bench.begin(ben) for _ in range(5)]) == 1
    for_ann = Member(ann.tenant_id, ann.principal_id, "", actor_id=robot.principal_id)
    assert await count([bench.begin(for_ann) for _ in range(2)]) == 2
    assert await count([bench.begin(ann) for _ in range(5)]) == 1
    # And the robot's, who may be held to less.
    await bench.set(ann, Whose(QuotaKind.USER, robot.principal_id), 0)
    cid = await make_scope(ann.tenant_id)
    for_cid = Member(ann.tenant_id, cid.principal_id, "", actor_id=robot.principal_id)
    with pytest.raises(QuotaSpentError):
        await bench.begin(for_cid)
    await bench.begin(cid)


async def test_what_an_exchanged_token_asks_counts_for_the_keys_behind_it(
    bench: Bench, make_scope: MakeScope
) -> None:
    desk = Desk(bench.database, make_scope)
    ann = await desk.person()
    held = await desk.key(ann, ("search",))
    robot = await desk.robot(ann.tenant_id)
    exchanged = await desk.exchange.exchange(robot, held.secret)
    acting = await desk.identity.authenticate(exchanged.secret)
    for key_id in (robot.credential_id, held.id):
        whose = Whose(QuotaKind.KEY, key_id)
        await bench.set(ann, whose, requests=1)
        await bench.begin(acting)
        with pytest.raises(QuotaSpentError):
            await bench.begin(acting)
        await bench.quotas.delete(ann, whose, Period.DAY)


async def test_a_window_that_is_over_makes_room_and_takes_no_tokens_back(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, requests=1, tokens=100)
    before = await bench.begin(ann, 60)
    with pytest.raises(QuotaSpentError) as refused:
        await bench.begin(ann, 0)
    assert refused.value.retry_after is not None
    assert "2100-01-02" in refused.value.message
    async with bench.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE quota_windows SET started_at = '2020-01-01'")
    await bench.begin(ann, 10)
    await bench.pin(ann, ann.tenant_id)
    # Its window is over: what is held in the next one is not its.
    assert await bench.end(ann, before, Spent(1, 1))
    assert await bench.used(ann) == (1, 10)


async def test_an_older_transaction_does_not_open_a_window_again(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, 2)
    await bench.begin(ann)
    await bench.begin(ann)
    # Its own day is long before that of the window.
    with pytest.raises(QuotaSpentError):
        await bench.begin(ann)


async def test_what_never_fits_is_told_so(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, tokens=100)
    with pytest.raises(LargerThanQuotaError):
        await bench.begin(ann, 101)
    charge = Charge(ann)
    async with bench.database.transaction(ann) as transaction:
        await charge.reserve(transaction, IdSource().new(), "echo", 100)
    assert charge.bounds_tokens
    (standing,) = charge.standings
    assert (standing.measure, standing.left, standing.is_spent) == ("tokens", 0, False)


async def test_each_request_is_in_one_place_while_they_are_added_up(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    for _ in range(6):
        await bench.end(ann, await bench.begin(ann), Spent(2, 3))
    open_one = await bench.begin(ann)
    all_of_it = [(ann.principal_id, "echo", 6, 12, 18)]
    assert await bench.usage(ann) == all_of_it
    added = await asyncio.gather(*(bench.rounds.add_up() for _ in range(3)))
    assert sum(added) == 6
    assert await bench.usage(ann) == all_of_it
    await bench.end(ann, open_one, Spent(2, 3))
    assert await bench.usage(ann) == [(ann.principal_id, "echo", 7, 14, 21)]
    await bench.rounds.add_up()
    assert await bench.usage(ann) == [(ann.principal_id, "echo", 7, 14, 21)]


async def test_what_nobody_ends_is_a_request_of_nothing_and_holds_its_window(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, tokens=100)
    lost, young = await bench.begin(ann, 40), await bench.begin(ann, 40)
    assert await bench.rounds.tidy() == 0
    async with past_policies(bench.urls, "metered_requests") as owner:
        await owner.execute(
            "UPDATE metered_requests SET reserved_at = now() - interval '25 h' WHERE id = $1", lost
        )
    assert await bench.rounds.tidy() == 1
    assert not await bench.end(ann, lost, Spent(9, 9))
    assert await bench.end(ann, young, Spent(5, 5))
    assert await bench.used(ann) == (2, 50)
    rows = await bench.metering.list_usage(ann, date(2020, 1, 1), date(2100, 1, 1), None, None, 100)
    assert sum(row.requests for row in rows) == 2
    assert sum(row.estimated_requests for row in rows) == 1
    assert sum(row.input_tokens + row.output_tokens for row in rows) == 10


async def test_a_removed_users_usage_is_nobodys_and_the_sums_stay(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    ben = await make_scope(ann.tenant_id)
    for scope in (ann, ben, ben):
        await bench.end(scope, await bench.begin(scope), Spent(1, 1))
    await bench.rounds.add_up()
    await bench.end(ben, await bench.begin(ben), Spent(1, 1))
    await bench.set(ann, Whose(QuotaKind.USER, ben.principal_id), 5)
    async with bench.database.transaction(ann) as transaction:
        await transaction.execute("DELETE FROM users WHERE id = $1", ben.principal_id)
    expected = {(ann.principal_id, "echo", 1, 1, 1), (None, "echo", 3, 3, 3)}
    assert set(await bench.usage(ann)) == expected
    await bench.rounds.add_up()
    assert set(await bench.usage(ann)) == expected
    assert await bench.quotas.list_all(ann) == []


async def test_adding_up_and_removing_a_user_do_not_wait_for_each_other(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    ben, cid = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    for scope in (ben, cid):
        for model in ("a", "b"):
            await bench.end(scope, await bench.begin(scope, model=model), Spent(1, 1))
    await bench.rounds.add_up()
    # What is to be added: of nobody, and a first row of one who is being removed.
    await bench.end(cid, await bench.begin(cid, model="b"), Spent(1, 1))
    await bench.end(ben, await bench.begin(ben, model="c"), Spent(1, 1))

    async def remove(user_id: UUID) -> None:
        async with bench.database.transaction(ann) as transaction:
            await transaction.execute("DELETE FROM users WHERE id = $1", user_id)

    await remove(cid.principal_id)
    async with past_policies(bench.urls, "usage_days") as owner:
        holding = owner.transaction()
        await holding.start()
        held = await owner.fetch(
            "SELECT FROM usage_days WHERE user_id IS NULL AND model = 'a' FOR UPDATE"
        )
        assert held
        removing = asyncio.create_task(remove(ben.principal_id))
        await until_blocked(bench.database)
        adding = asyncio.create_task(bench.rounds.add_up())
        await until_blocked(bench.database, 2)
        await holding.rollback()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(removing, adding)
    assert set(await bench.usage(ann)) == {
        (None, "a", 2, 2, 2),
        (None, "b", 3, 3, 3),
        (None, "c", 1, 1, 1),
    }


async def test_nobody_sees_or_counts_in_anothers_tenant(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann, eve = await make_scope(), await make_scope()
    await bench.set(ann, TENANT, 1)
    request = await bench.begin(ann)
    assert await bench.quotas.list_all(eve) == []
    assert not await bench.end(eve, request, Spent(1, 1))
    for _ in range(3):
        await bench.begin(eve)
    assert await bench.end(ann, request, Spent(1, 1))
    assert await bench.usage(eve) == []


async def test_usage_is_listed_page_by_page(bench: Bench, make_scope: MakeScope) -> None:
    ann = await make_scope()
    ben = await make_scope(ann.tenant_id)
    for scope in (ann, ben):
        for model in ("a", "b"):
            await bench.end(scope, await bench.begin(scope, model=model), Spent(1, 1))
    seen: list[tuple[UUID | None, str]] = []
    after: tuple[date, UUID | None, str] | None = None
    while True:
        rows = await bench.metering.list_usage(
            ann, date(2020, 1, 1), date(2100, 1, 1), None, after, 1
        )
        if not rows:
            break
        seen.append((rows[0].user_id, rows[0].model))
        after = (rows[0].day, rows[0].user_id, rows[0].model)
    assert sorted(seen, key=str) == sorted(
        [(scope.principal_id, model) for scope in (ann, ben) for model in ("a", "b")], key=str
    )
    own = await bench.usage(ann, ben.principal_id)
    assert {row[0] for row in own} == {ben.principal_id}


async def test_who_leaves_while_it_is_counted_is_counted_all_the_same(
    bench: Bench, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await bench.set(ann, TENANT, tokens=100)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def ask() -> None:
        async with bench.metering.metered(Charge(ann), "echo", 50) as metered:
            metered.spent = Spent(20, 10)
            begun.set()
            await ended.wait()
            await metered.settle()

    asking = asyncio.create_task(ask())
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
    async with rolled_back(bench.database, ann) as transaction:
        # Somebody else is in the quota's window: what settles waits for them.
        await Charge(ann).reserve(transaction, IdSource().new(), "echo", 1)
        ended.set()
        await until_blocked(bench.database)
        asking.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({asking})
    assert asking.cancelled()
    assert await bench.used(ann) == (1, 30)
