"""What has become of versions of documents and of grants."""

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, bind, unseal
from undercroft.kit.database import Transaction
from undercroft.kit.ids import parse_id, render_id
from undercroft.ledger.leaves import commit, derive_salt
from undercroft.ledger.models import GRANT_PREFIX
from undercroft.sharing.consents.models import ConsentState
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX
from undercroft.verification.models import (
    GrantStanding,
    NamedGrant,
    Standing,
)
from undercroft.verification.repository import VerificationRepository

_GONE: Final = GrantStanding.REVOKED
"""Grants go with what they are of."""


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A version that the ledger knows.

    Attributes:
        entry_id: The entry of its making.
        row: What is kept of it; None when it is not there any more.
        digest: SHA-256 of its content; None when that cannot be read.
    """

    standing: Standing
    entry_id: UUID
    row: Record | None = None
    digest: bytes | None = None


class Standings:
    """Looks them up, in transactions of the tenant's.

    Args:
        keys: Open the digests of what is kept.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._repository = VerificationRepository()

    async def of_version(
        self, transaction: Transaction, document_id: UUID, number: int
    ) -> KnownVersion | None:
        """Where a version stands; None when the ledger has none.

        The digest of what is kept is held against what the ledger commits to: rows that were altered together do not
        pass for what they were.
        """
        reference = render_id(DOCUMENT_PREFIX, document_id)
        row = await self._repository.find_version(transaction, document_id, number)
        entry = await self._repository.find_commitment(transaction, reference, number)
        entry_id = entry["entry_id"]
        if entry_id is None and row is not None and entry["is_pending"]:
            entry_id = row["entry_id"]
        if entry_id is None:
            return None
        if row is None:
            return KnownVersion(Standing.ERASED, entry_id)
        try:
            digest = await self._open_digest(row)
        except KeyDestroyedError:
            return KnownVersion(Standing.ERASED, entry_id)
        except DecryptionError:
            return KnownVersion(Standing.CHANGED, entry_id, row)
        if not _commits_to(entry, row["document_salt"], digest):
            return KnownVersion(Standing.CHANGED, entry_id, row, digest)
        standing = Standing.DELETED if row["is_deleted"] else Standing.UNCHANGED
        return KnownVersion(standing, entry_id, row, digest)

    async def of_grants(
        self, transaction: Transaction, references: Sequence[str]
    ) -> list[NamedGrant]:
        """Where grants stand, in the order in which they are named."""
        ids = [parse_id(GRANT_PREFIX, reference) for reference in references]
        found = await self._repository.list_grants(
            transaction, [grant_id for grant_id in ids if grant_id is not None]
        )
        return [
            _describe_grant(reference, None if grant_id is None else found.get(grant_id))
            for reference, grant_id in zip(references, ids, strict=True)
        ]

    async def _open_digest(self, row: Record) -> bytes:
        key = await self._keys.open(row)
        place = bind(row["tenant_id"], "blobs", row["id"], "sha256")
        return unseal(key.material, row["sealed_sha256"], place)


def first_end(grants: Sequence[NamedGrant]) -> datetime | None:
    """When the first of those ends that still count."""
    ends = [
        grant.valid_until
        for grant in grants
        if grant.standing is GrantStanding.LIVE and grant.valid_until is not None
    ]
    return min(ends, default=None)


def _describe_grant(reference: str, row: Record | None) -> NamedGrant:
    if row is None:
        return NamedGrant(reference, _GONE, None, None)
    consent = None if row["consent"] is None else ConsentState(row["consent"])
    return NamedGrant(reference, GrantStanding(row["standing"]), row["expires_at"], consent)


def _commits_to(entry: Record, salt: bytes, digest: bytes) -> bool:
    """Whether the ledger's entry is of just this content; one that waits for its number is not readable yet."""
    if entry["entry_id"] is None:
        return True
    fields: dict[str, object] = json.loads(entry["leaf"])
    derived = derive_salt(salt, entry["entry_id"], "content")
    return hmac.compare_digest(commit(derived, digest), str(fields.get("content")))
