"""A tenant's schemas and records, every version, decrypted."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import bind, unseal
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import render_time, user_reference
from undercroft.operations.exports.repository import ExportRepository
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.records.errors import RECORD_PREFIX
from undercroft.vault.records.sealing import open_version
from undercroft.vault.schemas.errors import SCHEMA_PREFIX

_PAGE: Final = 500
_FIRST: Final = (UUID(int=0), 0)

Pages = AsyncIterator[Sequence[Mapping[str, Any]]]


class RecordPages:
    """Opens schemas and records page by page.

    Args:
        keys: Opens what they are encrypted with.
        snapshot: In the tenant's scope.
        tenant_id: Whose they are.
    """

    def __init__(self, keys: KeyRing, snapshot: Transaction, tenant_id: UUID) -> None:
        self._keys = keys
        self._snapshot = snapshot
        self._tenant_id = tenant_id
        self._repository = ExportRepository()

    async def schemas(self) -> Pages:
        """Every version of every schema."""
        last = _FIRST
        while page := await self._repository.list_schema_versions(self._snapshot, last, _PAGE):
            yield [await self._schema(row) for row in page]
            last = (page[-1]["id"], page[-1]["number"])

    async def records(self) -> Pages:
        """Every version of every record."""
        last = _FIRST
        while page := await self._repository.list_record_parts(self._snapshot, last, _PAGE):
            yield [await self._record(list(parts)) for _, parts in groupby(page, _version_of)]
            last = _version_of(page[-1])

    async def _schema(self, row: Record) -> Mapping[str, Any]:
        key = await self._keys.open(row)
        schema_id, number = row["id"], row["number"]
        name_place = bind(self._tenant_id, "schemas", schema_id, "sealed_name")
        place = bind(self._tenant_id, "schema_versions", schema_id, "sealed_definition", number)
        return {
            "id": render_id(SCHEMA_PREFIX, schema_id),
            "version": number,
            "owner": user_reference(row["owner_id"]),
            "name": unseal(key.material, row["sealed_name"], name_place).decode(),
            "definition": json.loads(unseal(key.material, row["sealed_definition"], place)),
            "created_at": render_time(row["created_at"]),
        }

    async def _record(self, rows: Sequence[Record]) -> Mapping[str, Any]:
        first = rows[0]
        parts = [(await self._keys.open(row), row["sealed"]) for row in rows]
        data, _ = open_version((self._tenant_id, *_version_of(first)), parts)
        return {
            "id": render_id(RECORD_PREFIX, first["record_id"]),
            "version": first["version"],
            "owner": user_reference(first["owner_id"]),
            "author": user_reference(first["author_id"]),
            "schema": render_id(SCHEMA_PREFIX, first["schema_id"]),
            "schema_version": first["schema_version"],
            "data": data,
            "created_at": render_time(first["created_at"]),
        }


def _version_of(row: Record) -> tuple[UUID, int]:
    return row["record_id"], row["version"]
