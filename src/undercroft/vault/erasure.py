"""Erasing a document: its row and all that was derived from it at once, its bytes after the commit."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog

from undercroft.kit.database import Transaction
from undercroft.kit.errors import UnavailableError
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.repository import DocumentRepository

_log: Final = structlog.stdlib.get_logger(__name__)


class Erasure:
    """Erases documents that are locked. The database does the rest: see docs/erasure.md."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._repository = DocumentRepository()

    async def erase(self, transaction: Transaction, document_id: UUID) -> list[bytes]:
        """Delete a document's rows, and those of its contents that no other document of its owner has.

        A content that only sealed documents still have leaves the index.

        Returns:
            The names of the bytes to delete once the transaction is committed.
        """
        blob_ids = await self._repository.delete_document(transaction, document_id)
        names: list[bytes] = []
        for blob_id in dict.fromkeys(blob_ids):
            name = await self._repository.delete_unused_blob(transaction, blob_id)
            if name is None:
                await self._repository.forget_sealed_content(transaction, blob_id)
            else:
                names.append(name)
        return names

    async def delete_bytes(self, tenant_id: UUID, names: Sequence[bytes]) -> None:
        """Delete bytes that no row names any more.

        What a crash or a store that does not answer leaves here, nothing can open, and the sweep finds. The erasure is
        done: an error would have its client ask again, for a document that is not there.
        """
        try:
            for name in names:
                await self._blobs.delete(tenant_id, name)
        except (UnavailableError, OSError) as error:
            _log.warning("bytes_left_to_sweep", tenant_id=str(tenant_id), error=repr(error))
