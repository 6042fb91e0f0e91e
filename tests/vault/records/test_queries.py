"""No statement on records reads a table from end to end, over 20,000 records of several tenants and owners."""

from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.rows import insert_key
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.vault.records.access import FIND
from undercroft.vault.records.models import Wanted
from undercroft.vault.records.repository import RecordRepository

REPOSITORY = RecordRepository()
TABLES = ("schemas", "records", "record_versions", "record_parts", "record_digests")

_SEED = """
WITH made AS (
    INSERT INTO records (id, tenant_id, owner_id, schema_id, schema_version, data_key_id, plain)
    SELECT
        gen_random_uuid(), current_tenant(), current_principal(), $1::uuid, 1, $2::uuid,
        jsonb_build_object($1::uuid, jsonb_build_object('/city', 'city ' || n % 200))
    FROM generate_series(1, 5000) AS n
    RETURNING id
), versions AS (
    INSERT INTO record_versions (tenant_id, record_id, number, schema_id, schema_version, author_id)
    SELECT current_tenant(), id, 1, $1, 1, current_principal() FROM made
), parts AS (
    INSERT INTO record_parts (tenant_id, record_id, version, number, data_key_id, sealed)
    SELECT current_tenant(), id, 1, 0, $2, '' FROM made
)
INSERT INTO record_digests (tenant_id, record_id, digest)
SELECT current_tenant(), id, sha256(uuid_send(id)) FROM made
"""


async def seed(database: Database, scope: Member) -> UUID:
    """A schema of the principal's with 5,000 records."""
    schema_id = IdSource().new()
    async with database.transaction(scope) as transaction:
        key_id = await insert_key(transaction, scope)
        await transaction.execute(
            "INSERT INTO schemas (id, tenant_id, owner_id, data_key_id, sealed_name)"
            " VALUES ($1, current_tenant(), current_principal(), $2, '')",
            schema_id,
            key_id,
        )
        await transaction.execute(
            "INSERT INTO schema_versions (tenant_id, schema_id, number, sealed_definition)"
            " VALUES (current_tenant(), $1, 1, '')",
            schema_id,
        )
        await transaction.execute(_SEED, schema_id, key_id)
    return schema_id


async def scans(database: Database) -> dict[str, int]:
    """How often each table was read from end to end, and each index was looked into."""
    async with database.transaction_without_scope() as transaction:
        rows = await transaction.fetch(
            "SELECT relname AS name, seq_scan AS scans FROM pg_stat_user_tables"
            " UNION ALL SELECT indexrelname, idx_scan FROM pg_stat_user_indexes"
        )
    return {row["name"]: row["scans"] for row in rows}


@pytest.fixture
async def seeded(
    database: Database, database_urls: DatabaseUrls, make_scope: MakeScope
) -> tuple[Member, UUID]:
    ann = await make_scope()
    schema_id = await seed(database, ann)
    for other in (await make_scope(ann.tenant_id), await make_scope(), await make_scope()):
        await seed(database, other)
    owner = await asyncpg.connect(database_urls.migration)
    try:
        await owner.execute("ANALYZE")
    finally:
        await owner.close()
    return ann, schema_id


