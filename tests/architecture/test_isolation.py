"""Invariant 1: every row belongs to a tenant, and the service cannot see or reach beyond the one it acts for.

Each rule is first held against the migrated database, then against the same database broken on purpose.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.architecture.isolation import (
    SECURITY_DEFINERS,
    SHARED_TABLES,
    TENANT_COLUMNS,
    check_foreign_keys,
    check_functions,
    check_policies,
    check_role,
    check_search_paths,
    check_shared_tables,
    check_tables,
    check_views,
    list_tables,
)
from tests.architecture.rows import FILLED_BY_OTHERS, READ_ONLY, ROWS
from tests.conftest import MakeScope, Member
from undercroft.kit.database import Database
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection

Rule: TypeAlias = Callable[[AnyConnection], Awaitable[list[str]]]

RULES: list[Rule] = [
    check_tables,
    check_shared_tables,
    check_policies,
    check_views,
    check_functions,
    check_search_paths,
    check_foreign_keys,
]

_POLICY = "CREATE POLICY p ON notes TO undercroft_app USING (tenant_id = (SELECT current_tenant()))"
_FUNCTION = "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
_BODY = "AS 'SELECT count(*) FROM users'"
BREAKS: list[tuple[Rule, str, str]] = [
    (check_tables, "CREATE TABLE notes (id int)", "notes has no column tenant_id"),
    (check_tables, "CREATE TABLE notes (tenant_id uuid)", "notes has no column tenant_id"),
    (check_tables, "ALTER TABLE users DISABLE ROW LEVEL SECURITY", "users does not force"),
    (check_tables, "ALTER TABLE users NO FORCE ROW LEVEL SECURITY", "users does not force"),
    (check_shared_tables, "GRANT DELETE ON embedding_models TO undercroft_app", "may DELETE embed"),
    (check_shared_tables, "GRANT SELECT (id) ON pgqueuer_log TO PUBLIC", "may SELECT pgqueuer_log"),
    (check_policies, "CREATE TABLE notes (tenant_id uuid NOT NULL)", "notes has no policy"),
    (check_policies, "DROP POLICY tenant_isolation ON chunks", "chunks has no policy"),
    (
        check_policies,
        f"CREATE TABLE notes (tenant_id uuid NOT NULL, shared bool);{_POLICY[:-1]} OR shared)",
        "notes: policy p does not compare",
    ),
    (
        check_policies,
        f"CREATE TABLE notes (tenant_id uuid NOT NULL);{_POLICY} WITH CHECK (true)",
        "notes: policy p does not compare",
    ),
    (
        check_policies,
        "CREATE POLICY p ON users FOR SELECT USING (true)",
        "users: policy p does not",
    ),
    (check_policies, "CREATE POLICY p ON users TO CURRENT_USER USING (true)", "users: policy p is"),
    (check_views, "CREATE VIEW everybody AS SELECT id FROM users", "view everybody"),
    (check_views, "CREATE MATERIALIZED VIEW everybody AS SELECT id FROM users", "view everybody"),
    (check_functions, f"{_FUNCTION} {_BODY}", "peek is not listed"),
    (check_functions, f"{_FUNCTION} {_BODY}", "peek does not pin search_path"),
    (check_functions, f"{_FUNCTION} {_BODY}", "peek may be executed by PUBLIC"),
    (check_functions, f"{_FUNCTION} {_BODY}", "peek belongs to undercroft_owner"),
    (
        check_functions,
        "ALTER FUNCTION find_tenant(text) RESET search_path",
        "find_tenant does not pin search_path",
    ),
    (
        check_search_paths,
        "ALTER FUNCTION find_tenant(text) SET search_path = pg_catalog",
        "find_tenant does not end its search_path with pg_temp",
    ),
    (
        check_search_paths,
        "CREATE FUNCTION peek() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "peek does not end its search_path with pg_temp",
    ),
    (
        check_foreign_keys,
        "CREATE TABLE notes (tenant_id uuid NOT NULL, author uuid REFERENCES users (id))",
        "notes: notes_author_fkey does not carry the tenant",
    ),
]


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    """The owner's connection to this test's database."""
    connection = await asyncpg.connect(database_urls.migration)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("rule", RULES)
async def test_the_migrated_database_keeps_each_rule(owner: AnyConnection, rule: Rule) -> None:
    assert await rule(owner) == []


@pytest.mark.parametrize(("rule", "break_it", "problem"), BREAKS)
async def test_a_rule_reports_what_breaks_it(
    owner: AnyConnection, rule: Rule, break_it: str, problem: str
) -> None:
    before = await rule(owner)
    await owner.execute(break_it)
    assert any(problem in found for found in set(await rule(owner)) - set(before))


async def test_the_lists_name_nothing_that_is_gone(owner: AnyConnection) -> None:
    assert SHARED_TABLES.keys() <= set(await list_tables(owner))
    functions = await owner.fetch("SELECT proname FROM pg_proc WHERE prosecdef")
    assert SECURITY_DEFINERS.keys() <= {row["proname"] for row in functions}


async def test_the_service_login_is_above_nothing(
    owner: AnyConnection, database_urls: DatabaseUrls
) -> None:
    service = str(urlsplit(database_urls.service).username)
    assert await check_role(owner, service) == []


async def test_the_owner_would_not_do_as_the_service_login(
    owner: AnyConnection, database_urls: DatabaseUrls
) -> None:
    problems = await check_role(owner, str(urlsplit(database_urls.migration).username))
    assert "undercroft_owner has rolcreaterole" in problems
    assert "undercroft_owner can become undercroft_system" in problems
    assert "undercroft_owner or undercroft_app owns users" in problems


@pytest.mark.parametrize("role", ["undercroft_owner", "undercroft_system", "undercroft_search"])
async def test_the_service_cannot_become_another_role(database: Database, role: str) -> None:
    async with database.transaction_without_scope() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SET ROLE {role}")


async def test_a_type_of_the_callers_own_does_not_run_as_a_definer(
    owner: AnyConnection, database_urls: DatabaseUrls
) -> None:
    # Any login may create temporary objects in a database whose administrator did not revoke it.
    database = urlsplit(database_urls.service).path.removeprefix("/")
    await owner.execute(f'GRANT TEMPORARY ON DATABASE "{database}" TO PUBLIC')
    service = await asyncpg.connect(database_urls.service)
    try:
        await service.execute(
            """
            CREATE FUNCTION pg_temp.refuse(id pg_catalog.uuid) RETURNS boolean LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$;
            CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (pg_temp.refuse(VALUE));
            SELECT set_config('undercroft.tenant_id', gen_random_uuid()::text, false);
            """
        )
        found = await service.fetch(
            "SELECT * FROM search_lexical(ARRAY[gen_random_uuid()], '{}', false, NULL, 'word', 10, 10, 10)"
        )
        assert found == []
    finally:
        await service.close()


async def test_there_is_a_row_to_try_for_every_table(owner: AnyConnection) -> None:
    assert (
        ROWS.keys() | set(FILLED_BY_OTHERS) == set(await list_tables(owner)) - SHARED_TABLES.keys()
    )


async def test_without_a_scope_no_table_shows_a_row(
    database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    for _ in range(2):
        await _fill_every_table(owner, database, await make_scope())
    async with database.transaction_without_scope() as connection:
        for table in [*FILLED_BY_OTHERS, *ROWS]:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_under_a_scope_each_table_shows_the_tenants_own_rows_alone(
    database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    members = [await make_scope(), await make_scope()]
    for member in members:
        await _fill_every_table(owner, database, member)
    for member in members:
        async with database.transaction(member) as connection:
            for table in [*FILLED_BY_OTHERS, *ROWS]:
                column = TENANT_COLUMNS.get(table, "tenant_id")
                rows = await connection.fetch(f"SELECT {column} FROM {table}")
                assert [row[column] for row in rows] == [member.tenant_id], table


async def test_no_row_can_be_given_to_another_tenant(
    database: Database, make_scope: MakeScope, owner: AnyConnection
) -> None:
    attacker, victim = await make_scope(), await make_scope()
    await _fill_every_table(owner, database, attacker)
    for table in ROWS.keys() - READ_ONLY:
        async with database.transaction(attacker) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await connection.execute(f"UPDATE {table} SET tenant_id = $1", victim.tenant_id)


async def _fill_every_table(owner: AnyConnection, database: Database, member: Member) -> None:
    await owner.execute("SELECT register_embedding_model('model', 3)")
    async with database.transaction(member) as connection:
        for statement in ROWS.values():
            await connection.execute(statement)
        size = await connection.fetchval("SELECT size FROM lock_ledger()")
        await connection.execute("SELECT number_pending_entries(10, '0')")
        await connection.execute(
            "SELECT advance_ledger($1, 1, sha256('leaf'), '{1}', '{0}', ARRAY[sha256('tile')], 1, 'checkpoint')",
            size,
        )
        await connection.execute(ROWS["ledger_pending"])
