"""Puts many files into a collection with one request, all or none, and says how far they are.

How far a file is, is its membership's own state. One whose membership is gone counts as cancelled, whoever took it out.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final
from uuid import UUID

from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.batches.models import BATCH_PREFIX, FileBatch
from undercroft.retrieval.collections.batches.repository import FileBatchRepository
from undercroft.retrieval.collections.intake import Addition, MemberIntake
from undercroft.retrieval.collections.journal import (
    CollectionJournal,
    collection_act,
    document_act,
)
from undercroft.retrieval.collections.models import Member, MemberStatus, Page
from undercroft.retrieval.collections.repository import CollectionRepository
from undercroft.retrieval.index.service import IndexService
from undercroft.sharing.errors import NotGrantedError

_ADD: Final[Action] = "collection.add_document"
_REMOVE: Final[Action] = "collection.remove_document"


class FileBatchService:
    """Makes, shows and cancels batches. They are for the owner of the collection alone."""

    def __init__(
        self, database: Database, ledger: Ledger, ids: IdSource, index: IndexService
    ) -> None:
        self._journal = CollectionJournal(database, ledger)
        self._ids = ids
        self._intake = MemberIntake(index)
        self._collections = CollectionRepository()
        self._repository = FileBatchRepository()

    async def create(
        self, scope: Scope, collection_id: UUID, additions: Sequence[Addition]
    ) -> FileBatch:
        """Add documents, each once, all or nothing; of those that are members already the attributes are replaced.

        Raises:
            NotFoundError: When the principal may see no such collection or document.
            NotGrantedError: When they may, and the collection is another's, or a document, and they may not share it.
            GrantEndedError: When the grant to share one ended meanwhile.
            DocumentSealedError: When one of them is sealed.
        """
        documents = [addition.document_id for addition in additions]
        async with self._journal.refusing(scope, _ADD, (collection_id,), documents) as transaction:
            salt = await self._collections.lock_collection(transaction, collection_id)
            if salt is None:
                raise await self._journal.refusal(transaction, collection_id)
            acts = await self._intake.add(transaction, scope, collection_id, additions)
            batch_id = self._ids.new()
            await self._repository.insert_batch(transaction, batch_id, collection_id, documents)
            taken = collection_act(scope, _ADD, collection_id, salt)
            await self._journal.record(transaction, scope, taken, *acts)
            return await self._get(transaction, collection_id, batch_id)

    async def get(self, scope: Scope, collection_id: UUID, batch_id: UUID) -> FileBatch:
        """One batch.

        Raises:
            NotFoundError: When the principal may see no such batch.
            NotGrantedError: When they may see the collection, and it is another's.
        """
        async with self._reading(scope, collection_id) as transaction:
            return await self._get(transaction, collection_id, batch_id)

    async def list_files(
        self,
        scope: Scope,
        collection_id: UUID,
        batch_id: UUID,
        page: Page,
        status: MemberStatus | None,
    ) -> list[Member]:
        """A page of a batch's files, of one status if given.

        Raises:
            NotFoundError: When the principal may see no such batch.
            NotGrantedError: When they may see the collection, and it is another's.
        """
        async with self._reading(scope, collection_id) as transaction:
            await self._get(transaction, collection_id, batch_id)
            return await self._repository.list_files(
                transaction, collection_id, batch_id, page, status
            )

    async def cancel(self, scope: Scope, collection_id: UUID, batch_id: UUID) -> FileBatch:
        """Take those files out of the collection that are not indexed yet; the others stay.

        A batch that has nothing to stop, or that is cancelled, is answered as it is.

        Raises:
            NotFoundError: When the principal may see no such batch.
            NotGrantedError: When they may see the collection, and it is another's.
        """
        async with self._journal.refusing(scope, _REMOVE, (collection_id,)) as transaction:
            salt = await self._repository.lock_collection_alone(transaction, collection_id)
            if salt is None:
                raise await self._journal.refusal(transaction, collection_id)
            await self._get(transaction, collection_id, batch_id)
            # Documents before contents, and both before the members: as whoever erases one of them.
            present = await self._repository.lock_documents(transaction, batch_id)
            await self._repository.lock_contents(transaction, present)
            stopped = await self._repository.stop_files(transaction, collection_id, present)
            if stopped:
                await self._repository.mark_cancelled(transaction, batch_id)
                await self._journal.record(
                    transaction,
                    scope,
                    collection_act(scope, _REMOVE, collection_id, salt),
                    *(
                        document_act(
                            "document.remove_from_collection",
                            row["document_id"],
                            row["owner_id"],
                            row["salt"],
                            row["current_version"],
                        )
                        for row in stopped
                    ),
                )
            return await self._get(transaction, collection_id, batch_id)

    def _reading(
        self, scope: Scope, collection_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        return self._journal.refusing(scope, "collection.read", (collection_id,))

    async def _get(
        self, transaction: Transaction, collection_id: UUID, batch_id: UUID
    ) -> FileBatch:
        batch = await self._repository.find_batch(transaction, collection_id, batch_id)
        if batch is None:
            refusal = await self._journal.refusal(transaction, collection_id)
            raise (
                refusal
                if isinstance(refusal, NotGrantedError)
                else NotFoundError("vector store file batch", render_id(BATCH_PREFIX, batch_id))
            )
        return batch
