"""Whoever can write the database can destroy what a record says, and cannot make it say something else."""

from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.owner import past_policies
from tests.records import ANN, ANY, PERSON, Cabinet, changed
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.errors import UndercroftError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.vault.records.models import Condition, DamagedRecord, Record
from undercroft.vault.schemas.models import DamagedSchema, Schema

SWAPS = {
    "two fields of a version": """
        UPDATE record_parts AS p SET sealed = o.sealed FROM record_parts AS o
        WHERE p.record_id = $1 AND o.record_id = $1 AND p.version = 2 AND o.version = 2
          AND p.number IN (1, 2) AND o.number = 3 - p.number AND $2::uuid IS NOT NULL
    """,
    "two fields of a version, with their keys": """
        UPDATE record_parts AS p SET sealed = o.sealed, data_key_id = o.data_key_id FROM record_parts AS o
        WHERE p.record_id = $1 AND o.record_id = $1 AND p.version = 2 AND o.version = 2
          AND p.number IN (1, 2) AND o.number = 3 - p.number AND $2::uuid IS NOT NULL
    """,
    "a field of an older version": """
        UPDATE record_parts AS p SET sealed = o.sealed FROM record_parts AS o
        WHERE p.record_id = $1 AND o.record_id = $1 AND p.version = 2 AND o.version = 1
          AND p.number = 1 AND o.number = 1 AND $2::uuid IS NOT NULL
    """,
    "all but the fields of an older version": """
        UPDATE record_parts AS p SET sealed = o.sealed FROM record_parts AS o
        WHERE p.record_id = $1 AND o.record_id = $1 AND p.version = 2 AND o.version = 1
          AND p.number = 0 AND o.number = 0 AND $2::uuid IS NOT NULL
    """,
    "a field of another record, with its key": """
        UPDATE record_parts AS p SET sealed = o.sealed, data_key_id = o.data_key_id FROM record_parts AS o
        WHERE p.record_id = $1 AND o.record_id = $2 AND p.version = 2 AND o.version = 2
          AND p.number = 1 AND o.number = 1
    """,
    "all parts of another record, with their keys": """
        UPDATE record_parts AS p SET sealed = o.sealed, data_key_id = o.data_key_id FROM record_parts AS o
        WHERE p.record_id = $1 AND o.record_id = $2 AND p.version = o.version AND p.number = o.number
    """,
    "the wrapped keys of two fields": """
        UPDATE data_keys AS k SET wrapped_key = o.wrapped_key
        FROM data_keys AS o, record_parts AS p, record_parts AS q
        WHERE p.record_id = $1 AND q.record_id = $1 AND p.version = 2 AND q.version = 2 AND p.number = 1
          AND q.number = 2 AND k.id IN (p.data_key_id, q.data_key_id) AND o.id IN (p.data_key_id, q.data_key_id)
          AND o.id <> k.id AND $2::uuid IS NOT NULL
    """,
    "a field left out": """
        DELETE FROM record_parts WHERE record_id = $1 AND version = 2 AND number = 2 AND $2::uuid IS NOT NULL
    """,
    "a byte": """
        UPDATE record_parts SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1)
        WHERE record_id = $1 AND version = 2 AND number = 0 AND $2::uuid IS NOT NULL
    """,
    "a part cut short": """
        UPDATE record_parts SET sealed = substr(sealed, 1, 20)
        WHERE record_id = $1 AND version = 2 AND number = 1 AND $2::uuid IS NOT NULL
    """,
}


async def tamper(urls: DatabaseUrls, statement: str, record_id: UUID, other_id: UUID) -> None:
    """As the owner of the tables, whom no policy holds once it says so."""
    async with past_policies(urls, "records", "record_parts", "data_keys") as owner:
        await owner.execute("ALTER TABLE record_parts DISABLE TRIGGER USER")
        tag = await owner.execute(statement, record_id, other_id)
        assert not tag.endswith(" 0"), "nothing was altered"


async def two_records(cabinet: Cabinet, ann: Member) -> tuple[UUID, UUID]:
    """With two versions each."""
    first = await cabinet.ann(ann)
    second = await cabinet.records.create(ann, first.schema_id, ANN)
    for record in (first, second):
        await cabinet.records.update(ann, record.id, ANY, changed(age=41))
    return first.id, second.id


