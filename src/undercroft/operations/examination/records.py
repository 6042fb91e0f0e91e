"""Opens a tenant's schemas and records, and compares each version with what the ledger has committed to."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, bind
from undercroft.kit.database import Transaction
from undercroft.operations.examination.findings import Fault
from undercroft.operations.examination.opening import Opening
from undercroft.operations.examination.repository import ExaminationRepository
from undercroft.vault.records.sealing import open_version, version_content

_FIRST: Final = (UUID(int=0), 0)
_PAGE: Final = 500


class RecordExamination:
    """Examines one tenant's schemas and records.

    Args:
        opening: Opens their keys, and takes what is wrong.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._tenant_id = opening.tenant_id
        self._repository = ExaminationRepository()

    async def run(self, transaction: Transaction) -> None:
        """Open every version."""
        await self._open_definitions(transaction)
        await self._open_records(transaction)

    async def _open_definitions(self, transaction: Transaction) -> None:
        last = _FIRST
        while page := await self._repository.list_sealed_definitions(transaction, last, _PAGE):
            for row in page:
                await self._open_definition(row)
            last = (page[-1]["schema_id"], page[-1]["number"])

    async def _open_definition(self, row: Record) -> None:
        schema_id, number = row["schema_id"], row["number"]
        key = await self._opening.open(row)
        if key is None:
            return
        place = bind(self._tenant_id, "schema_versions", schema_id, "sealed_definition", number)
        subject = f"version {number} of schema {schema_id.hex}"
        definition = self._opening.unseal(key, row["sealed"], place, subject)
        if definition is not None:
            self._opening.check_commitment(row, key.salt, definition, subject)

    async def _open_records(self, transaction: Transaction) -> None:
        last = _FIRST
        while page := await self._repository.list_record_parts(transaction, last, _PAGE):
            for _, parts in groupby(page, _version_of):
                await self._open_record(list(parts))
            last = _version_of(page[-1])

    async def _open_record(self, rows: Sequence[Record]) -> None:
        first = rows[0]
        record_id, version = _version_of(first)
        keys = [await self._opening.open(row) for row in rows if row["key_id"] is not None]
        if None in keys:
            # Told of the key, or destroyed.
            return
        subject = f"version {version} of record {record_id.hex}"
        if not keys:
            self._opening.tell(Fault.VALUE_UNREADABLE, subject, "has lost its parts")
            return
        parts = [(key, row["sealed"]) for key, row in zip(keys, rows, strict=True) if key]
        try:
            data, opened = open_version((self._tenant_id, record_id, version), parts)
        except (DecryptionError, ValueError, LookupError):
            self._opening.tell(Fault.VALUE_UNREADABLE, subject, "does not open, or not whole")
            return
        content = version_content(first["schema_id"], first["schema_version"], data)
        self._opening.check_commitment(first, opened[""].salt, content, subject)


def _version_of(row: Record) -> tuple[UUID, int]:
    return row["record_id"], row["version"]
