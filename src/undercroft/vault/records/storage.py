"""Records' rows, keys and digests, read and written in the callers' transactions. The statements say who may read."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Final, cast
from uuid import UUID

import structlog
from asyncpg import Record as Row

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Transaction
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Subject
from undercroft.sharing.errors import ModelUseError
from undercroft.sharing.models import GrantAction, ModelUse
from undercroft.sharing.ways import OWNER_ALONE
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.records.access import (
    FIND,
    READ,
    RecordAccess,
    read_record_access,
    shows_some,
)
from undercroft.vault.records.errors import PlainFieldTooLargeError, RecordTooLargeError
from undercroft.vault.records.models import (
    RECORD_PREFIX,
    DamagedRecord,
    Record,
    RecordPage,
    Wanted,
)
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.records.sealing import (
    RECORD_KEY,
    open_fields,
    open_remainder,
    open_version,
    seal_version,
)
from undercroft.vault.schemas.fitting import count_fitting
from undercroft.vault.schemas.json_text import canonical
from undercroft.vault.schemas.models import Schema
from undercroft.vault.schemas.pointers import (
    read_fields,
    restore_fields,
    select_fields,
    without_fields,
)

_log: Final = structlog.stdlib.get_logger(__name__)

LARGEST_DATA: Final = 256 * 1024
"""Bytes, in canonical JSON."""
LARGEST_PLAIN_FIELD: Final = 2 * 1024
"""The same."""
_LARGE: Final = 64 * 1024
"""Bytes that take about a millisecond to decrypt and to parse."""


class RecordStorage:
    """Encrypts and decrypts records, and keeps what they are found by."""

    def __init__(self, keys: KeyRing, ids: IdSource) -> None:
        self._keys = keys
        self._ids = ids
        self._repository = RecordRepository()

    async def begin_write(self, transaction: Transaction) -> None:
        """Before a transaction locks a record that is there.

        Against the destruction of the tenant's keys at the same time. It has the tenant's keys first and then empties
        every record's digests and fields; a change has the record first and may then need the tenant's key.
        """
        await self._keys.hold(transaction)

    async def lock_for_erasure(
        self, transaction: Transaction, record_id: UUID
    ) -> tuple[int, bytes] | None:
        """Lock a record that is to be erased, whoever has it locked; None when it is gone.

        Returns:
            Its version, and the salt of the ledger's commitments to it.
        """
        row = await self._repository.lock_record_for_delete(transaction, record_id)
        owner = await self._repository.find_record_owner(transaction, record_id)
        return None if row is None or owner is None else (row.current_version, owner["salt"])

    async def delete(self, transaction: Transaction, record_id: UUID) -> None:
        """Delete a locked record with its versions, and its keys with them."""
        await self._repository.delete_record(transaction, record_id)

    async def insert(
        self, transaction: Transaction, scope: Scope, schema: Schema, data: Mapping[str, Any]
    ) -> UUID:
        """Create a record of the principal's at version 1, from data that the schema allows.

        Raises:
            RecordTooLargeError: When the data is over the limit.
            PlainFieldTooLargeError: When a plain field is over its own.
        """
        check_size(data)
        record_id = self._ids.new()
        keys = {RECORD_KEY: await self._keys.create(transaction, scope)}
        await self._repository.insert_record(
            transaction,
            record_id,
            schema.id,
            schema.version,
            keys[RECORD_KEY].id,
            _plain(schema, data),
        )
        await self._insert_version(transaction, scope, (record_id, 1), schema, data, keys)
        return record_id

    async def rewrite(
        self,
        transaction: Transaction,
        scope: Scope,
        record: Record,
        schema: Schema,
        data: Mapping[str, Any],
    ) -> None:
        """Add a version to a record whose row the transaction has locked.

        Raises:
            RecordTooLargeError: When the data is over the limit.
            PlainFieldTooLargeError: When a plain field is over its own.
        """
        check_size(data)
        number = record.latest + 1
        await self._repository.delete_digests(transaction, record.id)
        await self._insert_version(
            transaction, scope, (record.id, number), schema, data, dict(record.keys)
        )
        await self._repository.update_record(
            transaction, record.id, number, schema.version, _plain(schema, data)
        )

    async def read(
        self,
        transaction: Transaction,
        record_id: UUID,
        actions: Sequence[GrantAction] = OWNER_ALONE,
    ) -> Record | None:
        """The latest version of a record: all of it, as the next version is made from all of it.

        Args:
            transaction: Where it is read.
            record_id: Which record.
            actions: By a grant of the first of which another's is read; the ways of the others come with it.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
            KeyUnavailableError: When the provider does not answer.
            DecryptionError: When what is stored was altered, moved or left out.
        """
        rows = await self._repository.list_parts(transaction, [Wanted(record_id)], actions)
        return await self._open(rows, _access(rows)) if rows else None

    async def read_each(
        self, transaction: Transaction, wanted: Sequence[Wanted]
    ) -> list[Record | UndercroftError | None]:
        """What the principal may read of versions of records, in the order in which they are wanted.

        Returns:
            Each one; why it does not open, which is no reason for the others; None for what is not there.
        """
        rows = await self._repository.list_parts(transaction, wanted, READ)
        parts = {place: list(own) for place, own in groupby(rows, key=_place)}
        return [
            await self._open_or_error(parts[place], one.model_use) if place in parts else None
            for place, one in enumerate(wanted)
        ]

    async def read_page(
        self,
        transaction: Transaction,
        record_ids: Sequence[UUID],
        limit: int,
        found_by: Sequence[str] | Mapping[UUID, Sequence[str]] = (),
        model_use: frozenset[ModelUse] = frozenset(),
    ) -> RecordPage:
        """The latest versions of the first of some records, no more than the limit and than make a page.

        Args:
            transaction: Where they are read.
            record_ids: The principal's own, and what they may find, in their order. Those beyond the limit only tell
                that there are more.
            limit: The most records.
            found_by: By which fields they were found, all of them or each: here it is asked again whether the principal
                may.
            model_use: What a model is going to do with them: what it is not let have is left out.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
            KeyUnavailableError: When the provider does not answer.
        """
        sizes = await self._repository.list_sizes(transaction, record_ids[:limit])
        # What is seen in part counts as the largest: how many make a page must not tell how long what is hidden is.
        fitting = record_ids[
            : count_fitting(sizes.get(key, LARGEST_DATA) for key in record_ids[:limit])
        ]
        rows = await self._repository.list_parts(
            transaction, [Wanted(key) for key in fitting], FIND
        )
        found = [list(parts) for _, parts in groupby(rows, key=_place)]
        records = [
            await self._describe(parts, access)
            for parts in found
            if (access := _access(parts, model_use)).may_find_by(
                found_by[parts[0]["id"]] if isinstance(found_by, Mapping) else found_by
            )
        ]
        return RecordPage(records, len(fitting) < len(record_ids))

    async def digest(
        self, transaction: Transaction, scope: Scope, schema_id: UUID, field: str, value: object
    ) -> bytes:
        """What a record is found by whose indexed field has that value."""
        return await self._keys.lookup_digest(
            transaction, scope, f"record {schema_id} {field}", canonical(value)
        )

    async def _insert_version(
        self,
        transaction: Transaction,
        scope: Scope,
        place: tuple[UUID, int],
        schema: Schema,
        data: Mapping[str, Any],
        keys: dict[str, DataKey],
    ) -> None:
        record_id, number = place
        sensitive = schema.definition.sensitive_fields
        fields = read_fields(data, sensitive)
        for field in fields:
            if field not in keys:
                keys[field] = await self._keys.create(transaction, scope)
        await self._repository.insert_version(
            transaction, record_id, number, schema.id, schema.version
        )
        parts = seal_version(
            (scope.tenant_id, record_id, number), without_fields(data, sensitive), fields, keys
        )
        await self._repository.insert_parts(transaction, record_id, number, parts)
        indexed = read_fields(data, schema.definition.indexed_fields)
        digests = [
            await self.digest(transaction, scope, schema.id, field, value)
            for field, value in indexed.items()
        ]
        if digests:
            await self._repository.insert_digests(transaction, record_id, digests)

    async def _open_or_error(
        self, rows: Sequence[Row], model_use: frozenset[ModelUse]
    ) -> Record | UndercroftError:
        access = _access(rows, model_use)
        if access.ways is not None and not access.ways:
            return ModelUseError()
        if sum(len(row["sealed"] or b"") for row in rows) >= _LARGE:
            # One is no matter; of sixteen in a row the event loop would wait for all.
            await asyncio.sleep(0)
        try:
            return await self._open_shown(rows, access)
        except UndercroftError as error:
            return error

    async def _describe(self, rows: Sequence[Row], access: RecordAccess) -> Record | DamagedRecord:
        """One that does not open must not hide the others."""
        try:
            return await self._open_shown(rows, access)
        except DecryptionError:
            row = rows[0]
            _log.error("record_damaged", record_id=str(row["id"]), version=row["version"])
            return DamagedRecord(
                id=row["id"],
                owner_id=row["owner_id"],
                schema_id=row["schema_id"],
                schema_version=row["schema_version"],
                version=row["version"],
                created_at=row["created_at"],
                updated_at=row["updated_at"],
            )

    async def _open(self, rows: Sequence[Row], access: RecordAccess) -> Record:
        row = rows[0]
        if row["part"] != 0:
            raise DecryptionError
        parts = [(await self._keys.open(part), part["sealed"]) for part in rows]
        data, keys = open_version(_place_of(row), parts)
        return _read_record(row, data, keys, access)

    async def _open_shown(self, rows: Sequence[Row], access: RecordAccess) -> Record:
        """What the caller may read of a version, and no part decrypted that they may not."""
        row = rows[0]
        fields = access.fields(GrantAction.READ)
        if fields is None:
            return await self._open(rows, access)
        if row["part"] != 0:
            raise DecryptionError
        keys = {RECORD_KEY: await self._keys.open(row)}
        data: dict[str, Any] = {}
        if fields:
            data, names = open_remainder(
                _place_of(row), keys[RECORD_KEY], row["sealed"], len(rows) - 1
            )
            parts = {
                name: (await self._keys.open(part), part["sealed"])
                for name, part in zip(names, rows[1:], strict=True)
                if shows_some(fields, name)
            }
            restore_fields(data, open_fields(_place_of(row), parts))
        return show(_read_record(row, data, keys, access))


def show(record: Record) -> Record:
    """A record as far as the caller may read it."""
    fields = record.access.fields(GrantAction.READ)
    if fields is None:
        return record
    return replace(record, data=select_fields(record.data, fields), fields=fields)


def _access(rows: Sequence[Row], model_use: frozenset[ModelUse] = frozenset()) -> RecordAccess:
    return read_record_access(rows[0]["ways"]).for_models(model_use)


def _read_record(
    row: Row, data: Mapping[str, Any], keys: Mapping[str, DataKey], access: RecordAccess
) -> Record:
    return Record(
        id=row["id"],
        owner_id=row["owner_id"],
        schema_id=row["schema_id"],
        schema_version=row["schema_version"],
        version=row["version"],
        latest=row["current_version"],
        data=data,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        keys=keys,
        access=access,
    )


def _place_of(row: Row) -> tuple[UUID, UUID, int]:
    """What a version's parts are bound to."""
    return row["key_tenant_id"], row["id"], row["version"]


