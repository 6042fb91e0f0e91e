"""docs/erasure.md names every column that can hold content, and says how it goes."""

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import pytest

from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection

PAGE = Path(__file__).parents[2] / "docs" / "erasure.md"
_ROW = re.compile(r"^\| `(?P<table>\w+)\.(?P<column>\w+)` \|", re.MULTILINE)
_COLUMNS = """
SELECT c.relname || '.' || a.attname AS name
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_type AS d ON d.oid = a.atttypid
JOIN pg_type AS t ON t.oid = coalesce(nullif(d.typbasetype, 0), d.oid)
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
  AND c.relname NOT LIKE 'pgqueuer%'
  AND (
      t.typname IN ('text', 'varchar', 'bpchar', 'jsonb', 'json', 'bytea', 'tsvector', 'vector', 'halfvec', 'sparsevec')
      OR t.typcategory = 'A'
  )
"""


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    connection = await asyncpg.connect(database_urls.migration)
    try:
        yield connection
    finally:
        await connection.close()


async def list_columns(connection: AnyConnection) -> set[str]:
    return {row["name"] for row in await connection.fetch(_COLUMNS)}


def listed() -> list[str]:
    return [f"{row['table']}.{row['column']}" for row in _ROW.finditer(PAGE.read_text())]


async def test_every_column_that_can_hold_content_is_listed_once(owner: AnyConnection) -> None:
    names = listed()
    assert len(names) == len(set(names))
    assert set(names) == await list_columns(owner)


async def test_a_new_column_is_noticed(owner: AnyConnection) -> None:
    await owner.execute("ALTER TABLE documents ADD COLUMN summary text")
    assert await list_columns(owner) - set(listed()) == {"documents.summary"}
