"""Transactions under a scope: what row-level security reads, and what a pooled connection must not keep."""

import asyncio
from collections.abc import Callable, Coroutine
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import UnavailableError
from undercroft.kit.postgres.server import DatabaseUrls

_USER_IDS = "SELECT id FROM users"
# Refused at the commit: the reference is checked no earlier.
_EMBEDDING_OF_NO_CHUNK = """
INSERT INTO chunk_embeddings (model_id, chunk_id, tenant_id, blob_id, embedding)
SELECT id, 1, current_tenant(), gen_random_uuid(), '[1,2,3]' FROM embedding_models
"""


async def test_a_transaction_sees_only_its_tenants_rows(
    database: Database, make_scope: MakeScope
) -> None:
    first, second = await make_scope(), await make_scope()
    for own in (first, second):
        async with database.transaction(own) as connection:
            assert await connection.fetch(_USER_IDS) == [(own.principal_id,)]


async def test_a_connection_keeps_no_scope_after_its_transaction(
    database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    member = await make_scope()
    async with Database(database_urls.service, clock=SystemClock(), size=1) as narrow:
        async with narrow.transaction(member) as connection:
            assert await connection.fetchval("SELECT current_tenant()") == member.tenant_id
            backend = await connection.fetchval("SELECT pg_backend_pid()")
        async with narrow.transaction_without_scope() as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") == backend
            assert await connection.fetchval("SELECT current_tenant()") is None
            assert await connection.fetch(_USER_IDS) == []


async def test_nothing_is_kept_of_a_transaction_that_fails(
    database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()

    async def fail() -> None:
        async with database.transaction(member) as connection:
            await connection.execute("DELETE FROM users")
            raise ZeroDivisionError

    # Where the pool tells that a connection came back with its transaction open.
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
    with pytest.raises(ZeroDivisionError):
        await fail()
    assert told == []
    async with database.transaction(member) as connection:
        assert await connection.fetch(_USER_IDS) == [(member.principal_id,)]


async def test_a_transaction_that_cannot_commit_raises_and_keeps_nothing(
    database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    member = await make_scope()
    owner = await asyncpg.connect(database_urls.migration)
    await owner.execute("SELECT register_embedding_model('model', 3)")
    await owner.close()
    async with Database(database_urls.service, clock=SystemClock(), size=1) as narrow:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            async with narrow.transaction(member) as connection:
                await connection.execute(_EMBEDDING_OF_NO_CHUNK)
        async with narrow.transaction(member) as connection:
            assert await connection.fetch("SELECT chunk_id FROM chunk_embeddings") == []


async def test_a_session_that_the_server_ends_is_named_as_the_reason(
    database: Database, make_scope: MakeScope
) -> None:
    member = await make_scope()
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        async with database.transaction(member) as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    async with database.transaction(member) as connection:
        assert await connection.fetch(_USER_IDS) == [(member.principal_id,)]


async def test_what_is_no_id_never_becomes_part_of_a_statement(database: Database) -> None:
    hostile = Member(uuid4(), "', true); DROP TABLE users; --", "ann@example.org")  # pyright: ignore[reportArgumentType] - what the type forbids
    with pytest.raises(AttributeError):
        async with database.transaction(hostile):
            pytest.fail("a transaction was opened")


async def test_a_statement_of_its_own_has_no_scope_and_leaves_no_transaction(
    database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    member = await make_scope()
    async with Database(database_urls.service, clock=SystemClock(), size=1) as narrow:
        async with narrow.transaction(member):
            pass
        async with narrow.scoped_statement() as connection:
            brought = await connection.fetchval(
                "SELECT current_tenant() FROM enter_scope($1, $2)",
                member.tenant_id,
                member.principal_id,
            )
            assert brought == member.tenant_id
        async with narrow.statement_without_scope() as connection:
            assert await connection.fetch(_USER_IDS) == []
            assert not connection.is_in_transaction()


async def _sleep_in_scope(narrow: Database, member: Member, seconds: float | None) -> None:
    async with narrow.scoped_statement() as connection:
        await connection.execute(
            "SELECT pg_sleep(600) FROM enter_scope($1, $2)",
            member.tenant_id,
            member.principal_id,
            timeout=seconds,
        )


async def _sleep_in_a_transaction(narrow: Database, member: Member, seconds: float | None) -> None:
    async with narrow.transaction(member) as connection:
        await connection.execute("DELETE FROM users")
        await connection.execute("SELECT pg_sleep(600)", timeout=seconds)


@pytest.mark.parametrize("sleep", [_sleep_in_scope, _sleep_in_a_transaction])
@pytest.mark.parametrize("is_late", [False, True], ids=["cancelled", "late"])
async def test_nobody_inherits_the_scope_of_what_is_broken_off(
    database: Database,
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
    sleep: Callable[[Database, Member, float | None], Coroutine[object, object, None]],
    *,
    is_late: bool,
) -> None:
    member = await make_scope()
    async with Database(database_urls.service, clock=SystemClock(), size=1) as narrow:
        async with narrow.statement_without_scope() as connection:
            backend = await connection.fetchval("SELECT pg_backend_pid()")
        task = asyncio.create_task(sleep(narrow, member, 0.1 if is_late else None))
        if not is_late:
            async with database.statement_without_scope() as connection:
                while await connection.fetchval(_WAITS_FOR, backend) != "PgSleep":
                    pass
            task.cancel()
        with pytest.raises(TimeoutError if is_late else asyncio.CancelledError):
            await task
        async with narrow.statement_without_scope() as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") == backend
            assert await connection.fetchval("SELECT current_tenant()") is None
            assert not connection.is_in_transaction()
        async with narrow.transaction(member) as connection:
            assert await connection.fetch(_USER_IDS) == [(member.principal_id,)]


_WAITS_FOR = "SELECT wait_event FROM pg_stat_activity WHERE pid = $1"


@pytest.mark.parametrize("name", ["tenant", "principal"])
async def test_policies_read_the_scope_without_a_call(database: Database, name: str) -> None:
    async with database.statement_without_scope() as connection:
        plan = await connection.fetch(f"EXPLAIN (VERBOSE) SELECT current_{name}()")
    text = "\n".join(row[0] for row in plan)
    assert f"current_setting('undercroft.{name}_id'" in text
    assert f"current_{name}" not in text


async def test_a_row_for_another_tenant_is_refused(
    database: Database, make_scope: MakeScope
) -> None:
    victim, attacker = await make_scope(), await make_scope()
    async with database.transaction(attacker) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await _insert_user(connection, victim.tenant_id)


async def test_a_transaction_without_scope_may_not_write(database: Database) -> None:
    async with database.transaction_without_scope() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await _insert_user(connection, uuid4())


async def test_json_goes_in_and_out_as_python_values(database: Database) -> None:
    value = {"name": "Ålesund", "parts": [1, 2.5, None, True]}
    async with database.transaction_without_scope() as connection:
        assert await connection.fetchval("SELECT $1::jsonb", value) == value


class _Waits:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def connection_acquired(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def test_each_wait_for_a_connection_is_reported(database_urls: DatabaseUrls) -> None:
    waits = _Waits()
    async with (
        Database(database_urls.service, clock=SystemClock(), size=2, observer=waits) as database,
        database.transaction_without_scope(),
        database.transaction_without_scope(),
    ):
        assert len(waits.seconds) == 2
        assert all(seconds >= 0 for seconds in waits.seconds)


async def test_a_server_without_room_is_reported_as_unavailable(
    database_urls: DatabaseUrls,
) -> None:
    owner = await asyncpg.connect(database_urls.migration)
    try:
        name = await owner.fetchval("SELECT current_database()")
        async with Database(database_urls.service, clock=SystemClock(), size=3) as database:
            await owner.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 1")
            async with (
                database.transaction_without_scope(),
                database.transaction_without_scope(),
            ):
                with pytest.raises(UnavailableError, match="try again"):
                    async with database.transaction_without_scope():
                        pytest.fail("there was no room for a third connection")
    finally:
        await owner.close()


async def _insert_user(connection: Transaction, tenant_id: UUID) -> None:
    stranger = Member(tenant_id, uuid4(), "stranger@example.org")
    await connection.execute(
        "INSERT INTO users (id, tenant_id, email, role) VALUES ($1, $2, $3, 'admin')",
        stranger.principal_id,
        stranger.tenant_id,
        stranger.email,
    )