def _place(row: Row) -> int:
    """Which of the wanted versions it belongs to, from 0."""
    return cast("int", row["place"]) - 1


def subject_of(record: Record) -> Subject:
    """How the ledger names a record."""
    return Subject(render_id(RECORD_PREFIX, record.id), record.key.salt)


def check_size(data: Mapping[str, Any]) -> None:
    """Refuse data that is too large to be kept.

    Raises:
        RecordTooLargeError: When it is.
    """
    if len(canonical(data)) > LARGEST_DATA:
        raise RecordTooLargeError(LARGEST_DATA)


def check_plain(fields: Mapping[str, Any]) -> None:
    """Refuse plain fields that are too large to be kept or looked for.

    The database looks for each part of what is wanted among all parts of what is there, so that of two large arrays one
    look-up would keep a connection busy until it is cut off.

    Raises:
        PlainFieldTooLargeError: When one is.
    """
    for field, value in fields.items():
        if len(canonical(value)) > LARGEST_PLAIN_FIELD:
            raise PlainFieldTooLargeError(field, LARGEST_PLAIN_FIELD)


def _plain(schema: Schema, data: Mapping[str, Any]) -> dict[str, Any]:
    fields = read_fields(data, schema.definition.plain_fields)
    check_plain(fields)
    return {str(schema.id): fields}
