"""Records: checked against their schema, encrypted, versioned, private to whoever made them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias, cast
from uuid import UUID

from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.ids import parse_id, render_id
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import find_target, recording_refusal, refusals_recorded
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.vault.records.errors import UnknownFieldError, no_record
from undercroft.vault.records.models import (
    RECORD_PREFIX,
    Condition,
    DamagedRecord,
    LockedRow,
    Precondition,
    Record,
    RecordPage,
    RecordVersion,
)
from undercroft.vault.records.preconditions import check_precondition
from undercroft.vault.records.reading import RecordReading
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.records.sealing import digest_version
from undercroft.vault.records.storage import RecordStorage, check_plain, subject_of
from undercroft.vault.schemas.json_text import check_json
from undercroft.vault.schemas.models import Schema
from undercroft.vault.schemas.service import SchemaService
from undercroft.vault.schemas.service import subject_of as schema_subject

Change: TypeAlias = Callable[[Mapping[str, Any]], object]
"""Makes a record's new data from its present data, which it leaves as it is."""


class RecordService:
    """Makes, reads, finds, changes and deletes records."""

    def __init__(
        self, database: Database, storage: RecordStorage, schemas: SchemaService, ledger: Ledger
    ) -> None:
        self._database = database
        self._storage = storage
        self._schemas = schemas
        self._ledger = ledger
        self._repository = RecordRepository()
        self._reading = RecordReading(database, storage, ledger)

    async def create(self, scope: Scope, schema_id: UUID, data: Mapping[str, Any]) -> Record:
        """Make a record under the latest version of a schema.

        Raises:
            NotFoundError: When the tenant has no such schema.
            SchemaMismatchError: When the schema does not allow the data.
            RecordTooLargeError: When the data is over the limit.
            PlainFieldTooLargeError: When a plain field is over its own.
        """
        async with self._database.transaction(scope) as transaction:
            schema = await self._schemas.read(transaction, schema_id)
            (await self._schemas.validator(schema)).check(data)
            record_id = await self._storage.insert(transaction, scope, schema, data)
            record = await self._get(transaction, record_id)
            await self._append_change(transaction, scope, "record.create", record)
        return record

    async def get(self, scope: Scope, record_id: UUID, version: int | None = None) -> Record:
        """A version of a record, the latest unless a number is given.

        Raises:
            NotFoundError: When the principal may see no such record, or it has no such version.
            KeyDestroyedError: When the tenant's key was destroyed.
            DecryptionError: When what is stored was altered, moved or left out.
        """
        find = find_target(RECORD_PREFIX, record_id, self._repository.find_record_owner)
        async with refusals_recorded(self._database, self._ledger, scope, "record.read", find):
            return await self._reading.read(scope, record_id, version)

    async def list_records(
        self, scope: Scope, schema_id: UUID | None, after: UUID | None, limit: int
    ) -> RecordPage:
        """A page of the principal's records, oldest first; of one schema, if it is given.

        Raises:
            NotFoundError: When the tenant has no such schema.
        """
        async with self._database.transaction(scope) as transaction:
            if schema_id is None:
                ids = await self._repository.list_all_record_ids(transaction, after, limit + 1)
            else:
                await self._schemas.require(transaction, schema_id)
                ids = await self._repository.list_record_ids(
                    transaction, schema_id, after, limit + 1
                )
            page = await self._storage.read_page(transaction, ids, limit)
            await self._append(transaction, scope, "record.read", *_opened(page.records))
        return page

    async def search(
        self,
        scope: Scope,
        schema_id: UUID,
        conditions: Sequence[Condition],
        after: UUID | None,
        limit: int,
    ) -> RecordPage:
        """A page of the principal's records whose latest versions meet all conditions, oldest first.

        Raises:
            NotFoundError: When the tenant has no such schema.
            UnknownFieldError: When a field is neither plain nor indexed in the schema's latest version.
            PlainFieldTooLargeError: When a plain field is to be found by too large a value.
        """
        async with self._database.transaction(scope) as transaction:
            schema = await self._schemas.read(transaction, schema_id)
            plain, digests = await self._split(transaction, scope, schema, conditions)
            ids = await self._repository.search_record_ids(
                transaction, schema_id, plain, digests, after, limit + 1
            )
            page = await self._storage.read_page(transaction, ids, limit)
            # A search that finds nothing tells something as well.
            asked = Act("record.search", schema_subject(schema), schema.owner_id, schema.version)
            await self._ledger.append(transaction, scope, asked)
            await self._append(transaction, scope, "record.read", *_opened(page.records))
        return page

    async def list_versions(
        self, scope: Scope, record_id: UUID, after: int, limit: int
    ) -> list[RecordVersion]:
        """Which versions a record has, in their order, from after a number.

        Raises:
            NotFoundError: When the principal may see no such record.
        """
        async with self.refusing(scope, "record.read", record_id) as transaction:
            owner = await self._repository.find_record_owner(transaction, record_id)
            if owner is None or owner["owner_id"] != scope.principal_id:
                raise no_record(record_id)
            return await self._repository.list_versions(transaction, record_id, after, limit)

    async def update(
        self, scope: Scope, record_id: UUID, precondition: Precondition, change: Change
    ) -> Record:
        """Add a version, under the version of the schema that the record is at.

        Raises:
            NotFoundError: When the principal may see no such record.
            StaleVersionError: When it is at a version that the change was not made from.
            RecordLockedError: When somebody else has locked it.
            LockLostError: When the writer's lock has ended.
            SchemaMismatchError: When the schema does not allow the new data.
            InvalidRequestError: When the new data is no object, or is nested too deep.
            RecordTooLargeError: When it is over the limit.
        """
        async with self.refusing(scope, "record.update", record_id) as transaction:
            await self._storage.begin_write(transaction)
            row = await self._repository.lock_record(transaction, record_id)
            check_precondition(owned(scope, record_id, row), precondition)
            record = await self._get(transaction, record_id)
            schema = await self._schemas.read(transaction, record.schema_id, record.schema_version)
            # A large patch takes too long for the event loop.
            data = await asyncio.to_thread(lambda: require_object(change(record.data)))
            (await self._schemas.validator(schema)).check(data)
            await self._storage.rewrite(transaction, scope, record, schema, data)
            record = await self._get(transaction, record_id)
            await self._append_change(transaction, scope, "record.update", record)
        return record

    async def delete(self, scope: Scope, record_id: UUID, precondition: Precondition) -> None:
        """Delete a record with its versions, and destroy its keys.

        Raises:
            NotFoundError: When the principal may see no such record.
            StaleVersionError: When it is at a version that the caller has not read.
            RecordLockedError: When somebody else has locked it.
            LockLostError: When the caller's lock has ended.
        """
        async with self.refusing(scope, "record.delete", record_id) as transaction:
            await self._storage.begin_write(transaction)
            row = owned(
                scope,
                record_id,
                await self._repository.lock_record_for_delete(transaction, record_id),
            )
            check_precondition(row, precondition)
            subject = await self.require_subject(transaction, record_id)
            act = Act("record.delete", subject, scope.principal_id, row.current_version)
            await self._ledger.append(transaction, scope, act)
            await self._repository.delete_record(transaction, record_id)

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a record, for its owner alone; None when it is gone."""
        record_id = parse_id(RECORD_PREFIX, reference)
        if record_id is None:
            return None
        row = await self._repository.find_record_owner(transaction, record_id)
        if row is None or row["owner_id"] != scope.principal_id:
            return None
        return cast("bytes", row["salt"])

    async def require_subject(self, transaction: Transaction, record_id: UUID) -> Subject:
        """How the ledger names a record that is there.

        Raises:
            NotFoundError: When it is not.
        """
        row = await self._repository.find_record_owner(transaction, record_id)
        if row is None:
            raise no_record(record_id)
        return Subject(render_id(RECORD_PREFIX, record_id), row["salt"])

    def refusing(
        self, scope: Scope, action: Action, record_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction on one record, whose refusal is put on record."""
        find = find_target(RECORD_PREFIX, record_id, self._repository.find_record_owner)
        return recording_refusal(self._database, self._ledger, scope, action, find)

    async def _get(self, transaction: Transaction, record_id: UUID) -> Record:
        record = await self._storage.read(transaction, record_id)
        if record is None:
            raise no_record(record_id)
        return record

    async def _split(
        self,
        transaction: Transaction,
        scope: Scope,
        schema: Schema,
        conditions: Sequence[Condition],
    ) -> tuple[dict[str, Any], list[bytes]]:
        """What plain fields have to hold, and the digests of what indexed ones have to be."""
        plain: dict[str, Any] = {}
        digests: list[bytes] = []
        for condition in conditions:
            if condition.field in schema.definition.plain_fields:
                plain[condition.field] = condition.equals
            elif condition.field in schema.definition.indexed_fields:
                digests.append(
                    await self._storage.digest(
                        transaction, scope, schema.id, condition.field, condition.equals
                    )
                )
            else:
                raise UnknownFieldError(condition.field)
        check_plain(plain)
        return plain, digests

    async def _append(
        self, transaction: Transaction, scope: Scope, action: Action, *records: Record
    ) -> None:
        acts = [
            Act(action, subject_of(record), record.owner_id, record.version) for record in records
        ]
        await self._ledger.append(transaction, scope, *acts)

    async def _append_change(
        self, transaction: Transaction, scope: Scope, action: Action, record: Record
    ) -> None:
        act = Act(
            action,
            subject_of(record),
            record.owner_id,
            record.version,
            content=digest_version(record.schema_id, record.schema_version, record.data),
        )
        await self._ledger.append(transaction, scope, act)


def _opened(records: Sequence[Record | DamagedRecord]) -> list[Record]:
    """Those that were read: of a damaged one nobody learns anything."""
    return [record for record in records if isinstance(record, Record)]


def owned(scope: Scope, record_id: UUID, row: LockedRow | None) -> LockedRow:
    """A record's locked row, when it is the principal's.

    Raises:
        NotFoundError: When it is not, or is not there.
    """
    if row is None or row.owner_id != scope.principal_id:
        raise no_record(record_id)
    return row


def require_object(value: object) -> dict[str, Any]:
    """What a change made, when a record can be that.

    Raises:
        UndercroftError: Of kind UNPROCESSABLE, when it is no object.
        InvalidRequestError: When it is nested too deep or holds too many values.
    """
    if not isinstance(value, dict):
        raise UndercroftError(
            "A record's data is a JSON object; the patch would make something else of it.",
            kind=ErrorKind.UNPROCESSABLE,
            code="not_an_object",
        )
    data = cast("dict[str, Any]", value)
    check_json(data)
    return data
