"""The job that forgets an upload when its time is over."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.kit.database import Database
from undercroft.kit.ids import render_id
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.uploads.models import EXPIRE_JOB, UPLOAD_PREFIX, UploadState
from undercroft.vault.uploads.repository import UploadRepository

_EXPIRE_SECONDS: Final = 600.0


class UploadTasks:
    """Deletes uploads an hour after they were begun, with what parts they still have."""

    def __init__(self, database: Database, blobs: BlobStore, ledger: Ledger) -> None:
        self._database = database
        self._blobs = blobs
        self._ledger = ledger
        self._repository = UploadRepository()

    def handlers(self) -> Mapping[str, JobHandler]:
        """What a worker registers."""
        return {EXPIRE_JOB: JobHandler(self.expire_upload, _EXPIRE_SECONDS)}

    async def expire_upload(self, context: JobContext) -> None:
        """Forget one upload. It is in the ledger when it was still waiting for parts."""
        upload_id, scope = UUID(str(context.payload["upload_id"])), context.scope
        async with self._database.transaction(scope) as transaction:
            await context.still_mine(transaction)
            await self._repository.lock_upload(transaction, upload_id)
            row = await self._repository.find_upload(transaction, upload_id)
            if row is None or not row["is_overdue"]:
                return
            names = await self._repository.delete_parts(transaction, upload_id)
            await self._repository.delete_upload(transaction, upload_id)
            if row["state"] == UploadState.EXPIRED:
                subject = Subject(render_id(UPLOAD_PREFIX, upload_id), row["salt"])
                act = Act("upload.expire", subject, scope.principal_id)
                await self._ledger.append(transaction, scope, act)
        for name in names:
            await self._blobs.delete(scope.tenant_id, name)
