"""Records: checked against their schema, encrypted, versioned, private to whoever made them."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast
from uuid import UUID

from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import find_target, recording_refusal, refusals_recorded
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction, ModelUse
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.ways import OWNER_ALONE
from undercroft.vault.records.access import WRITE
from undercroft.vault.records.changes import Change, apply_change
from undercroft.vault.records.errors import UnknownFieldError, no_record
from undercroft.vault.records.finding import append_page
from undercroft.vault.records.models import (
    RECORD_PREFIX,
    Condition,
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
from undercroft.vault.records.storage import RecordStorage, check_plain, show, subject_of
from undercroft.vault.schemas.models import Schema
from undercroft.vault.schemas.service import SchemaService
from undercroft.vault.schemas.service import subject_of as schema_subject


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
        self._uses = GrantUses()
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

    async def get(
        self,
        scope: Scope,
        record_id: UUID,
        version: int | None = None,
        model_use: frozenset[ModelUse] = frozenset(),
    ) -> Record:
        """What the principal may read, and show to a model that does this, of a version of a record.

        The latest unless a number is given.

        Raises:
            NotFoundError: When the principal may see no such record, or it has no such version.
            NotGrantedError: When they know of it and may not read it.
            ModelUseError: When they may read it, and not show it to such a model.
            KeyDestroyedError: When the tenant's key was destroyed.
            DecryptionError: When what is stored was altered, moved or left out.
        """
        find = find_target(RECORD_PREFIX, record_id, self._repository.find_record_owner)
        async with refusals_recorded(self._database, self._ledger, scope, "record.read", find):
            return await self._reading.read(scope, record_id, version, model_use)

    async def list_records(
        self,
        scope: Scope,
        schema_id: UUID | None,
        after: UUID | None,
        limit: int,
        model_use: frozenset[ModelUse] = frozenset(),
    ) -> RecordPage:
        """A page of the records that are the principal's or that they may find, oldest first; of one schema, if given.

        What they may not show to a model that does this is left out.

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
            page = await self._storage.read_page(transaction, ids, limit, (), model_use)
            await append_page(self._ledger, transaction, scope, page)
        return page

    async def search(
        self,
        scope: Scope,
        schema_id: UUID,
        conditions: Sequence[Condition],
        after: UUID | None,
        limit: int,
        model_use: frozenset[ModelUse] = frozenset(),
    ) -> RecordPage:
        """A page of the records whose latest versions meet all conditions, oldest first.

        They are the principal's, or ones that they may find by the fields of all conditions: of other fields nothing
        shows in what is found. What they may not show to a model that does this is left out.

        Raises:
            NotFoundError: When the tenant has no such schema.
            UnknownFieldError: When a field is neither plain nor indexed in the schema's latest version.
            PlainFieldTooLargeError: When a plain field is to be found by too large a value.
        """
        async with self._database.transaction(scope) as transaction:
            schema = await self._schemas.read(transaction, schema_id)
            plain, digests = await self._split(transaction, scope, schema, conditions)
            fields = [condition.field for condition in conditions]
            ids = await self._repository.search_record_ids(
                transaction, schema_id, plain, digests, fields, after, limit + 1
            )
            page = await self._storage.read_page(transaction, ids, limit, fields, model_use)
            # A search that finds nothing tells something as well.
            asked = Act("record.search", schema_subject(schema), schema.owner_id, schema.version)
            await self._ledger.append(transaction, scope, asked)
            await append_page(self._ledger, transaction, scope, page)
        return page

    async def list_versions(
        self, scope: Scope, record_id: UUID, after: int, limit: int
    ) -> list[RecordVersion]:
        """Which versions a record has, in their order, from after a number.

        Raises:
            NotFoundError: When the principal may see no such record.
            NotGrantedError: When they know of it and may not read it.
        """
        async with self.refusing(scope, "record.read", record_id) as transaction:
            versions = await self._repository.list_versions(transaction, record_id, after, limit)
            if not versions and not await self._repository.may_read(transaction, record_id):
                raise await self.refusal(transaction, record_id, GrantAction.READ)
            return versions

    async def replace(
        self,
        scope: Scope,
        record_id: UUID,
        precondition: Precondition,
        data: Mapping[str, Any],
    ) -> Record:
        """Put other data in the place of all that the principal may change, as the next version.

        Raises:
            FieldNotGrantedError: When the data sets what the principal may not change.
            UndercroftError: As of :meth:`update`.
        """
        return await self._change(scope, record_id, precondition, lambda _: data, is_patch=False)

    async def update(
        self, scope: Scope, record_id: UUID, precondition: Precondition, change: Change
    ) -> Record:
        """Add a version, under the version of the schema that the record is at.

        The change is shown what the principal may both read and change, and touches nothing else.

        Returns:
            What the principal may read of it.

        Raises:
            NotFoundError: When the principal may see no such record.
            NotGrantedError: When they know of it and may not change it, or not without reading it.
            FieldNotGrantedError: When the change sets what they may not change.
            GrantEndedError: When what let them ended meanwhile.
            StaleVersionError: When it is at a version that the change was not made from.
            RecordLockedError: When somebody else has locked it.
            LockLostError: When the writer's lock has ended.
            SchemaMismatchError: When the schema does not allow the new data.
            InvalidRequestError: When the new data is no object, or is nested too deep.
            RecordTooLargeError: When it is over the limit.
        """
        return await self._change(scope, record_id, precondition, change, is_patch=True)

    async def _change(
        self,
        scope: Scope,
        record_id: UUID,
        precondition: Precondition,
        change: Change,
        *,
        is_patch: bool,
    ) -> Record:
        async with self.refusing(scope, "record.update", record_id) as transaction:
            await self._storage.begin_write(transaction)
            record = await self._lock_to_change(transaction, scope, record_id, precondition)
            fields = record.access.changeable(is_patch=is_patch)
            if fields is not None and not fields:
                raise NotGrantedError(GrantAction.READ)
            schema = await self._schemas.read(transaction, record.schema_id, record.schema_version)
            # A large patch takes too long for the event loop.
            data = await asyncio.to_thread(apply_change, record.data, change, fields)
            (await self._schemas.validator(schema)).check(data)
            await self._storage.rewrite(transaction, scope, record, schema, data)
            changed = await self._get(transaction, record_id, WRITE)
            await self._append_change(transaction, scope, "record.update", changed)
        return show(changed)

    async def _lock_to_change(
        self,
        transaction: Transaction,
        scope: Scope,
        record_id: UUID,
        precondition: Precondition,
    ) -> Record:
        """All of a record, which nobody else changes, and under grants that do not end, before the transaction does."""
        row = await self._repository.lock_record(transaction, record_id)
        if row is not None and row.owner_id == scope.principal_id:
            check_precondition(row, precondition)
            return await self._get(transaction, record_id)
        # Asked of what is not there, too: no time tells it from what is hidden.
        record = await self._storage.read(transaction, record_id, WRITE)
        if row is None or record is None:
            raise await self.refusal(transaction, record_id, GrantAction.WRITE)
        # The record was locked before the grants, as by whoever marks it as personal or withdraws their consent.
        await self._uses.hold(transaction, record.access.way(*WRITE))
        check_precondition(row, precondition)
        return record

    async def delete(self, scope: Scope, record_id: UUID, precondition: Precondition) -> None:
        """Delete a record with its versions, and destroy its keys.

        Raises:
            NotFoundError: When the principal may see no such record.
            NotGrantedError: When it is not theirs, and they know of it.
            StaleVersionError: When it is at a version that the caller has not read.
            RecordLockedError: When somebody else has locked it.
            LockLostError: When the caller's lock has ended.
        """
        async with self.refusing(scope, "record.delete", record_id) as transaction:
            await self._storage.begin_write(transaction)
            row = await self.require_own(
                transaction,
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

    async def refusal(
        self, transaction: Transaction, record_id: UUID, wanted: GrantAction | None
    ) -> UndercroftError:
        """What is answered whoever may not do something with a record; None for what its owner alone may.

        That there is such a record is known to whoever has any grant of it.
        """
        if await self._repository.list_refused(transaction, [record_id], wanted):
            return NotGrantedError() if wanted is None else NotGrantedError(wanted)
        return no_record(record_id)

    async def require_own(
        self, transaction: Transaction, scope: Scope, record_id: UUID, row: LockedRow | None
    ) -> LockedRow:
        """A record's locked row, when it is the principal's.

        Raises:
            NotFoundError: When it is not there, or another's.
            NotGrantedError: When it is another's, and they know of it.
        """
        if row is None or row.owner_id != scope.principal_id:
            raise await self.refusal(transaction, record_id, None)
        return row

    async def _get(
        self,
        transaction: Transaction,
        record_id: UUID,
        actions: Sequence[GrantAction] = OWNER_ALONE,
    ) -> Record:
        record = await self._storage.read(transaction, record_id, actions)
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
        acts = record.access.acts(scope, GrantAction.WRITE, act)
        await self._ledger.append(transaction, scope, *acts)