@pytest.mark.parametrize("what", SWAPS)
async def test_what_was_moved_or_altered_does_not_open(
    cabinet: Cabinet, make_scope: MakeScope, database_urls: DatabaseUrls, what: str
) -> None:
    ann = await make_scope()
    first, second = await two_records(cabinet, ann)
    await tamper(database_urls, SWAPS[what], first, second)
    with pytest.raises(DecryptionError) as refused:
        await cabinet.records.get(ann, first)
    assert refused.value.code == "content_damaged"
    with pytest.raises(DecryptionError):
        await cabinet.records.update(ann, first, ANY, changed(age=42))
    assert (await cabinet.records.get(ann, second)).data == {**ANN, "age": 41}


LOSSES = {
    **SWAPS,
    "all its parts": "DELETE FROM record_parts WHERE record_id = $1 AND $2::uuid IS NOT NULL",
    "the part that names the others": """
        DELETE FROM record_parts WHERE record_id = $1 AND number = 0 AND $2::uuid IS NOT NULL
    """,
}


@pytest.mark.parametrize("what", LOSSES)
async def test_a_damaged_record_hides_no_other_and_can_be_deleted(
    cabinet: Cabinet, make_scope: MakeScope, database_urls: DatabaseUrls, what: str
) -> None:
    ann = await make_scope()
    first, second = await two_records(cabinet, ann)
    await tamper(database_urls, LOSSES[what], first, second)
    damaged, other = (await cabinet.records.list_records(ann, None, None, 10)).records
    assert isinstance(damaged, DamagedRecord)
    assert (damaged.id, damaged.version) == (first, 2)
    assert isinstance(other, Record)
    assert other.data == {**ANN, "age": 41}
    city = [Condition("/city", "Ulm")]
    found = (await cabinet.records.search(ann, other.schema_id, city, None, 10)).records
    assert [(record.id, type(record)) for record in found] == [
        (first, DamagedRecord),
        (second, Record),
    ]
    # Nobody has read the damaged one.
    assert [action for action, _ in await cabinet.actions(ann)].count("record.read") == 2
    tried = await cabinet.migrations.try_out(
        ann, (await cabinet.schemas.add_version(ann, other.schema_id, PERSON)).id, None, []
    )
    assert [failure.record_id for failure in tried.failures] == [first]
    await cabinet.records.delete(ann, first, ANY)
    page = await cabinet.records.list_records(ann, None, None, 10)
    assert [record.id for record in page.records] == [second]


async def test_a_damaged_schema_hides_no_other_and_not_its_records(
    cabinet: Cabinet, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    whole = await cabinet.person_schema(ann)
    async with past_policies(database_urls, "schema_versions") as owner:
        await owner.execute(
            "UPDATE schema_versions SET sealed_definition = '' WHERE schema_id = $1",
            record.schema_id,
        )
    damaged, other = (await cabinet.schemas.list_schemas(ann, None, 10)).schemas
    assert isinstance(damaged, DamagedSchema)
    assert damaged.id == record.schema_id
    assert (type(other), other.id) == (Schema, whole.id)
    (version,) = (await cabinet.schemas.list_versions(ann, record.schema_id, 0, 10)).schemas
    assert isinstance(version, DamagedSchema)
    (listed,) = (await cabinet.records.list_records(ann, record.schema_id, None, 10)).records
    assert listed.id == record.id
    await cabinet.records.delete(ann, record.id, ANY)
    await cabinet.schemas.delete(ann, record.schema_id)
    assert await cabinet.count(ann, "schemas") == 1


async def test_a_destroyed_tenants_records_tell_nothing(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann, eve = await make_scope(), await make_scope()
    first, _ = await two_records(cabinet, ann)
    theirs = await cabinet.ann(eve)
    async with cabinet.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE tenant_keys SET wrapped_key = NULL")
    with pytest.raises(UndercroftError) as refused:
        await cabinet.records.get(ann, first)
    assert refused.value.code == "key_destroyed"
    assert await cabinet.count(ann, "record_digests") == 0
    async with cabinet.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM records WHERE plain <> '{}'") == 0
    assert (await cabinet.records.get(eve, theirs.id)).data == ANN
    assert await cabinet.count(eve, "record_digests") == 2
