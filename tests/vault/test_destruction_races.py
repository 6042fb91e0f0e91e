"""The destruction of a tenant's keys beside other writers, stepped: each waits for the other, and none is cut down."""

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeScope
from tests.documents import make_documents
from tests.records import ANN, ANY, Cabinet, open_cabinet
from tests.stepping import PATIENCE, until_blocked, until_waiting_for
from tests.vault.records.test_migrations import RENAME, RENAMED
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.vault.blobs.local import LocalBlobStore
from undercroft.vault.holds import LegalHolds
from undercroft.vault.keys import destruction as destruction_module
from undercroft.vault.keys.destruction import TenantDestruction
from undercroft.vault.keys.errors import KeyDestroyedError, TenantHeldError
from undercroft.vault.keys.repository import RotationRepository
from undercroft.vault.records.repository import RecordRepository

RECORDS = RecordRepository()
ROTATIONS = RotationRepository()
IDS = IdSource()


@pytest.fixture
async def observer(database_urls: DatabaseUrls) -> AsyncGenerator[Database]:
    """Looks that never wait for the connections that a test holds."""
    async with Database(database_urls.service, clock=SystemClock(), size=2) as opened:
        yield opened


@pytest.fixture
async def cabinet(database: Database, tmp_path: Path) -> Cabinet:
    return await open_cabinet(database, tmp_path)


@pytest.fixture
def destruction(cabinet: Cabinet, tmp_path: Path) -> TenantDestruction:
    return TenantDestruction(cabinet.database, LocalBlobStore(tmp_path / "blobs"), cabinet.ledger)


def unheard(done: int, total: int) -> None:
    assert done <= total


@pytest.fixture
async def owner(database_urls: DatabaseUrls) -> AsyncGenerator[Database]:
    async with Database(database_urls.migration, clock=SystemClock(), size=1) as opened:
        yield opened


