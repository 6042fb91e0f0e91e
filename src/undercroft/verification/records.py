"""What has become of fields of records."""

import asyncio
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import commit, derive_salt
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.records.commitments import CommittedField, commit_fields
from undercroft.vault.records.models import RECORD_PREFIX
from undercroft.vault.records.sealing import RECORD_KEY, digest_version, open_version
from undercroft.verification.models import Standing
from undercroft.verification.repository import VerificationRepository


@dataclass(frozen=True, slots=True)
class KnownFields:
    """Fields of a version that the ledger knows.

    Attributes:
        entry_id: The entry of its making.
        created_at: When it was made; None when it does not open.
        fields: Those that it has, by the order of their pointers.
    """

    standing: Standing
    entry_id: UUID
    created_at: datetime | None = None
    fields: Sequence[CommittedField] = ()


class RecordStandings:
    """Looks them up, in transactions of the tenant's.

    Args:
        keys: Open what is kept.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._repository = VerificationRepository()

    async def of_fields(
        self, transaction: Transaction, record_id: UUID, number: int, pointers: Sequence[str]
    ) -> KnownFields | None:
        """Where fields of a version stand; None when the ledger has none such.

        All that the version says is held against what the ledger commits to: the ledger has no entry of single fields.
        """
        reference = render_id(RECORD_PREFIX, record_id)
        entry = await self._repository.find_version_entry(transaction, reference, number)
        if entry["entry_id"] is None:
            return None
        rows = await self._repository.list_record_parts(transaction, record_id, number)
        if not rows:
            return KnownFields(Standing.ERASED, entry["entry_id"])
        if rows[0]["part"] != 0:
            return KnownFields(Standing.CHANGED, entry["entry_id"])
        try:
            parts = [(await self._keys.open(row), row["sealed"]) for row in rows]
            # Of a large record it takes milliseconds, and anybody may ask.
            fields = await asyncio.to_thread(
                _open_fields, entry, record_id, number, rows[0], parts, pointers
            )
        except KeyDestroyedError:
            return KnownFields(Standing.ERASED, entry["entry_id"])
        except DecryptionError:
            fields = None
        if fields is None:
            return KnownFields(Standing.CHANGED, entry["entry_id"])
        return KnownFields(Standing.UNCHANGED, entry["entry_id"], rows[0]["created_at"], fields)


def _open_fields(
    entry: Record,
    record_id: UUID,
    number: int,
    row: Record,
    parts: Sequence[tuple[DataKey, bytes]],
    pointers: Sequence[str],
) -> tuple[CommittedField, ...] | None:
    """The fields of a version; None when it is not what the entry commits to."""
    data, keys = open_version((row["key_tenant_id"], record_id, number), parts)
    salt, entry_id = keys[RECORD_KEY].salt, entry["entry_id"]
    committed: dict[str, object] = json.loads(entry["leaf"])
    digest = digest_version(row["schema_id"], row["schema_version"], data)
    expected = commit(derive_salt(salt, entry_id, "content"), digest)
    if not hmac.compare_digest(expected, str(committed.get("content"))):
        return None
    return commit_fields(entry_id, salt, data, pointers)
