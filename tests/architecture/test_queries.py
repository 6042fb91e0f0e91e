"""Every named statement is accepted by the migrated schema, names its columns, and is used under its name."""

import ast
import re
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg
import pytest

from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection, Cardinality, Statement, parse_statements

# Each with its package, for example "retrieval/search".
Statements: TypeAlias = Iterable[tuple[str, Statement]]
Calls: TypeAlias = set[tuple[str, str, Cardinality]]

SOURCE: Final = Path(str(resources.files("undercroft")))
# Run by the embedded server's superuser before there is a schema.
BOOTSTRAP: Final = "kit/postgres"
# Run by the owner, for `migrate`, `restore`, `fsck --repair` and the workers that rebuild indexes.
OWNERS: Final = {
    ("kit", "grant_service_role"),
    ("kit", "insert_applied_migration"),
    ("kit", "register_embedding_model"),
    ("kit", "adopt_embedding_model"),
    ("kit", "want_outside_index"),
    ("retrieval/spaces", "find_rebuild"),
    ("retrieval/spaces", "claim_rebuild"),
    ("retrieval/spaces", "report_rebuild"),
    ("retrieval/spaces", "end_rebuild"),
    ("retrieval/spaces", "release_rebuild"),
    ("operations/backups", "renumber_pending_entries"),
    ("operations/repairs", "lock_corpus"),
    ("operations/repairs", "delete_terms"),
    ("operations/repairs", "insert_terms"),
    ("operations/repairs", "lock_log"),
    ("operations/repairs", "delete_tiles"),
    ("operations/repairs", "insert_tiles"),
    ("operations/backups", "count_user_usage"),
    ("operations/backups", "count_tenant_usage"),
}
_METHODS: Final = {
    "one": Cardinality.ONE,
    "maybe": Cardinality.MAYBE,
    "many": Cardinality.MANY,
    "value": Cardinality.VALUE,
    "execute": Cardinality.EXEC,
}
_STAR: Final = re.compile(r"(?<!count\()(?:\bSELECT|\bRETURNING|,|\.)\s*\*", re.IGNORECASE)


def _statements() -> Iterator[tuple[str, Statement]]:
    for path in sorted(SOURCE.rglob("queries.sql")):
        package = path.parent.relative_to(SOURCE).as_posix()
        for statement in parse_statements(path.read_text(encoding="utf-8"), package):
            yield package, statement


STATEMENTS: Final = list(_statements())


async def find_refused(connection: AnyConnection, statements: Statements) -> list[str]:
    """The statements that PostgreSQL would not run for this login, with its reason.

    A generic plan needs no arguments, resolves every table, column, type and function, and checks rights as a run does.
    """
    refused: list[str] = []
    for package, statement in statements:
        try:
            await connection.execute(f"EXPLAIN (GENERIC_PLAN) {statement.sql}")
        except asyncpg.PostgresError as error:
            refused.append(f"{package}: {statement.name}: {error}")
    return refused


def find_stars(statements: Statements) -> list[str]:
    """The statements whose columns depend on the table's."""
    return [
        f"{package}: {statement.name}"
        for package, statement in statements
        if _STAR.search(re.sub(r"--.*", "", statement.sql))
    ]


def find_calls(package: str, source: str) -> Calls:
    """Package, name and cardinality of each ``_QUERIES.one(connection, "name", ...)`` of a Python source."""
    calls: Calls = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(attr=method), args=[_, ast.Constant(value=str(name)), *_]
            ) if method in _METHODS:
                calls.add((package, name, _METHODS[method]))
            case _:
                pass
    return calls


def find_unused(statements: Statements, calls: Calls) -> list[str]:
    """The statements that nothing in their package runs by name with their cardinality."""
    return [
        f"{package}: {statement.name} :{statement.cardinality}"
        for package, statement in statements
        if (package, statement.name, statement.cardinality) not in calls
    ]


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[AnyConnection]:
    """A connection to a login's database."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def service(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    """A plain connection with the service's login."""
    async with connected(database_urls.service) as connection:
        yield connection


async def test_the_service_may_run_every_statement(service: AnyConnection) -> None:
    its_own = [
        (package, statement)
        for package, statement in STATEMENTS
        if package != BOOTSTRAP and (package, statement.name) not in OWNERS
    ]
    assert await find_refused(service, its_own) == []


async def test_the_owner_may_run_its_statements(
    database_urls: DatabaseUrls, service: AnyConnection
) -> None:
    statements = [
        (package, statement)
        for package, statement in STATEMENTS
        if (package, statement.name) in OWNERS
    ]
    assert len(statements) == len(OWNERS)
    async with connected(database_urls.migration) as owner:
        assert await find_refused(owner, statements) == []
    assert len(await find_refused(service, statements)) == len(OWNERS)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT nothing FROM users WHERE id = $1", 'column "nothing" does not exist'),
        ("SELECT id FROM nothing", 'relation "nothing" does not exist'),
        ("SELECT id FROM users WHERE id = $1::int", "operator does not exist"),
        ("DELETE FROM schema_migrations", "permission denied"),
        ("SELECT register_embedding_model($1, $2)", "permission denied"),
    ],
)
async def test_a_wrong_statement_is_refused(service: AnyConnection, sql: str, reason: str) -> None:
    (refused,) = await find_refused(service, [_statement(sql)])
    assert reason in refused


def test_every_statement_names_its_columns() -> None:
    assert find_stars(STATEMENTS) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM users",
        "SELECT u.* FROM users AS u",
        "SELECT id, * FROM users",
        "DELETE FROM users RETURNING *",
    ],
)
def test_a_star_is_found(sql: str) -> None:
    assert find_stars([_statement(sql)]) == ["test: tried"]


def test_counting_and_multiplying_are_no_stars() -> None:
    assert (
        find_stars([_statement("SELECT count(*), 2 * age, age * 2 FROM users -- SELECT *")]) == []
    )


def test_every_statement_is_run_by_its_name() -> None:
    calls: Calls = set()
    for path in SOURCE.rglob("*.py"):
        package = path.parent.relative_to(SOURCE).as_posix()
        calls |= find_calls(package, path.read_text(encoding="utf-8"))
    assert find_unused(STATEMENTS, calls) == []


@pytest.mark.parametrize(
    "call",
    [
        '_QUERIES.many(connection, "other")',
        '_QUERIES.one(connection, "tried")',
        "_QUERIES.many(connection, name)",
    ],
)
def test_a_statement_that_nothing_runs_is_found(call: str) -> None:
    assert find_unused([_statement("SELECT 1")], find_calls("test", call)) == ["test: tried :many"]
    used = find_calls("test", f'{call}; _QUERIES.many(connection, "tried", 1)')
    assert find_unused([_statement("SELECT 1")], used) == []


def _statement(sql: str) -> tuple[str, Statement]:
    return "test", Statement("tried", Cardinality.MANY, sql)
