"""Records under grants over a database: a revocation against a read and a write, and what is decrypted."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from asyncpg import Record as Row

from tests.conftest import MakeScope, Member
from tests.records import ANN, ANY, Cabinet, changed, open_cabinet
from tests.stepping import PATIENCE, Gate, until_blocked
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource
from undercroft.sharing.errors import GrantEndedError
from undercroft.sharing.models import (
    Grant,
    GrantAction,
    Grantee,
    GranteeKind,
    Resource,
    ResourceKind,
    Terms,
    Way,
)
from undercroft.sharing.service import GrantService
from undercroft.sharing.uses import GrantUses
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.records.models import Record, Wanted
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.records.service import RecordService
from undercroft.vault.records.storage import RecordStorage

READ = frozenset({GrantAction.READ})
WRITE = frozenset({GrantAction.READ, GrantAction.WRITE})


@dataclass(frozen=True, slots=True)
class Room:
    """Ann has a record; Bob is her colleague."""

    cabinet: Cabinet
    grants: GrantService
    ann: Member
    bob: Member
    record: Record

    async def share(self, actions: frozenset[GrantAction], *fields: str) -> Grant:
        """Of the record, to Bob."""
        grantee = Grantee(GranteeKind.USER, self.bob.principal_id)
        terms = Terms(actions, fields=frozenset(fields) or None)
        resource = Resource(ResourceKind.RECORD, self.record.id)
        return await self.grants.create(self.ann, resource, grantee, terms)

    async def read(self, records: RecordService | None = None) -> Mapping[str, Any]:
        """What Bob sees of it."""
        shown = await (records or self.cabinet.records).get(self.bob, self.record.id)
        return shown.data

    async def write(self, records: RecordService | None = None) -> Record:
        """Bob's change."""
        service = records or self.cabinet.records
        return await service.update(self.bob, self.record.id, ANY, changed(city="Bonn"))

    def service(self, storage: RecordStorage) -> RecordService:
        """Records over another storage."""
        cabinet = self.cabinet
        return RecordService(cabinet.database, storage, cabinet.schemas, cabinet.ledger)


@pytest.fixture
async def room(database: Database, tmp_path: Path, make_scope: MakeScope) -> Room:
    cabinet = await open_cabinet(database, tmp_path)
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    ids, clock = IdSource(), SystemClock()
    people = IdentityService(database, cabinet.ledger, ids, clock)
    grants = GrantService(database, cabinet.ledger, ids, people)
    return Room(cabinet, grants, ann, bob, await cabinet.ann(ann))


class SteppedStorage(RecordStorage):
    """Stops before a record is read for a change, or after."""

    before: Gate | None = None
    after: Gate | None = None

    async def read(
        self, transaction: Transaction, record_id: UUID, actions: Sequence[GrantAction] = ()
    ) -> Record | None:
        if self.before is not None:
            gate, self.before = self.before, None
            await gate.pass_through()
        record = await super().read(transaction, record_id, actions)
        if self.after is not None:
            gate, self.after = self.after, None
            await gate.pass_through()
        return record

    async def read_each(
        self, transaction: Transaction, wanted: Sequence[Wanted]
    ) -> list[Record | UndercroftError | None]:
        if self.before is not None:
            gate, self.before = self.before, None
            await gate.pass_through()
        return await super().read_each(transaction, wanted)


