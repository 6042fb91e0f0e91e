"""Receipts: what the tenant's log signs about one version, for its owner to keep and anybody to verify offline."""

from typing import Final
from uuid import UUID

from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.leaves import render_time
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.ledger.notes import sign_note
from undercroft.vault.errors import NoReceiptError
from undercroft.vault.models import DOCUMENT_PREFIX
from undercroft.vault.versions import VersionService

HEADER: Final = "undercroft-receipt@v1"
"""The first line. A checkpoint begins with its log's origin, so neither can be taken for the other."""


class Receipts:
    """Writes and signs receipts, when they are asked for: what they say never changes."""

    def __init__(self, versions: VersionService, keys: LogKeys) -> None:
        self._versions = versions
        self._keys = keys

    async def get(self, scope: Scope, document_id: UUID, number: int) -> str:
        """The receipt of a version, a signed note.

        Raises:
            NotFoundError: When the principal may see no such document, or it has no such version.
            NoReceiptError: When the version was made before there were receipts.
            KeyUnavailableError: When the key provider does not answer.
        """
        version = await self._versions.get(scope, document_id, number)
        if version.entry_id is None:
            raise NoReceiptError
        keys = await self._keys.get_newest(scope.tenant_id)
        lines = (
            HEADER,
            f"log {keys.origin}",
            f"document {render_id(DOCUMENT_PREFIX, document_id)}",
            f"version {number}",
            f"size {version.byte_size}",
            f"sha256 {version.sha256.hex()}",
            f"time {render_time(version.created_at)}",
            f"entry {render_id(ENTRY_PREFIX, version.entry_id)}",
        )
        return sign_note("".join(f"{line}\n" for line in lines), keys.signers)
