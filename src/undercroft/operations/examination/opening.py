"""What each examination of contents does: opens keys and values, holds them against the ledger, tells what is wrong."""

import hashlib
import hmac
import json
from typing import Any
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, unseal
from undercroft.kit.crypto.providers.protocol import KeyMissingError
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import commit, derive_salt
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.operations.examination.findings import Fault, Findings
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey, WrappedTenantKey
from undercroft.vault.keys.service import KeyRing


class Opening:
    """Opens what one tenant keeps.

    Args:
        keys: Opens its keys.
        tenant_id: Whose it is.
        findings: Where problems go.
    """

    def __init__(self, keys: KeyRing, tenant_id: UUID, findings: Findings) -> None:
        self._keys = keys
        self._findings = findings
        self.tenant_id = tenant_id

    async def open_tenant_key(self, row: Record) -> None:
        """Open one of the tenant's own keys, unless it was destroyed."""
        if row["wrapped_key"] is None:
            return
        key = WrappedTenantKey(row["id"], row["tenant_id"], row["wrapped_key"])
        try:
            await self._keys.open_tenant_key(key)
        except (DecryptionError, KeyMissingError) as error:
            self.tell(Fault.KEY_UNUSABLE, f"tenant key {row['id'].hex}", error.message)

    async def open(
        self, row: Record, fault: Fault | None = None, subject: str = ""
    ) -> DataKey | None:
        """The open key of a row; None where it does not open, which is told of the key itself alone."""
        try:
            return await self._keys.open(row)
        except KeyDestroyedError:
            return None
        except (DecryptionError, KeyMissingError) as error:
            if fault is not None:
                self.tell(fault, subject, error.message)
            return None

    def unseal(self, key: DataKey, sealed: bytes, place: bytes, subject: str) -> bytes | None:
        """A sealed value; None where it does not open, which is told."""
        try:
            return unseal(key.material, sealed, place)
        except DecryptionError as error:
            self.tell(Fault.VALUE_UNREADABLE, subject, error.message)
            return None

    def check_commitment(self, row: Record, salt: bytes, content: bytes, subject: str) -> None:
        """Hold a content against the entry that commits to it.

        Args:
            row: Of ``find_commitment``: that entry's id and bytes, and whether one waits for its number.
            salt: Of what the content is a version of.
            content: What was opened.
            subject: What it is, for the finding.
        """
        self.check_digest(row, salt, hashlib.sha256(content).digest(), subject)

    def check_digest(self, row: Record, salt: bytes, sha256: bytes, subject: str) -> None:
        """The same, where the content's SHA-256 is known."""
        if row["entry_id"] is None:
            if not row["is_pending"]:
                self.tell(Fault.COMMITMENT_MISSING, subject, "is in no entry of the ledger")
            return
        try:
            fields: dict[str, Any] = json.loads(row["leaf"])
        except ValueError:
            # Told of the entry.
            return
        derived = derive_salt(salt, row["entry_id"], "content")
        if not hmac.compare_digest(commit(derived, sha256), str(fields.get("content"))):
            self.tell(
                Fault.COMMITMENT_MISMATCH,
                subject,
                f"is not the content that {render_id(ENTRY_PREFIX, row['entry_id'])} commits to",
            )

    def tell(self, fault: Fault, subject: str, message: str) -> None:
        """Report what is wrong."""
        self._findings.add(fault, self.tenant_id, subject, message)