async def test_reading_goes_through_no_other_record_where_there_are_no_statistics(
    database: Database, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await seed(database, ann)
    async with database.transaction(ann) as transaction:
        ids = await REPOSITORY.list_all_record_ids(transaction, None, 16)
        await transaction.execute("SELECT pg_stat_force_next_flush()")
    before = await scans(database)
    async with database.transaction(ann) as transaction:
        assert len(await REPOSITORY.list_parts(transaction, [Wanted(key) for key in ids])) == 16
        await transaction.execute("SELECT pg_stat_force_next_flush()")
    after = await scans(database)
    read = {name for name in after if after[name] > before[name]}
    assert {name for name in read if name.startswith("records")} == {"records_pkey"}


async def test_reading_and_searching_use_indexes(
    seeded: tuple[Member, UUID], database: Database
) -> None:
    ann, schema_id = seeded
    before = await scans(database)
    async with database.transaction(ann) as transaction:
        by_city = await REPOSITORY.search_record_ids(
            transaction, schema_id, {"/city": "city 7"}, [], ["/city"], None, 100
        )
        assert len(by_city) == 25
        digest = await transaction.fetchval(
            "SELECT digest FROM record_digests WHERE record_id = $1", by_city[3]
        )
        both = await REPOSITORY.search_record_ids(
            transaction, schema_id, {"/city": "city 7"}, [digest], ["/city"], None, 100
        )
        assert both == [by_city[3]]
        assert len(await REPOSITORY.find_by_words(transaction, "city 7", schema_id, 100)) == 25
        ids = await REPOSITORY.list_record_ids(transaction, schema_id, None, 20)
        assert len(await REPOSITORY.list_all_record_ids(transaction, ids[-1], 20)) == 20
        assert len(await REPOSITORY.list_to_migrate(transaction, schema_id, 2, ids[-1], 20)) == 20
        assert len(await REPOSITORY.list_parts(transaction, [Wanted(ids[0])])) == 1
        assert len(await REPOSITORY.list_parts(transaction, [Wanted(key) for key in ids])) == 20
        assert len(await REPOSITORY.list_sizes(transaction, ids)) == 20
        assert len(await REPOSITORY.list_versions(transaction, ids[0], 0, 20)) == 1
        assert await REPOSITORY.find_record_owner(transaction, ids[0]) is not None
        assert await REPOSITORY.lock_record(transaction, ids[0]) is not None
        await REPOSITORY.delete_digests(transaction, ids[0])
        await transaction.execute("SELECT pg_stat_force_next_flush()")
    after = await scans(database)
    read = {name: after[name] - before[name] for name in after}
    assert [table for table in TABLES if read[table]] == []
    assert (read["records_by_plain_field"], read["records_by_word"]) == (1, 1)
    assert read["record_digests_by_digest"] >= 1


async def test_finding_and_reading_what_is_shared_use_indexes(
    seeded: tuple[Member, UUID],
    database: Database,
    database_urls: DatabaseUrls,
    make_scope: MakeScope,
) -> None:
    """With 5,000 grants for the reader, of one owner's records."""
    ann, schema_id = seeded
    bob = await make_scope(ann.tenant_id)
    async with database.transaction(ann) as transaction:
        await transaction.execute(
            "INSERT INTO grants (id, tenant_id, record_id, grantor_id, user_id, actions)"
            " SELECT gen_random_uuid(), r.tenant_id, r.id, r.owner_id, $1, '{search,read}'"
            " FROM records AS r WHERE r.owner_id = current_principal()",
            bob.principal_id,
        )
    owner = await asyncpg.connect(database_urls.migration)
    try:
        await owner.execute("ANALYZE grants")
    finally:
        await owner.close()
    before = await scans(database)
    async with database.transaction(bob) as transaction:
        ids = await REPOSITORY.list_all_record_ids(transaction, None, 20)
        assert await REPOSITORY.list_record_ids(transaction, schema_id, ids[9], 10) == ids[10:]
        found = await REPOSITORY.search_record_ids(
            transaction, schema_id, {"/city": "city 7"}, [], ["/city"], None, 100
        )
        assert len(found) == 25
        wanted = [Wanted(key) for key in ids]
        assert len(await REPOSITORY.list_parts(transaction, wanted, FIND)) == 20
        assert len(await REPOSITORY.list_sizes(transaction, ids)) == 20
        assert len(await REPOSITORY.list_versions(transaction, ids[0], 0, 20)) == 1
        assert await REPOSITORY.may_read(transaction, ids[0])
        assert await REPOSITORY.list_refused(transaction, ids, None) == set(ids)
        await transaction.execute("SELECT pg_stat_force_next_flush()")
    after = await scans(database)
    for name in (*TABLES, "grants"):
        assert after[name] == before[name], f"{name} was read from end to end"