async def test_no_statement_of_a_destruction_works_on_all_records(
    cabinet: Cabinet,
    destruction: TenantDestruction,
    make_scope: MakeScope,
    owner: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many there are: a statement may take only so long."""
    ann = await make_scope()
    schema = await cabinet.person_schema(ann)
    for _ in range(5):
        await cabinet.records.create(ann, schema.id, ANN)
    async with owner.transaction_without_scope() as transaction:
        await transaction.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF (SELECT count(*) FROM changed) > 2 * tg_argv[0]::int THEN RAISE 'too many'; END IF;"
            " RETURN NULL; END $$;"
            "CREATE TRIGGER few AFTER UPDATE ON records REFERENCING NEW TABLE AS changed"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse(1);"
            "CREATE TRIGGER few AFTER DELETE ON record_digests REFERENCING OLD TABLE AS changed"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse(2)"  # each record has two
        )
    monkeypatch.setattr(destruction_module, "_BATCH", 2)
    await destruction.destroy(ann.tenant_id, unheard)
    assert await cabinet.count(ann, "record_digests") == 0
    async with cabinet.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM records WHERE plain <> '{}'") == 0


async def replace_key(transaction: Transaction) -> None:
    """What a rotation does before it commits."""
    await ROTATIONS.lock_tenant_keys(transaction)
    found = await ROTATIONS.lock_current_tenant_key(transaction)
    assert found is not None
    await ROTATIONS.replace_tenant_key(transaction, found[0].id, IDS.new(), found[1] + 1, bytes(60))


async def test_a_hold_that_waited_for_a_rotation_keeps_the_keys(
    cabinet: Cabinet,
    destruction: TenantDestruction,
    make_scope: MakeScope,
    observer: Database,
    tmp_path: Path,
) -> None:
    ann = await make_scope()
    admin = await make_scope(ann.tenant_id, role="admin")
    documents = make_documents(cabinet.database, tmp_path, cabinet.keys)
    document = await documents.import_file(ann, io.BytesIO(b"The mill."), "mill.txt", "user_data")
    record = await cabinet.ann(ann)
    holds = LegalHolds(cabinet.database, cabinet.ledger)
    database = cabinet.database
    async with database.transaction(ann) as last:
        # Where a destruction comes after it has looked for holds.
        await RECORDS.lock_record(last, record.id)
        async with database.transaction(ann) as editing:
            await documents._access.lock(editing, document.id, None)
            async with database.transaction(ann) as rotating:
                await replace_key(rotating)
                placing = asyncio.create_task(holds.place(admin, document.id, "litigation"))
                await until_waiting_for(observer, rotating)
            await until_waiting_for(observer, editing)
            destroying = asyncio.create_task(destruction.destroy(ann.tenant_id, unheard))
            await until_blocked(observer, 2)
        await placing
    with pytest.raises(TenantHeldError):
        await destroying


class SlowChange:
    """A change of a record that stops where it has the record's lock."""

    def __init__(self, members: Mapping[str, object]) -> None:
        self._members = members
        self._reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._opened = threading.Event()

    def __call__(self, data: Mapping[str, Any]) -> object:
        self._loop.call_soon_threadsafe(self._reached.set)
        assert self._opened.wait(PATIENCE)
        return {**data, **self._members}

    async def wait_until_reached(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._reached.wait()

    def go_on(self) -> None:
        self._opened.set()


async def test_a_change_of_a_record_and_a_destruction_wait_for_each_other(
    cabinet: Cabinet, destruction: TenantDestruction, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    schema = await cabinet.person_schema(ann)
    record = await cabinet.records.create(ann, schema.id, {"name": "Ann", "city": "Ulm"})
    # The sensitive field is new, and so is its key: it is made under the tenant's.
    change = SlowChange({"email": "ann@example.org"})
    updating = asyncio.create_task(cabinet.records.update(ann, record.id, ANY, change))
    await change.wait_until_reached()
    destroying = asyncio.create_task(destruction.destroy(ann.tenant_id, unheard))
    await until_blocked(observer)
    change.go_on()
    assert (await updating).version == 2
    await destroying
    with pytest.raises(KeyDestroyedError):
        await cabinet.records.get(ann, record.id)
    assert await cabinet.count(ann, "record_digests") == 0


async def test_a_delete_of_a_record_and_a_destruction_wait_for_each_other(
    cabinet: Cabinet, destruction: TenantDestruction, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    async with cabinet.database.transaction(ann) as transaction:
        await RECORDS.lock_record(transaction, record.id)
        deleting = asyncio.create_task(cabinet.records.delete(ann, record.id, ANY))
        await until_blocked(observer)
        destroying = asyncio.create_task(destruction.destroy(ann.tenant_id, unheard))
        await until_blocked(observer, 2)
    await deleting
    await destroying
    assert await cabinet.count(ann, "records") == 0


async def test_a_migration_of_records_and_a_destruction_wait_for_each_other(
    cabinet: Cabinet, destruction: TenantDestruction, make_scope: MakeScope, observer: Database
) -> None:
    ann = await make_scope()
    schema = await cabinet.person_schema(ann)
    # The first is locked and stays as it is; of the second a field becomes sensitive, and gets a key.
    made = [
        await cabinet.records.create(ann, schema.id, {"name": "Ann", "age": age})
        for age in (17, 40)
    ]
    await cabinet.schemas.add_version(ann, schema.id, RENAMED)
    started = await cabinet.migrations.start(ann, schema.id, None, RENAME)
    assert started.job_id is not None
    context = await cabinet.claim(ann, started.job_id)
    async with cabinet.database.transaction(ann) as transaction:
        await RECORDS.lock_record(transaction, made[1].id)
        migrating = asyncio.create_task(cabinet.migrations.run(context))
        await until_blocked(observer)
        destroying = asyncio.create_task(destruction.destroy(ann.tenant_id, unheard))
        await until_blocked(observer, 2)
    await migrating
    await destroying
    migration = await cabinet.migrations.get(ann, schema.id, started.id)
    assert (migration.migrated, migration.failed) == (1, 1)
