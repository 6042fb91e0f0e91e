"""Reading in batches, stepped: each record is authorised and on record by itself, and released after the commit."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import structlog
from asyncpg import Record as Row

from tests.conftest import MakeScope, Member
from tests.owner import past_policies
from tests.records import ANN, ANY, Cabinet, changed, open_cabinet
from tests.stepping import PATIENCE, Gate
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.kit.scope import Scope
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.records.models import Record, Wanted
from undercroft.vault.records.storage import RecordStorage
from undercroft.vault.schemas.models import Definition


class HeldDatabase(Database):
    """Stops once at the beginning of a scoped transaction, or before its commit. Counts them."""

    before: Gate | None = None
    before_commit: Gate | None = None
    begun = 0

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncGenerator[Transaction]:
        self.begun += 1
        gate, self.before = self.before, None
        if gate is not None:
            await gate.pass_through()
        async with super().transaction(scope) as transaction:
            yield transaction
            gate, self.before_commit = self.before_commit, None
            if gate is not None:
                await gate.pass_through()


@pytest.fixture
async def held(database_urls: DatabaseUrls) -> AsyncGenerator[HeldDatabase]:
    async with HeldDatabase(database_urls.service, clock=SystemClock()) as opened:
        yield opened


@pytest.fixture
async def cabinet(held: HeldDatabase, tmp_path: Path) -> Cabinet:
    return await open_cabinet(held, tmp_path)


async def read_as(cabinet: Cabinet, scope: Member, record_id: UUID, request_id: str) -> Record:
    """As in a request of that number."""
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return await cabinet.records.get(scope, record_id)


async def read_together(
    cabinet: Cabinet, held: HeldDatabase, scope: Member, record_ids: Sequence[UUID]
) -> list[Record | BaseException]:
    """Read in one batch: those that come while another record is being read."""
    gate = held.before = Gate()
    decoy = asyncio.create_task(cabinet.records.get(scope, record_ids[0]))
    await gate.wait_until_reached()
    asked = [
        asyncio.create_task(read_as(cabinet, scope, record_id, f"req_{number}"))
        for number, record_id in enumerate(record_ids)
    ]
    await asyncio.sleep(0)
    gate.open()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait([decoy])
        return await asyncio.gather(*asked, return_exceptions=True)


async def read_entries(database: Database, scope: Member) -> list[tuple[str, str, str | None]]:
    """What the ledger has of readings: the record, the outcome and the request."""
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT resource, outcome, trace FROM ledger_pending WHERE action = 'record.read'"
            " ORDER BY ordinal"
        )
    return [(row["resource"], row["outcome"], row["trace"]) for row in rows]


async def test_what_is_asked_for_together_is_read_in_one_transaction(
    cabinet: Cabinet, held: HeldDatabase, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first = await cabinet.ann(ann)
    second = await cabinet.records.create(ann, first.schema_id, {"name": "Bo", "city": "Kiel"})
    begun = held.begun
    found = await read_together(cabinet, held, ann, [first.id, second.id, first.id])
    assert held.begun == begun + 2
    assert [one.data for one in found if isinstance(one, Record)] == [
        ANN,
        {"name": "Bo", "city": "Kiel"},
        ANN,
    ]
    assert await read_entries(held, ann) == [
        (f"rec_{first.id.hex}", "allowed", None),
        (f"rec_{first.id.hex}", "allowed", "req_0"),
        (f"rec_{second.id.hex}", "allowed", "req_1"),
        (f"rec_{first.id.hex}", "allowed", "req_2"),
    ]


async def test_nothing_is_released_before_it_is_on_record(
    cabinet: Cabinet, held: HeldDatabase, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    gate = held.before_commit = Gate()
    reading = asyncio.create_task(cabinet.records.get(ann, record.id))
    await gate.wait_until_reached()
    assert not reading.done()
    assert await read_entries(held, ann) == []
    gate.open()
    assert (await reading).data == ANN
    assert len(await read_entries(held, ann)) == 1


async def test_nothing_is_released_that_cannot_be_put_on_record(
    cabinet: Cabinet, held: HeldDatabase, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    owner = await asyncpg.connect(database_urls.migration)
    await owner.execute("REVOKE INSERT ON ledger_pending FROM undercroft_app")
    refused = await read_together(cabinet, held, ann, [record.id, record.id])
    assert [type(one) for one in refused] == [asyncpg.InsufficientPrivilegeError] * 2
    assert await read_entries(held, ann) == []
    await owner.close()


async def test_in_a_batch_each_is_authorised_by_itself(
    cabinet: Cabinet, held: HeldDatabase, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    own, others = await cabinet.ann(ann), await cabinet.ann(bob)
    found = await read_together(cabinet, held, ann, [own.id, others.id, UUID(int=7), own.id])
    assert [type(one) for one in found] == [Record, NotFoundError, NotFoundError, Record]
    assert set(await read_entries(held, ann)) == {
        (f"rec_{own.id.hex}", "allowed", None),
        (f"rec_{own.id.hex}", "allowed", "req_0"),
        (f"rec_{own.id.hex}", "allowed", "req_3"),
        (f"rec_{others.id.hex}", "denied", "req_1"),
        (f"tenant_{ann.tenant_id.hex}", "denied", "req_2"),
    }


async def test_a_damaged_record_hides_no_other_of_its_batch(
    cabinet: Cabinet, held: HeldDatabase, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    whole = await cabinet.ann(ann)
    damaged = await cabinet.records.create(ann, whole.schema_id, ANN)
    emptied = await cabinet.records.create(ann, whole.schema_id, ANN)
    async with past_policies(database_urls, "record_parts") as owner:
        await owner.execute("UPDATE record_parts SET sealed = '' WHERE record_id = $1", damaged.id)
        await owner.execute("DELETE FROM record_parts WHERE record_id = $1", emptied.id)
    found = await read_together(cabinet, held, ann, [whole.id, damaged.id, emptied.id, whole.id])
    assert [type(one) for one in found] == [Record, DecryptionError, DecryptionError, Record]
    entries = await read_entries(held, ann)
    assert {resource for resource, _, _ in entries} == {f"rec_{whole.id.hex}"}


async def test_what_is_erased_while_a_reading_waits_is_not_read(
    cabinet: Cabinet, held: HeldDatabase, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    kept = await cabinet.records.create(ann, record.schema_id, ANN)
    assert (await cabinet.records.get(ann, record.id)).data == ANN
    gate = held.before = Gate()
    readings = [
        asyncio.create_task(cabinet.records.get(ann, record_id))
        for record_id in (kept.id, record.id)
    ]
    await gate.wait_until_reached()
    await cabinet.records.delete(ann, record.id, ANY)
    gate.open()
    assert [type(one) for one in await asyncio.gather(*readings, return_exceptions=True)] == [
        Record,
        NotFoundError,
    ]


async def test_a_key_that_is_destroyed_while_a_reading_waits_opens_nothing(
    cabinet: Cabinet, held: HeldDatabase, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    assert (await cabinet.records.get(ann, record.id)).data == ANN
    gate = held.before = Gate()
    reading = asyncio.create_task(cabinet.records.get(ann, record.id))
    await gate.wait_until_reached()
    async with held.transaction(ann) as transaction:
        await transaction.execute("UPDATE tenant_keys SET wrapped_key = NULL")
    gate.open()
    with pytest.raises(KeyDestroyedError):
        await reading


async def test_a_batch_reads_the_versions_that_are_asked_for(
    cabinet: Cabinet, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    record = await cabinet.ann(ann)
    await cabinet.records.update(ann, record.id, ANY, changed(age=41))
    found = await asyncio.gather(
        *(cabinet.records.get(ann, record.id, version) for version in (None, 1, 2, 3)),
        return_exceptions=True,
    )
    assert [one.data["age"] for one in found if isinstance(one, Record)] == [41, 40, 41]
    assert isinstance(found[3], NotFoundError)


class CountingKeys(KeyRing):
    """Notes at each key that is opened how many turns the event loop has had."""

    def __init__(self, keys: KeyRing) -> None:
        super().__init__(keys._provider, keys._ids)
        self.turns = 0
        self.seen: list[int] = []

    async def take_turns(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    async def open(self, row: Row, prefix: str = "") -> DataKey:
        self.seen.append(self.turns)
        return await super().open(row, prefix)


async def test_the_event_loop_serves_others_between_large_records(
    cabinet: Cabinet, held: HeldDatabase, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    schema = await cabinet.schemas.create(ann, "any", Definition({"type": "object"}))
    records = [
        await cabinet.records.create(ann, schema.id, {"text": "x" * 100_000}) for _ in range(3)
    ]
    keys = CountingKeys(cabinet.keys)
    storage = RecordStorage(keys, IdSource())
    async with held.transaction(ann) as transaction:
        other = asyncio.create_task(keys.take_turns())
        await storage.read_each(transaction, [Wanted(record.id) for record in records])
        other.cancel()
    assert len(set(keys.seen)) == 3