class SteppedUses(GrantUses):
    """Stops once grants are held."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    async def hold(self, transaction: Transaction, way: Way) -> None:
        await super().hold(transaction, way)
        await self._gate.pass_through()


class WatchedKeys(KeyRing):
    """Remembers which keys were opened."""

    def __init__(self, keys: KeyRing) -> None:
        super().__init__(keys._provider, keys._ids)
        self.opened: set[int] = set()

    async def open(self, row: Row, prefix: str = "") -> DataKey:
        self.opened.add(row["part"])
        return await super().open(row, prefix)


def stepped(room: Room) -> SteppedStorage:
    return SteppedStorage(room.cabinet.keys, IdSource())


async def test_a_read_whose_transaction_began_before_a_revocation_reads_nothing_after_it(
    room: Room,
) -> None:
    grant = await room.share(READ)
    storage = stepped(room)
    storage.before = gate = Gate()
    reading = asyncio.create_task(room.read(room.service(storage)))
    await gate.wait_until_reached()
    await room.grants.revoke(room.ann, grant.id)
    gate.open()
    with pytest.raises(NotFoundError):
        await reading


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_write_does_not_commit_after_a_revocation_that_came_before_its_grants_were_held(
    room: Room, when: str
) -> None:
    grant = await room.share(WRITE)
    storage = stepped(room)
    gate = Gate()
    setattr(storage, when, gate)
    writing = asyncio.create_task(room.write(room.service(storage)))
    await gate.wait_until_reached()
    async with asyncio.timeout(PATIENCE):
        await room.grants.revoke(room.ann, grant.id)
    gate.open()
    with pytest.raises(NotFoundError if when == "before" else GrantEndedError):
        await writing
    assert (await room.cabinet.records.get(room.ann, room.record.id)).data == ANN


async def test_a_revocation_waits_for_a_write_that_holds_its_grants(room: Room) -> None:
    grant = await room.share(WRITE)
    gate = Gate()
    records = room.service(room.cabinet.storage)
    records._uses = SteppedUses(gate)
    writing = asyncio.create_task(room.write(records))
    await gate.wait_until_reached()
    revoking = asyncio.create_task(room.grants.revoke(room.ann, grant.id))
    await until_blocked(room.cabinet.database)
    assert not revoking.done()
    gate.open()
    assert (await writing).version == 2
    await revoking
    with pytest.raises(NotFoundError):
        await room.write()


async def test_nothing_is_decrypted_that_the_reader_does_not_see(room: Room) -> None:
    keys = WatchedKeys(room.cabinet.keys)
    records = room.service(RecordStorage(keys, IdSource()))
    await room.share(READ, "/name", "/health/allergies")
    data = {"name": "Ann", "health": {"allergies": ["nuts"]}}
    assert await room.read(records) == data
    assert keys.opened == {0, 2}  # the second sensitive field is /health
    await room.share(READ, "/email")
    assert await room.read(records) == {**data, "email": "ann@example.org"}
    assert keys.opened == {0, 1, 2}


async def test_readings_of_a_batch_are_each_allowed_by_their_own_grants(room: Room) -> None:
    cabinet = room.cabinet
    other = await cabinet.records.create(room.ann, room.record.schema_id, ANN)
    own = await cabinet.records.create(room.bob, room.record.schema_id, ANN)
    grant = await room.share(READ, "/name")
    found = await asyncio.gather(
        *(
            cabinet.records.get(room.bob, record.id)
            for record in (own, room.record, other, own, room.record)
        ),
        return_exceptions=True,
    )
    shown = [record.data if isinstance(record, Record) else type(record) for record in found]
    assert shown == [ANN, {"name": "Ann"}, NotFoundError, ANN, {"name": "Ann"}]
    async with cabinet.database.transaction(room.ann) as transaction:
        rows = await transaction.fetch(
            "SELECT grant_id FROM ledger_pending WHERE action = 'record.read' AND outcome = 'allowed'"
        )
    assert sorted(str(row["grant_id"]) for row in rows) == sorted(
        [str(grant.id), str(grant.id), "None", "None"]
    )


async def test_the_revoked_find_nothing_between_looking_and_reading(room: Room) -> None:
    """A page is authorised again by the statement that reads it, for the fields that it was found by."""
    grant = await room.share(frozenset({GrantAction.SEARCH}), "/city")
    await room.share(frozenset({GrantAction.SEARCH, GrantAction.READ}), "/name")
    async with room.cabinet.database.transaction(room.bob) as transaction:
        ids = [room.record.id]
        page = await room.cabinet.storage.read_page(transaction, ids, 20, ["/city"])
        assert [record.id for record in page.records] == ids
        await room.grants.revoke(room.ann, grant.id)
        page = await room.cabinet.storage.read_page(transaction, ids, 20, ["/city"])
        assert page.records == []
        page = await room.cabinet.storage.read_page(transaction, ids, 20, ["/name"])
        assert [record.id for record in page.records] == ids


async def test_how_many_make_a_page_does_not_tell_how_long_hidden_fields_are(room: Room) -> None:
    """Six that show one field each: a page ends where six of the largest would, whatever the rest of them holds."""
    cabinet, schema_id = room.cabinet, room.record.schema_id
    resource, found = room.record.id, list[int]()
    grantee = Grantee(GranteeKind.USER, room.bob.principal_id)
    terms = Terms(frozenset({GrantAction.SEARCH, GrantAction.READ}), fields=frozenset({"/city"}))
    for padding in ("", "x" * 200_000):
        data = {**ANN, "health": {"notes": padding}}
        first = resource
        for _ in range(6):
            resource = (await cabinet.records.create(room.ann, schema_id, data)).id
            await room.grants.create(
                room.ann, Resource(ResourceKind.RECORD, resource), grantee, terms
            )
        page = await cabinet.records.list_records(room.bob, schema_id, first, 6)
        found.append(len(page.records))
        assert page.has_more
        resource = (await cabinet.records.create(room.ann, schema_id, ANN)).id
    assert found == [4, 4]


async def test_the_database_finds_nothing_by_a_field_that_no_grant_to_search_covers(
    room: Room,
) -> None:
    """Not even for the page to leave out: that there was something would show in whether there is more."""
    cabinet, schema_id = room.cabinet, room.record.schema_id
    await room.share(READ)
    await room.share(frozenset({GrantAction.SEARCH}), "/name")

    async def find(*fields: str) -> list[UUID]:
        async with cabinet.database.transaction(room.bob) as transaction:
            plain = {field: "Ulm" for field in fields if field == "/city"}
            values = {"/name": "Ann", "/email": ANN["email"]}
            digests = [
                await cabinet.storage.digest(transaction, room.bob, schema_id, field, values[field])
                for field in fields
                if field in values
            ]
            return await RecordRepository().search_record_ids(
                transaction, schema_id, plain, digests, fields, None, 10
            )

    assert await find("/name") == [room.record.id]
    for fields in (["/city"], ["/email"], ["/name", "/city"], ["/name", "/email"]):
        assert await find(*fields) == []
    await room.share(frozenset({GrantAction.SEARCH}), "/city")
    assert await find("/name", "/city") == [room.record.id]
    assert await find("/email") == []


@pytest.mark.parametrize("action", [GrantAction.READ, GrantAction.SEARCH, GrantAction.WRITE])
async def test_records_are_decided_about_as_everything_that_is_shared(
    room: Room, action: GrantAction
) -> None:
    """What ``POST /v1/access/check`` answers from is what a reading is allowed by."""
    grants = [
        await room.share(frozenset({action}), "/name"),
        await room.share(frozenset({action})),
        await room.share(frozenset({GrantAction.COMMENT})),
    ]
    await room.grants.revoke(room.ann, grants[1].id)
    async with room.cabinet.database.transaction(room.bob) as transaction:
        ways = await transaction.fetchval("SELECT ways_to($1, $2)", room.record.id, action)
        of_record = await transaction.fetchval(
            "SELECT ways_to_record($1, 1, $2)", room.record.id, [action]
        )
        assert of_record == {str(action): ways}
        assert [[each["id"] for each in way] for way in ways] == [[str(grants[0].id)]]


async def test_readings_at_once_for_two_purposes_are_not_one_batch(room: Room) -> None:
    grantee = Grantee(GranteeKind.USER, room.bob.principal_id)
    resource = Resource(ResourceKind.RECORD, room.record.id)
    await room.grants.create(room.ann, resource, grantee, Terms(READ, purpose="audit"))
    records = room.cabinet.records
    found = await asyncio.gather(
        *(
            records.get(replace(room.bob, purpose=purpose), room.record.id)
            for purpose in ("audit", None, "sales", "audit")
        ),
        return_exceptions=True,
    )
    assert [isinstance(record, Record) for record in found] == [True, False, False, True]
