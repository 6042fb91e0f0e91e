"""Migrations of a database that holds something, as its owner, who is held to the policies of its tables."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import asyncpg
import pytest

from tests.architecture.rows import ROWS
from tests.conftest import Member, scope_maker
from tests.database_server import fresh_database
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.migrations import (
    grant_service_role,
    load_migrations,
    migrate,
    migrations_folder,
)
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection

_KNOWN = load_migrations(migrations_folder())
_BEFORE = 56
_FILLED = (
    "tenant_keys",
    "data_keys",
    "blobs",
    "documents",
    "document_versions",
    "chunks",
)
_ENDED = """
    INSERT INTO metered_requests (
        id, tenant_id, user_id, model, reserved_tokens, held_subjects, held_periods, held_since, settled_at
    )
    SELECT u.id, u.tenant_id, u.id, 'extractive', 1, '{}', '{}', '{}', now() FROM users AS u
"""
_RUNNING = ROWS["metered_requests"].replace(
    "u.id, u.tenant_id, u.id", "u.tenant_id, u.tenant_id, u.id"
)


@dataclass(frozen=True)
class Old:
    """A database as it was before, with something of one tenant's in it."""

    urls: DatabaseUrls
    owner: AnyConnection
    database: Database
    ann: Member


@pytest.fixture
async def old(database_server: DatabaseUrls) -> AsyncGenerator[Old]:
    async with fresh_database(database_server, is_migrated=False) as urls:
        await migrate(urls.migration, _KNOWN[:_BEFORE])
        await grant_service_role(urls.migration, "undercroft_service")
        owner = await asyncpg.connect(urls.migration)
        try:
            async with Database(urls.service, clock=SystemClock(), size=2) as database:
                ann = await scope_maker(database)()
                async with database.transaction(ann) as transaction:
                    for table in _FILLED:
                        await transaction.execute(ROWS[table])
                    await transaction.execute(_ENDED)
                    await transaction.execute(_RUNNING)
                yield Old(urls, owner, database, ann)
        finally:
            await owner.close()


async def _file_of_chunks(owner: AnyConnection) -> int:
    return int(await owner.fetchval("SELECT pg_relation_filenode('chunks')"))


async def test_what_was_there_is_as_if_it_had_come_after(old: Old) -> None:
    files = await _file_of_chunks(old.owner)
    await migrate(old.urls.migration, _KNOWN)
    async with old.database.transaction(old.ann) as transaction:
        assert await transaction.fetchval(
            "SELECT d.current_blob_id = v.blob_id FROM documents AS d"
            " JOIN document_versions AS v ON d.id = v.document_id"
        )
        ended = "SELECT id, ended_at = settled_at FROM metered_requests ORDER BY settled_at"
        assert [tuple(row) for row in await transaction.fetch(ended)] == [
            (old.ann.principal_id, True),
            (old.ann.tenant_id, None),
        ]
        corpus = await transaction.fetchrow("SELECT languages, formula FROM corpus_statistics")
        assert corpus is not None
        assert tuple(corpus) == (["english"], 1)
        assert await transaction.fetchval("SELECT dictionary FROM chunks") == "english"
    # The largest table is not written anew while nobody may read it.
    assert await _file_of_chunks(old.owner) == files


async def test_a_process_of_before_ends_what_it_makes(old: Old) -> None:
    """With the statement that it has: whoever watches its answer sees the end of it."""
    await migrate(old.urls.migration, _KNOWN)
    for is_first in (True, False):
        async with old.database.transaction(old.ann) as transaction:
            assert is_first == await transaction.fetchval(
                "SELECT settle_usage($1, 3, 2, 1, false)", old.ann.tenant_id
            )
    async with old.database.transaction_without_scope() as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM list_owed_requests(10)") == 0
        assert await transaction.fetchval("SELECT add_up_usage(10)") == 2
