"""Erasing what a notice promised to be erased, once consent to it was withdrawn or is kept for long enough."""

from typing import Final

import structlog

from undercroft.kit.database import DATABASE_GONE, Database
from undercroft.kit.ids import render_id
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.consents.erasures import DueErasures
from undercroft.sharing.consents.models import DueErasure
from undercroft.sharing.models import ResourceKind
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.erasure import Erasure
from undercroft.vault.models import DOCUMENT_PREFIX
from undercroft.vault.records.models import RECORD_PREFIX
from undercroft.vault.records.storage import RecordStorage
from undercroft.vault.repository import DocumentRepository

_log: Final = structlog.stdlib.get_logger(__name__)


class PromisedErasure:
    """Erases documents and records in the name of their owners, who promised it.

    A legal hold wins: what is held is erased when the hold is lifted. A lock on a record does not keep it.

    Args:
        database: Where they are.
        blobs: Where documents' bytes are.
        storage: Deletes records.
        ledger: Where each erasure is put on record.
    """

    def __init__(
        self, database: Database, blobs: BlobStore, storage: RecordStorage, ledger: Ledger
    ) -> None:
        self._database = database
        self._storage = storage
        self._ledger = ledger
        self._due = DueErasures(database)
        self._erasure = Erasure(blobs)
        self._documents = DocumentRepository()

    async def erase(self) -> int:
        """Erase what is due, whoever's it is, a transaction each; how many there were."""
        erased = 0
        for due in await self._due.list_due():
            try:
                erased += await self._erase(due)
            except DATABASE_GONE:
                raise
            # Whatever one thing meets, a deadlock or a defect, must not keep the others for ever.
            except Exception as error:  # noqa: BLE001
                _log.error("promise_not_kept", resource=str(due.resource.id), exc_info=error)
        return erased

    async def _erase(self, due: DueErasure) -> bool:
        if due.resource.kind is ResourceKind.RECORD:
            return await self._erase_record(due)
        return await self._erase_document(due)

    async def _erase_document(self, due: DueErasure) -> bool:
        async with self._database.transaction(due) as transaction:
            # Without its key: what nobody can open any more has to go all the same.
            row = await self._documents.lock_promised_document(transaction, due.resource.id)
            if row is None or not await self._due.is_due(transaction, due):
                return False
            subject = Subject(render_id(DOCUMENT_PREFIX, due.resource.id), row["salt"])
            act = Act("document.delete", subject, due.principal_id, row["current_version"])
            await self._ledger.append(transaction, due, act)
            names = await self._erasure.erase(transaction, due.resource.id)
        await self._erasure.delete_bytes(due.tenant_id, names)
        return True

    async def _erase_record(self, due: DueErasure) -> bool:
        async with self._database.transaction(due) as transaction:
            await self._storage.begin_write(transaction)
            found = await self._storage.lock_for_erasure(transaction, due.resource.id)
            if found is None or not await self._due.is_due(transaction, due):
                return False
            version, salt = found
            subject = Subject(render_id(RECORD_PREFIX, due.resource.id), salt)
            act = Act("record.delete", subject, due.principal_id, version)
            await self._ledger.append(transaction, due, act)
            await self._storage.delete(transaction, due.resource.id)
        return True
