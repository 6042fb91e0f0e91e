"""Records go to another version of their schema, whole, once, and without an edit being lost."""

import asyncio
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.records import ANN, ANY, Cabinet, changed, ids_of, made_from
from tests.stepping import until_blocked
from undercroft.jobs.errors import FencedError
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.vault.records.models import Condition, Record
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.schemas.errors import StaleVersionError
from undercroft.vault.schemas.models import Definition

RENAMED = Definition(
    {
        "type": "object",
        "properties": {"full_name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}},
        "required": ["full_name"],
    },
    plain_fields=("/city",),
    sensitive_fields=("/email", "/full_name"),
    indexed_fields=("/full_name",),
)
RENAME = [{"op": "move", "from": "/name", "path": "/full_name"}]


async def persons(cabinet: Cabinet, ann: Member, count: int) -> list[Record]:
    """Of whom every third is a child, under a schema that now takes grown-ups."""
    schema = await cabinet.person_schema(ann)
    made = [
        await cabinet.records.create(
            ann, schema.id, {**ANN, "name": f"Ann {n}", "age": 17 if n % 3 == 2 else 40}
        )
        for n in range(count)
    ]
    await cabinet.schemas.add_version(ann, schema.id, RENAMED)
    return made


async def test_a_dry_run_names_what_could_not_follow_and_changes_nothing(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = await persons(cabinet, ann, 23)
    run = await cabinet.migrations.try_out(ann, made[0].schema_id, None, RENAME)
    assert (run.valid, run.invalid, run.is_complete) == (16, 7, True)
    assert [failure.record_id for failure in run.failures] == ids_of(made[2::3])
    assert "/age" in run.failures[0].message
    assert "17" not in run.failures[0].message
    assert (await cabinet.records.get(ann, made[0].id)).version == 1
    run = await cabinet.migrations.try_out(ann, made[0].schema_id, None, [])
    assert (run.valid, run.invalid) == (0, 23)
    with pytest.raises(NotFoundError):
        await cabinet.migrations.try_out(ann, made[0].schema_id, 3, RENAME)


async def test_a_job_migrates_what_can_follow(cabinet: Cabinet, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    made = await persons(cabinet, ann, 23)
    schema_id = made[0].schema_id
    started = await cabinet.migrations.start(ann, schema_id, None, RENAME)
    assert started.job_id is not None
    await cabinet.migrations.run(await cabinet.claim(ann, started.job_id))
    done = await cabinet.migrations.get(ann, schema_id, started.id)
    assert (done.migrated, done.failed, list(done.failed_record_ids)) == (
        16,
        7,
        ids_of(made[2::3]),
    )
    assert done.finished_at is not None
    first = await cabinet.records.get(ann, made[0].id)
    assert (first.version, first.schema_version) == (2, 2)
    assert first.data["full_name"] == "Ann 0"
    assert (await cabinet.records.get(ann, made[0].id, 1)).data["name"] == "Ann 0"
    found = await cabinet.records.search(
        ann, schema_id, [Condition("/full_name", "Ann 0")], None, 10
    )
    assert ids_of(found.records) == [made[0].id]
    assert [action for action, _ in await cabinet.actions(ann)].count("record.migrate") == 16
    with pytest.raises(NotFoundError):
        await cabinet.migrations.get(bob, schema_id, started.id)


async def test_a_later_attempt_goes_on_where_the_first_one_was(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = await persons(cabinet, ann, 23)
    started = await cabinet.migrations.start(ann, made[0].schema_id, None, RENAME)
    assert started.job_id is not None
    first = await cabinet.claim(ann, started.job_id)
    assert await cabinet.migrations._run_batch(first, started.id)
    async with cabinet.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE jobs SET fence = fence + 1")
    with pytest.raises(FencedError):
        await cabinet.migrations._run_batch(first, started.id)
    halfway = await cabinet.migrations.get(ann, made[0].schema_id, started.id)
    assert halfway.migrated + halfway.failed == 20
    async with cabinet.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE jobs SET fence = fence - 1")
    await cabinet.migrations.run(first)
    done = await cabinet.migrations.get(ann, made[0].schema_id, started.id)
    assert (done.migrated, done.failed) == (16, 7)
    assert (await cabinet.records.get(ann, made[0].id)).version == 2


async def test_records_that_are_deleted_while_a_batch_is_chosen_stop_nothing(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    made = await persons(cabinet, ann, 3)
    started = await cabinet.migrations.start(ann, made[0].schema_id, None, RENAME)

    class Late(RecordRepository):
        """Deletes a record elsewhere once it was chosen here."""

        async def count_to_migrate(
            self, transaction: Transaction, schema_id: UUID, to_version: int, after: UUID | None
        ) -> int:
            await cabinet.records.delete(ann, made[0].id, ANY)
            return await super().count_to_migrate(transaction, schema_id, to_version, after)

    cabinet.migrations._repository = Late()
    assert started.job_id is not None
    await cabinet.migrations.run(await cabinet.claim(ann, started.job_id))
    migration = await cabinet.migrations.get(ann, made[0].schema_id, started.id)
    assert (migration.migrated, migration.failed) == (2, 1)
    assert migration.finished_at is not None


async def test_an_edit_that_was_first_is_migrated_with_the_record(
    cabinet: Cabinet, make_scope: MakeScope, database: Database
) -> None:
    ann = await make_scope()
    (record,) = await persons(cabinet, ann, 1)
    started = await cabinet.migrations.start(ann, record.schema_id, None, RENAME)
    assert started.job_id is not None
    context = await cabinet.claim(ann, started.job_id)
    schema_data = {**ANN, "name": "Zoe"}
    async with cabinet.database.transaction(ann) as transaction:
        await RecordRepository().lock_record(transaction, record.id)
        migrating = asyncio.create_task(cabinet.migrations.run(context))
        await until_blocked(database)
        schema = await cabinet.schemas.read(transaction, record.schema_id, 1)
        await cabinet.storage.rewrite(transaction, ann, record, schema, schema_data)
    await migrating
    latest = await cabinet.records.get(ann, record.id)
    assert (latest.version, latest.schema_version, latest.data["full_name"]) == (3, 2, "Zoe")


async def test_an_edit_from_before_the_migration_is_refused_as_stale(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    (record,) = await persons(cabinet, ann, 1)
    started = await cabinet.migrations.start(ann, record.schema_id, None, RENAME)
    assert started.job_id is not None
    await cabinet.migrations.run(await cabinet.claim(ann, started.job_id))
    with pytest.raises(StaleVersionError):
        await cabinet.records.update(ann, record.id, made_from(record), changed(age=50))


async def test_locked_records_stay_where_they_are(cabinet: Cabinet, make_scope: MakeScope) -> None:
    ann = await make_scope()
    first, second = await persons(cabinet, ann, 2)
    await cabinet.locks.acquire(ann, first.id, 60)
    await cabinet.records.delete(ann, second.id, ANY)
    started = await cabinet.migrations.start(ann, first.schema_id, None, RENAME)
    assert started.job_id is not None
    await cabinet.migrations.run(await cabinet.claim(ann, started.job_id))
    done = await cabinet.migrations.get(ann, first.schema_id, started.id)
    assert (done.migrated, list(done.failed_record_ids)) == (0, [first.id])
    assert (await cabinet.records.get(ann, first.id)).version == 1
