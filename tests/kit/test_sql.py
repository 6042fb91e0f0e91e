"""Named statements: how a file is split, and that each is run as it was declared."""

from collections.abc import AsyncGenerator

import asyncpg
import pytest

from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import (
    AnyConnection,
    Cardinality,
    NoRowError,
    Queries,
    Statement,
    load_queries,
    parse_statements,
)

_FILE = """
-- What this file is about.

-- name: get_user :one
-- Why it is written so.
SELECT id FROM users
WHERE id = $1;

-- name: delete_user :exec
DELETE FROM users WHERE id = $1;
"""


def test_a_file_is_split_at_its_headers() -> None:
    first, second = parse_statements(_FILE, "test")
    assert first == Statement(
        "get_user",
        Cardinality.ONE,
        "-- Why it is written so.\nSELECT id FROM users\nWHERE id = $1",
    )
    assert second == Statement("delete_user", Cardinality.EXEC, "DELETE FROM users WHERE id = $1")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT 1;\n-- name: late :one\nSELECT 2;", "test: SQL before the first"),
        ("SELECT 1;", "test: no '-- name:' line"),
        ("-- name: get_user :some\nSELECT 1;", "some"),
    ],
)
def test_a_malformed_file_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_statements(text, "test")


def test_two_statements_of_one_name_are_refused() -> None:
    statement = Statement("twice", Cardinality.ONE, "SELECT 1")
    with pytest.raises(ValueError, match="share a name"):
        Queries("test", [statement, statement])


def test_a_packages_queries_are_found_by_name() -> None:
    queries = load_queries("undercroft.kit")
    assert queries["set_scope"].cardinality is Cardinality.VALUE
    assert len(queries) == len(list(queries))
    with pytest.raises(KeyError):
        queries["no_such_statement"]


_QUERIES = Queries(
    "test",
    parse_statements(
        """
-- name: get_number :one
SELECT n FROM generate_series(1, 3) AS n WHERE n = $1;
-- name: find_number :maybe
SELECT n FROM generate_series(1, 3) AS n WHERE n = $1;
-- name: list_numbers :many
SELECT n FROM generate_series(1, 3) AS n WHERE n >= $1 ORDER BY n;
-- name: count_numbers :value
SELECT count(*) FROM generate_series(1, 3) AS n WHERE n >= $1;
-- name: create_numbers :exec
CREATE TEMPORARY TABLE numbers AS SELECT n FROM generate_series(1, 3) AS n;
-- name: delete_numbers :exec
DELETE FROM numbers WHERE n >= $1;
-- name: nothing :exec
DO $$ BEGIN END $$;
""",
        "test",
    ),
)


@pytest.fixture
async def connection(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    connection = await asyncpg.connect(database_urls.migration)
    try:
        yield connection
    finally:
        await connection.close()


async def test_one_answers_its_row_or_raises(connection: AnyConnection) -> None:
    assert (await _QUERIES.one(connection, "get_number", 2))["n"] == 2
    with pytest.raises(NoRowError, match="get_number"):
        await _QUERIES.one(connection, "get_number", 9)


async def test_maybe_answers_a_row_or_none(connection: AnyConnection) -> None:
    row = await _QUERIES.maybe(connection, "find_number", 2)
    assert row is not None
    assert row["n"] == 2
    assert await _QUERIES.maybe(connection, "find_number", 9) is None


async def test_many_answers_every_row(connection: AnyConnection) -> None:
    rows = await _QUERIES.many(connection, "list_numbers", 2)
    assert [row["n"] for row in rows] == [2, 3]
    assert await _QUERIES.many(connection, "list_numbers", 9) == []


async def test_value_answers_the_first_column(connection: AnyConnection) -> None:
    assert await _QUERIES.value(connection, "count_numbers", 2) == 2


async def test_execute_counts_the_rows_it_touched(connection: AnyConnection) -> None:
    assert await _QUERIES.execute(connection, "create_numbers") == 3
    assert await _QUERIES.execute(connection, "delete_numbers", 2) == 2
    assert await _QUERIES.execute(connection, "delete_numbers", 2) == 0
    assert await _QUERIES.execute(connection, "nothing") == 0


async def test_a_statement_runs_only_as_it_was_declared(connection: AnyConnection) -> None:
    with pytest.raises(ValueError, match="test: get_number is :one, not :many"):
        await _QUERIES.many(connection, "get_number", 2)
    with pytest.raises(ValueError, match="test: list_numbers is :many, not :one"):
        await _QUERIES.one(connection, "list_numbers", 2)
