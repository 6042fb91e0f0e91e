"""Receipts of records: what the tenant's log signs about chosen fields of one version, to be shown one by one."""

import json
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from undercroft.kit.database import Database
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.leaves import render_time
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.ledger.notes import sign_note
from undercroft.sharing.policy import covers_pointer
from undercroft.vault.records.commitments import CommittedField, check_pointers, commit_fields
from undercroft.vault.records.errors import FieldNotThereError, NoCommitmentError
from undercroft.vault.records.models import RECORD_PREFIX, Record
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.records.service import RecordService

FORMAT: Final = "undercroft-record-fields@v1"
HEADER: Final = "undercroft-record-receipt@v1"


class RecordReceipts:
    """Writes and signs them when they are asked for: what they say never changes.

    Args:
        database: Where the ledger's entries of records are.
        records: Read them for whoever may, and put that on record.
        keys: Sign.
    """

    def __init__(self, database: Database, records: RecordService, keys: LogKeys) -> None:
        self._database = database
        self._records = records
        self._keys = keys
        self._repository = RecordRepository()

    async def get(
        self, scope: Scope, record_id: UUID, version: int | None, pointers: Sequence[str]
    ) -> bytes:
        """The receipt of some fields of a version, the latest unless a number is given, and what opens each.

        Raises:
            OverlappingFieldsError: When one of the fields lies in another.
            NotFoundError: When the principal may see no such record, or it has no such version.
            NotGrantedError: When they know of it and may not read it.
            FieldNotThereError: When it has no such field, or they may not read that.
            NoCommitmentError: When the ledger commits to nothing that the version says.
            KeyUnavailableError: When the key provider does not answer.
        """
        check_pointers(pointers)
        record = await self._records.get(scope, record_id, version)
        entry_id = await self._find_entry(scope, record)
        fields = commit_fields(entry_id, record.key.salt, record.data, pointers)
        shown = {field.pointer for field in fields if covers_pointer(record.fields, field.pointer)}
        missing = next((pointer for pointer in pointers if pointer not in shown), None)
        if missing is not None:
            raise FieldNotThereError(missing)
        keys = await self._keys.get_newest(scope.tenant_id)
        receipt = sign_note(_describe(keys.origin, record, entry_id, fields), keys.signers)
        bundle = {
            "format": FORMAT,
            "openings": [
                {"field": each.pointer, "salt": each.salt.hex(), "value": each.value.decode()}
                for each in fields
            ],
            "receipt": receipt,
        }
        return json.dumps(bundle, ensure_ascii=False, indent=1).encode()

    async def _find_entry(self, scope: Scope, record: Record) -> UUID:
        reference = render_id(RECORD_PREFIX, record.id)
        async with self._database.transaction(scope) as transaction:
            entry_id = await self._repository.find_version_entry(
                transaction, reference, record.version
            )
        if entry_id is None:
            raise NoCommitmentError
        return entry_id


def _describe(origin: str, record: Record, entry_id: UUID, fields: Sequence[CommittedField]) -> str:
    lines = (
        HEADER,
        f"log {origin}",
        f"record {render_id(RECORD_PREFIX, record.id)}",
        f"version {record.version}",
        f"time {render_time(record.updated_at)}",
        f"entry {render_id(ENTRY_PREFIX, entry_id)}",
        # In ASCII: a pointer may hold a line's end, which a note must not.
        *(f"field {each.commitment} {json.dumps(each.pointer)}" for each in fields),
    )
    return "".join(f"{line}\n" for line in lines)
