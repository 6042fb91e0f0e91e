"""What is put on record of collections: what was done with them, and who was refused what."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import Target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.errors import no_collection
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.retrieval.collections.repository import CollectionRepository
from undercroft.sharing.errors import NotGrantedError
from undercroft.vault.models import DOCUMENT_PREFIX


class CollectionJournal:
    """Appends acts on collections, and on documents as members of them."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._repository = CollectionRepository()

    def refusing(
        self,
        scope: Scope,
        action: Action,
        collection_ids: Sequence[UUID],
        document_ids: Sequence[UUID] = (),
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction on these, whose refusal is put on record of the first that is another's, or else of one.

        Where the rest is the caller's own, one that is not there is what they were refused.
        """
        wanted = len({*collection_ids, *document_ids})

        async def find(transaction: Transaction) -> Target | None:
            row = await self._repository.find_refused(transaction, collection_ids, document_ids)
            if row is None or (row["owner_id"] == scope.principal_id and row["found"] < wanted):
                return None
            prefix = COLLECTION_PREFIX if row["is_collection"] else DOCUMENT_PREFIX
            return Target(Subject(render_id(prefix, row["id"]), row["salt"]), row["owner_id"])

        return recording_refusal(self._database, self._ledger, scope, action, find)

    async def refusal(self, transaction: Transaction, collection_id: UUID) -> UndercroftError:
        """Why somebody cannot change a collection: that it is another's, for whoever knows of it."""
        row = await self._repository.find_collection(transaction, collection_id)
        is_known = row is not None and row["actions"] is not None
        return NotGrantedError() if is_known else no_collection(collection_id)

    async def record(self, transaction: Transaction, scope: Scope, *acts: Act) -> None:
        """Put on record what the principal did with collections and documents of theirs."""
        await self._ledger.append(transaction, scope, *acts)


def collection_act(scope: Scope, action: Action, collection_id: UUID, salt: bytes) -> Act:
    """An act on a collection of the principal's."""
    subject = Subject(render_id(COLLECTION_PREFIX, collection_id), salt)
    return Act(action, subject, scope.principal_id)


def document_act(
    action: Action, document_id: UUID, owner_id: UUID, salt: bytes, version: int
) -> Act:
    """An act on a version of a document."""
    subject = Subject(render_id(DOCUMENT_PREFIX, document_id), salt)
    return Act(action, subject, owner_id, version)
