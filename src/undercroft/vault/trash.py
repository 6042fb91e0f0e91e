"""The trash: where a deleted document waits, invisible, until it is restored or its time is over."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from undercroft.kit.database import DATABASE_GONE, Database
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.vault.access import DocumentAccess
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.erasure import Erasure
from undercroft.vault.errors import LegalHoldError, TrashExpiredError
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX, Document, ExpiredDocument
from undercroft.vault.repository import DocumentRepository

_BATCH: Final = 100

_log: Final = structlog.stdlib.get_logger(__name__)


class Trash:
    """Puts documents into the trash, restores them, and erases what has been there for its time.

    Args:
        database: Where they are.
        blobs: Where their bytes are.
        keys: Open their names.
        ledger: Where it is put on record.
        retention: How long a document can be restored.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        keys: KeyRing,
        ledger: Ledger,
        retention: timedelta,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._retention = retention
        self._access = DocumentAccess(database, keys, ledger)
        self._erasure = Erasure(blobs)
        self._repository = DocumentRepository()

    async def put(
        self, scope: Scope, document_id: UUID, expected: Collection[int] | None = None
    ) -> Document:
        """Put a document into the trash: from the commit on nothing reads, lists, finds or cites it.

        Raises:
            NotFoundError: When the principal may see no such document.
            StaleDocumentError: When it is at none of the expected revisions.
            LegalHoldError: When it is under legal hold.
        """
        async with self._access.refusing(scope, "document.trash", document_id) as transaction:
            document = await self._access.lock(
                transaction, document_id, expected, even_damaged=True
            )
            if document.held_at is not None:
                raise LegalHoldError
            await self._repository.trash_document(transaction, document_id, self._retention)
            await self._access.record(transaction, scope, "document.trash", document)
            return await self._access.find(
                transaction, document_id, is_trashed=True, even_damaged=True
            )

    async def restore(
        self, scope: Scope, document_id: UUID, expected: Collection[int] | None = None
    ) -> Document:
        """Take a document out of the trash, with its versions and its memberships. One that is not in it stays as is.

        Raises:
            NotFoundError: When the principal has no such document.
            StaleDocumentError: When it is at none of the expected revisions.
            TrashExpiredError: When its time there is over.
        """
        async with self._access.refusing(scope, "document.restore", document_id) as transaction:
            document = await self._access.lock(transaction, document_id, expected, is_trashed=None)
            if document.deleted_at is None:
                return document  # restored already: a request that is sent again
            if not await self._repository.restore_document(transaction, document_id):
                raise TrashExpiredError
            document = await self._access.find(transaction, document_id)
            await self._access.record(transaction, scope, "document.restore", document)
            return document

    async def purge(self) -> int:
        """Erase what has been in the trash for its time, whoever's it is, a transaction each; how many there were."""
        purged = 0
        while True:
            async with self._database.transaction_without_scope() as transaction:
                expired = await self._repository.list_expired_documents(transaction, _BATCH)
            erased = [await self._purge_or_log(document) for document in expired]
            purged += sum(erased)
            # What another worker has, what was held meanwhile, or could not be erased would be listed again and again.
            if len(expired) < _BATCH or not any(erased):
                return purged

    async def _purge_or_log(self, expired: ExpiredDocument) -> bool:
        try:
            return await self._purge(expired)
        except DATABASE_GONE:
            raise
        # Whatever one document meets, a deadlock or a defect, must not keep the others for ever.
        except Exception as error:  # noqa: BLE001
            _log.error("document_not_purged", document_id=str(expired.id), exc_info=error)
            return False

    async def _purge(self, expired: ExpiredDocument) -> bool:
        """In the name of its owner, who deleted it."""
        async with self._database.transaction(expired) as transaction:
            # Without its key: what nobody can open any more has to go all the same.
            row = await self._repository.lock_expired_document(transaction, expired.id)
            if row is None:
                return False
            subject = Subject(render_id(DOCUMENT_PREFIX, expired.id), row["salt"])
            act = Act("document.purge", subject, expired.principal_id, row["current_version"])
            await self._ledger.append(transaction, expired, act)
            names = await self._erasure.erase(transaction, expired.id)
        await self._erasure.delete_bytes(expired.tenant_id, names)
        return True
