"""Requests that a content be indexed, from within the transaction that needs it."""

from uuid import UUID

from undercroft.jobs.service import JobQueue
from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.retrieval.index.models import FORGET_JOB, INDEX_JOB
from undercroft.retrieval.index.repository import IndexRepository


class IndexService:
    """The index as seen by whoever adds documents."""

    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs
        self._repository = IndexRepository()

    async def request(self, transaction: Transaction, scope: Scope, blob_id: UUID) -> None:
        """Have a content indexed, unless it is or soon will be.

        The content's state and the job commit with the caller's transaction.
        """
        if await self._repository.request_index(transaction, blob_id):
            # No dedupe key: the state allows one request at a time, and a job that has just recorded a failure counts
            # as running until the worker has recorded its end. It would swallow the new request.
            await self._jobs.enqueue(transaction, scope, INDEX_JOB, {"blob_id": str(blob_id)})

    async def follow(self, transaction: Transaction, scope: Scope, document_id: UUID) -> None:
        """Have the content of a document's new current version indexed, if the document is in a collection.

        What an earlier version had in the index is deleted by a job, if it is current nowhere: here it would be locked
        behind the new content, and not in the order of ids in which contents are locked. While the new content waits to
        be indexed, one that is indexed stays, for what is the same in both is taken from it; the index's own job has it
        deleted at its end. That cannot miss this document: the version that has been inserted holds the new content's
        row, for which that job waits, and then sees the version.
        """
        blob_id = await self._repository.find_member_content(transaction, document_id)
        is_awaited = False
        if blob_id is not None:
            await self.request(transaction, scope, blob_id)
            is_awaited = await self._repository.is_pending(transaction, blob_id)
        for superseded in await self._repository.list_superseded(
            transaction, document_id, with_indexed=not is_awaited
        ):
            await self._jobs.enqueue(transaction, scope, FORGET_JOB, {"blob_id": str(superseded)})
