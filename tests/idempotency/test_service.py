"""A key, what is done under it and the answer commit together: stepped with real connections, killed in between."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.owner import past_policies
from tests.stepping import Gate
from undercroft.idempotency.errors import (
    AnswerErasedError,
    AnswerTooLargeError,
    OtherRequestError,
    StillGoingOnError,
    TooManyKeysError,
)
from undercroft.idempotency.models import Answer, RequestKey, open_answer
from undercroft.idempotency.service import (
    LARGEST_ANSWER,
    AnsweredError,
    CarriedOut,
    IdempotencyKeys,
)
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.database import Database
from undercroft.kit.errors import UnavailableError
from undercroft.kit.ids import IdSource
from undercroft.kit.joined import once_committed
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.vault.keys.service import KeyRing

ROUTE = "POST /v1/groups"
KEY = RequestKey(ROUTE, "a key of the client's", b"r" * 32)
ANSWER = Answer(201, [("location", "/v1/groups/1")], b'{"secret": "uk_1"}', [])


@pytest.fixture
async def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(await KeyFile.open(tmp_path / "provider.key"), IdSource())


@pytest.fixture
def keys(database: Database, ring: KeyRing) -> IdempotencyKeys:
    return IdempotencyKeys(database, ring, IdSource())


async def act(
    database: Database, scope: Member, name: str = "group", *, fails: bool = False
) -> None:
    """What the request does: one unit of work."""
    async with database.transaction(scope) as transaction:
        if fails:
            await transaction.execute("SELECT 1 / 0")
        await transaction.execute(
            "INSERT INTO groups (id, tenant_id, name) VALUES (gen_random_uuid(), $1, $2)",
            scope.tenant_id,
            name,
        )


async def count(database: Database, scope: Member, table: str = "groups") -> int:
    async with database.transaction(scope) as transaction:
        return int(await transaction.fetchval(f"SELECT count(*) FROM {table}"))


@asynccontextmanager
async def acting(
    keys: IdempotencyKeys, database: Database, scope: Member, key: RequestKey = KEY
) -> AsyncGenerator[CarriedOut]:
    async with keys.carrying_out(scope, key) as carried_out:
        await act(database, scope)
        yield carried_out


async def do(
    keys: IdempotencyKeys,
    database: Database,
    scope: Member,
    key: RequestKey = KEY,
    answer: Answer = ANSWER,
) -> None:
    async with acting(keys, database, scope, key) as carried_out:
        await carried_out.keep(answer)


async def test_the_second_of_two_waits_for_the_end_and_gets_the_same_answer(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope, gate = await make_scope(), Gate()

    async def first() -> None:
        async with acting(keys, database, scope) as carried_out:
            await gate.pass_through()
            await carried_out.keep(ANSWER)

    running = asyncio.create_task(first())
    await gate.wait_until_reached()
    assert await keys.find(scope, KEY) is None
    with pytest.raises(StillGoingOnError) as waits:
        await do(keys, database, scope)
    assert (waits.value.status, waits.value.retry_after) == (409, 1)
    gate.open()
    await running
    with pytest.raises(AnsweredError) as known:
        await do(keys, database, scope)
    assert known.value.answer == ANSWER == await keys.find(scope, KEY)
    assert await count(database, scope) == 1


async def test_of_many_at_once_one_acts(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope()

    async def attempt() -> Answer | str:
        try:
            await do(keys, database, scope)
        except AnsweredError as known:
            return known.answer
        except StillGoingOnError:
            return "waits"
        return "acted"

    outcomes = await asyncio.gather(*(attempt() for _ in range(30)))
    assert outcomes.count("acted") == 1
    assert all(outcome in ("acted", "waits", ANSWER) for outcome in outcomes)
    assert await count(database, scope) == 1


async def test_what_dies_before_its_commit_leaves_neither(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope()

    async def die() -> None:
        async with acting(keys, database, scope) as carried_out:
            async with database.transaction(scope) as transaction:
                session = await transaction.fetchval("SELECT pg_backend_pid()")
            async with database.transaction_without_scope() as killer:
                await killer.fetchval("SELECT pg_terminate_backend($1, 30000)", session)
            await carried_out.keep(ANSWER)

    with pytest.raises((UnavailableError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await die()
    assert await count(database, scope) == 0
    assert await keys.find(scope, KEY) is None
    await do(keys, database, scope)
    assert await count(database, scope) == 1


async def test_an_answer_that_cannot_be_kept_leaves_neither(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    with pytest.raises(AnswerTooLargeError):
        await do(keys, database, scope, answer=Answer(200, [], b"x" * (LARGEST_ANSWER + 1), []))
    for table in ("groups", "idempotency_keys", "data_keys"):
        assert await count(database, scope, table) == 0


async def test_a_unit_that_fails_takes_all_with_it_and_what_comes_after_stands(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    """As a refusal does that is put on record."""
    scope = await make_scope()

    async def refuse() -> None:
        async with keys.carrying_out(scope, KEY):
            await act(database, scope, "one")
            try:
                await act(database, scope, fails=True)
            except asyncpg.DivisionByZeroError:
                await act(database, scope, "put on record")
                raise

    with pytest.raises(asyncpg.DivisionByZeroError):
        await refuse()
    async with database.transaction(scope) as transaction:
        names = await transaction.fetch("SELECT name FROM groups")
    assert [row["name"] for row in names] == ["put on record"]
    assert await keys.find(scope, KEY) is None


async def test_work_that_goes_on_after_a_failure_is_a_defect(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    async with keys.carrying_out(scope, KEY) as carried_out:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await act(database, scope, fails=True)
        with pytest.raises(RuntimeError, match="after a unit of its work has failed"):
            await carried_out.keep(ANSWER)


async def test_other_principals_and_other_tasks_do_not_take_part(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope, other = await make_scope(), await make_scope()
    async with acting(keys, database, scope):
        await act(database, other)
        await asyncio.create_task(act(database, scope, "another task's"))
        # It is not kept, and so comes to nothing.
    assert await count(database, other) == 1
    assert await count(database, scope) == 1


async def test_files_are_deleted_once_their_rows_are_gone_for_good(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    seen: list[int] = []

    async def delete() -> None:
        seen.append(await count(database, scope))

    async with acting(keys, database, scope):
        await once_committed(delete)
    assert seen == []
    async with acting(keys, database, scope) as carried_out:
        await once_committed(delete)
        assert seen == []
        await carried_out.keep(ANSWER)
    assert seen == [1]
    await once_committed(delete)
    assert seen == [1, 1]


async def test_what_does_nothing_keeps_nothing(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    async with keys.carrying_out(scope, KEY) as carried_out:
        await carried_out.keep(ANSWER)
    assert await count(database, scope, "idempotency_keys") == 0


async def test_a_key_is_for_one_request_of_one_route_of_one_who_acts(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope(role="admin")
    await do(keys, database, scope)
    with pytest.raises(OtherRequestError):
        await do(keys, database, scope, RequestKey(ROUTE, KEY.text, b"o" * 32))
    service = await make_scope(scope.tenant_id)
    acting_for = Member(scope.tenant_id, scope.principal_id, "", service.principal_id)
    for who, key in (
        (acting_for, KEY),
        (await make_scope(scope.tenant_id), KEY),
        (scope, RequestKey("POST /v1/users", KEY.text, KEY.request)),
        (scope, RequestKey(ROUTE, KEY.text.upper(), KEY.request)),
    ):
        assert await keys.find(who, key) is None


async def test_an_answer_opens_with_the_clients_key_in_its_own_place_alone(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    other = RequestKey(ROUTE, "another", KEY.request)
    await do(keys, database, scope)
    async with keys.carrying_out(scope, other) as carried_out:
        await act(database, scope, "another")
        await carried_out.keep(ANSWER)
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch("SELECT * FROM idempotency_keys")
        for secret in (b"uk_1", KEY.text.encode(), KEY.request):
            assert all(secret not in bytes(row["sealed_answer"]) for row in rows)
            assert all(secret not in bytes(row["key_digest"]) for row in rows)
        await transaction.execute(
            "UPDATE idempotency_keys AS k SET sealed_answer = o.sealed_answer, data_key_id = o.data_key_id"
            " FROM idempotency_keys AS o WHERE k.id <> o.id"
        )
    for moved in (KEY, other):
        with pytest.raises(DecryptionError):
            await keys.find(scope, moved)


async def test_without_the_clients_key_the_services_own_open_nothing(
    database: Database, ring: KeyRing, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    await do(keys, database, scope)
    async with database.transaction(scope) as transaction:
        row = await transaction.fetchrow("SELECT * FROM idempotency_keys")
        assert row is not None
        opened = await ring.read(transaction, row["data_key_id"])
    assert opened is not None
    place = (row["sealed_answer"], scope.tenant_id, row["id"])
    assert open_answer(opened.material, KEY, *place) == (KEY.request, ANSWER)
    guess = RequestKey(ROUTE, KEY.text + "?", KEY.request)
    with pytest.raises(DecryptionError):
        open_answer(opened.material, guess, *place)


async def test_a_day_later_the_key_is_new(
    database: Database,
    database_urls: DatabaseUrls,
    keys: IdempotencyKeys,
    make_scope: MakeScope,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However many there are, one round forgets them.
    monkeypatch.setattr("undercroft.idempotency.service._BATCH", 1)
    scope, second = await make_scope(), RequestKey(ROUTE, "second", KEY.request)
    await do(keys, database, scope)
    assert await keys.forget_expired() == 0
    await let_a_day_pass(database_urls)
    assert await keys.find(scope, KEY) is None
    async with keys.carrying_out(scope, KEY) as carried_out:
        await act(database, scope, "a day later")
        await carried_out.keep(ANSWER)
    assert await keys.find(scope, KEY) == ANSWER
    async with keys.carrying_out(scope, second) as carried_out:
        await act(database, scope, "another")
        await carried_out.keep(ANSWER)
    assert await count(database, scope, "data_keys") == 2
    await let_a_day_pass(database_urls)
    assert await keys.forget_expired() == 2
    for table in ("idempotency_keys", "idempotency_subjects", "data_keys"):
        assert await count(database, scope, table) == 0


async def let_a_day_pass(urls: DatabaseUrls) -> None:
    """For every key."""
    async with past_policies(urls, "idempotency_keys") as owner:
        await owner.execute(
            "UPDATE idempotency_keys SET expires_at = expires_at - interval '24 hours'"
        )


async def test_no_more_than_so_many_are_kept_of_one_principal(
    database: Database, ring: KeyRing, make_scope: MakeScope
) -> None:
    scope, other = await make_scope(), await make_scope()
    keys = IdempotencyKeys(database, ring, IdSource(), most_keys=1)
    await do(keys, database, scope)
    with pytest.raises(TooManyKeysError):
        await do(keys, database, scope, RequestKey(ROUTE, "one more", KEY.request))
    with pytest.raises(AnsweredError):
        await do(keys, database, scope)
    await do(keys, database, other)
    assert await count(database, scope) == 1


async def test_whatever_deletes_a_thing_takes_the_answers_about_it(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    async with acting(keys, database, scope) as carried_out:
        async with database.transaction(scope) as transaction:
            group_id = await transaction.fetchval("SELECT id FROM groups")
        await carried_out.keep(
            Answer(201, [], b'{"id": "group_' + group_id.hex.encode() + b'"}', [])
        )
    assert await count(database, scope, "data_keys") == 1
    async with database.transaction(scope) as transaction:
        await transaction.execute("DELETE FROM groups")
    assert await count(database, scope, "data_keys") == 0
    with pytest.raises(AnswerErasedError):
        await keys.find(scope, KEY)
    with pytest.raises(AnswerErasedError):
        await do(keys, database, scope)
    assert await count(database, scope) == 0


async def test_an_answer_goes_with_whom_it_was_given_to(
    database: Database, keys: IdempotencyKeys, make_scope: MakeScope
) -> None:
    admin = await make_scope(role="admin")
    member = await make_scope(admin.tenant_id)
    await do(keys, database, member)
    async with database.transaction(admin) as transaction:
        await transaction.execute("DELETE FROM users WHERE id = $1", member.principal_id)
    for table in ("idempotency_keys", "data_keys"):
        assert await count(database, admin, table) == 0
