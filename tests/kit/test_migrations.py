"""Migrations: their order, their history, and two programs that migrate at once or one that is stopped within."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import asyncpg
import pytest

from tests.database_server import fresh_database
from tests.stepping import PATIENCE
from undercroft.kit import migrations
from undercroft.kit.database import Database
from undercroft.kit.migrations import (
    Migration,
    MigrationError,
    describe_pending,
    grant_service_role,
    load_migrations,
    migrate,
    migrations_folder,
    register_model,
)
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.sql import AnyConnection

_KNOWN = load_migrations(migrations_folder())


def _with(*statements: str) -> list[Migration]:
    """The program's migrations and further ones."""
    added = [
        Migration(len(_KNOWN) + number, f"added_{number}", sql)
        for number, sql in enumerate(statements, start=1)
    ]
    return [*_KNOWN, *added]


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[AnyConnection]:
    connection = await asyncpg.connect(database_urls.migration)
    try:
        yield connection
    finally:
        await connection.close()


async def _tables(connection: AnyConnection) -> set[str]:
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {str(row["tablename"]) for row in rows}


def test_the_programs_migrations_load() -> None:
    assert _KNOWN[0].name == "foundation"
    assert [migration.version for migration in _KNOWN] == list(range(1, len(_KNOWN) + 1))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["0001_a.sql", "0003_c.sql"], "without a gap"),
        (["0002_b.sql"], "without a gap"),
        (["0001_a.sql", "0001_b.sql"], "without a gap"),
        (["1_a.sql"], "1_a.sql is not named NNNN_name.sql"),
        (["0001_A.sql"], "0001_A.sql is not named"),
    ],
)
def test_a_wrong_folder_is_refused(tmp_path: Path, names: Sequence[str], problem: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;", encoding="utf-8")
    with pytest.raises(MigrationError, match=problem):
        load_migrations(tmp_path)


async def test_a_database_of_any_version_migrates_to_the_next(
    database_server: DatabaseUrls,
) -> None:
    """Each on a connection of its own: what a migration before it has loaded or set there is not to be relied on."""
    async with fresh_database(database_server, is_migrated=False) as urls:
        for migration in _KNOWN:
            assert await migrate(urls.migration, _KNOWN[: migration.version]) == [migration]


async def test_what_was_applied_is_not_applied_again(database_urls: DatabaseUrls) -> None:
    assert await migrate(database_urls.migration, _KNOWN) == []
    known = _with("CREATE TABLE first ()", "CREATE TABLE second ()")
    assert await migrate(database_urls.migration, known) == known[-2:]
    assert await migrate(database_urls.migration, known) == []


async def test_two_at_once_apply_each_migration_once(
    database_urls: DatabaseUrls, owner: AnyConnection
) -> None:
    known = _with("CREATE TABLE first ()", "CREATE TABLE second ()")
    async with asyncio.timeout(60):
        applied = await asyncio.gather(*(migrate(database_urls.migration, known) for _ in range(4)))
    assert sorted(migration.version for run in applied for migration in run) == [
        migration.version for migration in known[-2:]
    ]
    assert {"first", "second"} <= await _tables(owner)


async def test_a_migration_that_fails_leaves_what_came_before_it(
    database_urls: DatabaseUrls, owner: AnyConnection
) -> None:
    broken = _with("CREATE TABLE first ()", "CREATE TABLE second (); SELECT 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(database_urls.migration, broken)
    assert "first" in await _tables(owner)
    assert "second" not in await _tables(owner)
    mended = _with("CREATE TABLE first ()", "CREATE TABLE second ()")
    assert await migrate(database_urls.migration, mended) == mended[-1:]


async def test_a_migration_gives_up_on_a_lock_rather_than_queue_the_service_behind_it(
    database_urls: DatabaseUrls, owner: AnyConnection
) -> None:
    async with owner.transaction():
        await owner.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="a long transaction holds"):
            await migrate(database_urls.migration, _with("ALTER TABLE users ADD COLUMN age int"))


async def test_an_edited_migration_is_refused(database_urls: DatabaseUrls) -> None:
    first, *others = _KNOWN
    edited = [Migration(first.version, first.name, first.sql + "\n"), *others]
    with pytest.raises(MigrationError, match="Migration 1 was edited after it was applied"):
        await migrate(database_urls.migration, edited)


async def test_a_database_of_a_newer_program_is_refused(database_urls: DatabaseUrls) -> None:
    with pytest.raises(MigrationError, match=f"has migration {len(_KNOWN)}, which this program"):
        await migrate(database_urls.migration, _KNOWN[:-1])


async def test_a_migrated_database_has_nothing_pending(database: Database) -> None:
    assert await describe_pending(database) is None


async def test_a_database_that_lacks_migrations_says_what_to_do(
    database: Database, owner: AnyConnection
) -> None:
    await owner.execute("DELETE FROM schema_migrations WHERE version > 1")
    assert await describe_pending(database) == (
        f"the database is at migration 1 of {len(_KNOWN)}; run `undercroft migrate`"
    )


async def test_an_empty_database_says_what_to_do(database: Database, owner: AnyConnection) -> None:
    await owner.execute("DROP TABLE schema_migrations")
    assert await describe_pending(database) == ("the database is empty; run `undercroft migrate`")


async def test_a_login_that_was_not_let_in_yet_says_what_to_do(
    database: Database, owner: AnyConnection
) -> None:
    await owner.execute("REVOKE SELECT ON schema_migrations FROM undercroft_app")
    assert await describe_pending(database) == (
        "the service's login has no rights yet; run `undercroft migrate`"
    )


async def test_granting_the_service_role_twice_is_harmless(database_urls: DatabaseUrls) -> None:
    for _ in range(2):
        await grant_service_role(database_urls.migration, "undercroft_service")


async def test_a_login_that_does_not_exist_is_named(database_urls: DatabaseUrls) -> None:
    with pytest.raises(MigrationError, match="no login 'nobody; --'"):
        await grant_service_role(database_urls.migration, "nobody; --")


async def test_a_model_gets_its_index_once(
    database_urls: DatabaseUrls, owner: AnyConnection
) -> None:
    for _ in range(2):
        await register_model(database_urls.migration, "model", 3)
    indexes = await owner.fetch(
        "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'chunk_embeddings_hnsw_%'"
    )
    assert len(indexes) == 1
    with pytest.raises(MigrationError, match="has 3 dimensions, not 4"):
        await register_model(database_urls.migration, "model", 4)


async def test_a_model_that_has_its_index_waits_for_nobody_who_builds_one_anew(
    database_urls: DatabaseUrls, owner: AnyConnection
) -> None:
    """A worker does that by itself, for hours: a service that starts must not wait for it, nor stop who writes."""
    await register_model(database_urls.migration, "model", 3)
    async with owner.transaction():
        # What REINDEX CONCURRENTLY holds.
        await owner.execute("LOCK TABLE chunk_embeddings IN SHARE UPDATE EXCLUSIVE MODE")
        async with asyncio.timeout(PATIENCE):
            await register_model(database_urls.migration, "model", 3)


async def test_a_new_model_stands_in_nobodys_way_while_another_ones_index_is_built_anew(
    database_urls: DatabaseUrls, owner: AnyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_LOCK_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(migrations, "_LOCK_ATTEMPTS", 2)
    async with owner.transaction():
        await owner.execute("LOCK TABLE chunk_embeddings IN SHARE UPDATE EXCLUSIVE MODE")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(MigrationError, match="no index for 'model' yet"):
                await register_model(database_urls.migration, "model", 3)
    await register_model(database_urls.migration, "model", 3)


async def test_a_request_that_locks_in_another_order_goes_on_and_so_does_the_migration(
    database_urls: DatabaseUrls, owner: AnyConnection
) -> None:
    """As a delete does, of passages and then of their vectors, while triggers are put on both."""
    added = _with(
        "LOCK TABLE chunk_embeddings IN SHARE ROW EXCLUSIVE MODE;"
        " LOCK TABLE chunks IN SHARE ROW EXCLUSIVE MODE; CREATE TABLE made (n int)"
    )
    request = await asyncpg.connect(database_urls.migration)
    try:
        await request.execute("BEGIN; LOCK TABLE chunks IN ROW EXCLUSIVE MODE")
        migrating = asyncio.create_task(migrate(database_urls.migration, added))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'chunks'::regclass AND NOT granted)"
        async with asyncio.timeout(30):
            while not await owner.fetchval(waits):
                pass
        # Each has now what the other one wants.
        await request.execute("LOCK TABLE chunk_embeddings IN ROW EXCLUSIVE MODE")
        await request.execute("COMMIT")
    finally:
        await request.close()
    assert [migration.name for migration in await migrating] == ["added_1"]
    assert "made" in await _tables(owner)
