"""Legal holds: by an admin of the tenant, on anybody's document, without learning what it holds."""

from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.vault.access import no_document
from undercroft.vault.models import DOCUMENT_PREFIX, LegalHold
from undercroft.vault.repository import DocumentRepository


class LegalHolds:
    """Places and lifts holds. Whoever calls it has made sure that an admin asks.

    The document's row is locked, as it is by what deletes it: of a hold and an erasure at the same instant one is
    first, and the other sees it.
    """

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._repository = DocumentRepository()

    async def place(self, scope: Scope, document_id: UUID, reason: str) -> LegalHold:
        """Have a document kept, in the trash or not; again, with another reason, if it is held.

        Args:
            scope: The admin's.
            document_id: A document of the tenant's.
            reason: A code, never a free text: the ledger keeps it for ever.

        Raises:
            NotFoundError: When the tenant has no such document.
        """
        async with self._database.transaction(scope) as transaction:
            await self._repository.lock_tenant_key(transaction)
            row = await self._lock(transaction, document_id)
            held_at = await self._repository.hold_document(transaction, document_id, reason)
            await self._record(transaction, scope, "document.hold", row, reason)
        return LegalHold(document_id, reason, held_at)

    async def lift(self, scope: Scope, document_id: UUID) -> None:
        """End a hold; nothing happens where there is none.

        Raises:
            NotFoundError: When the tenant has no such document.
        """
        async with self._database.transaction(scope) as transaction:
            row = await self._lock(transaction, document_id)
            if row["held_at"] is None:
                return
            await self._repository.lift_hold(transaction, document_id)
            await self._record(transaction, scope, "document.unhold", row, row["hold_reason"])

    async def _lock(self, transaction: Transaction, document_id: UUID) -> Record:
        row = await self._repository.lock_tenant_document(transaction, document_id)
        if row is None:
            raise no_document(document_id)
        return row

    async def _record(
        self, transaction: Transaction, scope: Scope, action: Action, row: Record, reason: str
    ) -> None:
        salt = await self._repository.get_key_salt(transaction, row["data_key_id"])
        subject = Subject(render_id(DOCUMENT_PREFIX, row["id"]), salt)
        act = Act(action, subject, row["owner_id"], purpose=reason)
        await self._ledger.append(transaction, scope, act)
