"""Uploads: a file comes in parts, over as many requests and restarts as it takes, and becomes a document at once."""

import hmac
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.jobs.service import JobQueue
from undercroft.kit.crypto.aead import seal, unseal
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.vault.errors import BlobMissingError, TooLargeError
from undercroft.vault.intake import Incoming, Intake, Received
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import DocumentService
from undercroft.vault.uploads.errors import (
    ChecksumMismatchError,
    SizeMismatchError,
    TooManyPartsError,
    UnknownPartError,
    UploadClosedError,
)
from undercroft.vault.uploads.models import (
    EXPIRE_JOB,
    UPLOAD_PREFIX,
    NewPart,
    NewUpload,
    Upload,
    UploadPart,
    UploadState,
    upload_name_place,
)
from undercroft.vault.uploads.parts import PartStore
from undercroft.vault.uploads.repository import UploadRepository
from undercroft.vault.usage.service import UsageService

_LIFETIME: Final = timedelta(hours=1)
"""After this an upload is forgotten, whatever became of it. The table has the same as its default."""


class UploadService:
    """Begins uploads, takes their parts, completes and cancels them.

    Args:
        database: Where their rows are.
        parts: Where their bytes are.
        intake: Takes in what the parts make up.
        documents: Makes a document of it.
        keys: The keys of the uploads' names.
        usage: Counts their bytes.
        ledger: Records all of it.
        jobs: Has them expire.
        ids: Names them.
        max_bytes: The most bytes a whole file may have.
    """

    def __init__(
        self,
        database: Database,
        parts: PartStore,
        intake: Intake,
        documents: DocumentService,
        keys: KeyRing,
        usage: UsageService,
        ledger: Ledger,
        jobs: JobQueue,
        ids: IdSource,
        max_bytes: int,
    ) -> None:
        self._database = database
        self._parts = parts
        self._intake = intake
        self._documents = documents
        self._keys = keys
        self._usage = usage
        self._ledger = ledger
        self._jobs = jobs
        self._ids = ids
        self._max_bytes = max_bytes
        self._repository = UploadRepository()

    async def create(self, scope: Scope, filename: str, purpose: str, byte_size: int) -> Upload:
        """Begin an upload of a file of that many bytes.

        Raises:
            TooLargeError: When that is more than the service takes.
            QuotaExceededError: When there is no room for it now.
        """
        if byte_size > self._max_bytes:
            raise TooLargeError(self._max_bytes)
        await self._usage.require_room(scope, byte_size)
        async with self._database.transaction(scope) as transaction:
            upload_id, key = self._ids.new(), await self._keys.create(transaction, scope)
            name = seal(
                key.material, filename.encode(), upload_name_place(scope.tenant_id, upload_id)
            )
            await self._repository.insert_upload(
                transaction, NewUpload(upload_id, purpose, byte_size, key.id, name)
            )
            upload = await self._find(transaction, upload_id)
            await self._append(transaction, scope, "upload.create", upload)
            # The database's clock decides both when the job runs and whether the upload is overdue by then.
            await self._jobs.enqueue(
                transaction, scope, EXPIRE_JOB, {"upload_id": str(upload_id)}, delay=_LIFETIME
            )
        return upload

    async def begin_part(self, scope: Scope, upload_id: UUID) -> Incoming:
        """Where a part of an upload is written to; the caller closes it afterwards.

        Raises:
            NotFoundError: When the principal may see no such upload.
            UploadClosedError: When it takes no more parts.
        """
        async with self._refusing(scope, "upload.add_part", upload_id) as transaction:
            _require_pending(await self._find(transaction, upload_id))
        return self._parts.begin(scope)

    async def add_part(self, scope: Scope, upload_id: UUID, incoming: Incoming) -> UploadPart:
        """Keep a part that has arrived.

        Raises:
            NotFoundError: When the principal may see no such upload.
            UploadClosedError: When it takes no more parts.
            TooManyPartsError: When it has more of them than it can need.
            QuotaExceededError: When there is no room for it.
            EmptyFileError: When it has no bytes.
        """
        staged = await incoming.finish()
        async with (
            self._intake.keep(scope, staged) as kept,
            self._refusing(scope, "upload.add_part", upload_id) as transaction,
        ):
            await self._repository.lock_upload(transaction, upload_id)
            upload = await self._find(transaction, upload_id)
            _require_pending(upload)
            if not await self._repository.take_part(transaction, upload_id, staged.byte_size):
                raise TooManyPartsError
            await self._keys.keep(transaction, scope, incoming.key)
            part_id, key_id = incoming.blob_id, incoming.key.id
            part = NewPart(part_id, upload_id, staged.byte_size, key_id, staged.name)
            created_at = await self._repository.insert_part(transaction, part)
            await self._append(transaction, scope, "upload.add_part", upload)
            await self._intake.settle_row(transaction, kept)
        return UploadPart(part_id, upload_id, created_at)

    async def complete(
        self, scope: Scope, upload_id: UUID, part_ids: Sequence[UUID], md5: bytes | None = None
    ) -> Upload:
        """Make a document of the parts in the given order. Doing so again answers the same.

        The parts are put together outside of any transaction: whoever comes second finds the upload completed, and
        what it has put together is forgotten.

        Raises:
            NotFoundError: When the principal may see no such upload.
            UploadClosedError: When it was cancelled or is expired.
            UnknownPartError: When a part is not the upload's, or is named twice.
            SizeMismatchError: When the parts are not as long as the file was said to be.
            ChecksumMismatchError: When they do not have that MD5.
            QuotaExceededError: When there is no room for the content.
            UndercroftError: Of kind UNSUPPORTED_MEDIA_TYPE, when it is of no type that can be read.
        """
        upload, rows = await self._plan(scope, upload_id, part_ids)
        if upload.state is UploadState.COMPLETED:
            return upload
        incoming = self._intake.begin(scope)
        try:
            if md5 is not None and not hmac.compare_digest(await self._parts.digest(rows), md5):
                raise ChecksumMismatchError
            await self._parts.put_together(rows, incoming)
            received = await self._intake.receive(incoming, upload.filename)
            return await self._finish(scope, upload_id, received)
        except BlobMissingError:
            # Another request was faster, and the parts are gone: what it has made of the upload is the answer.
            upload, _ = await self._plan(scope, upload_id, part_ids)
            if upload.state is UploadState.COMPLETED:
                return upload
            raise
        finally:
            await incoming.close()

    async def cancel(self, scope: Scope, upload_id: UUID) -> Upload:
        """Give an upload up and delete its parts. Doing so again answers the same.

        Raises:
            NotFoundError: When the principal may see no such upload.
            UploadClosedError: When it was completed or is expired.
        """
        async with self._refusing(scope, "upload.cancel", upload_id) as transaction:
            await self._repository.lock_upload(transaction, upload_id)
            upload = await self._find(transaction, upload_id)
            if upload.state is UploadState.CANCELLED:
                return upload
            _require_pending(upload)
            names = await self._repository.delete_parts(transaction, upload_id)
            await self._repository.cancel_upload(transaction, upload_id)
            upload = await self._find(transaction, upload_id)
            await self._append(transaction, scope, "upload.cancel", upload)
        await self._parts.delete(scope.tenant_id, names)
        return upload

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to an upload, for its owner alone; None when it is gone."""
        del scope  # the transaction's own
        upload_id = parse_id(UPLOAD_PREFIX, reference)
        if upload_id is None:
            return None
        return await self._repository.find_upload_salt(transaction, upload_id)

    async def _plan(
        self, scope: Scope, upload_id: UUID, part_ids: Sequence[UUID]
    ) -> tuple[Upload, list[Record]]:
        """The upload and, unless it is completed, the rows of its parts in order."""
        async with self._refusing(scope, "upload.complete", upload_id) as transaction:
            # The parts first: whoever ends the upload deletes them. Of one that takes parts still, none was gone.
            found = await self._repository.list_parts(transaction, upload_id, part_ids)
            upload = await self._find(transaction, upload_id)
            if upload.state is UploadState.COMPLETED:
                return upload, []
            _require_pending(upload)
        if len(set(part_ids)) != len(part_ids) or len(found) != len(part_ids):
            raise UnknownPartError
        rows = [found[part_id] for part_id in part_ids]
        received = sum(row["byte_size"] for row in rows)
        if received != upload.byte_size:
            raise SizeMismatchError(upload.byte_size, received)
        return upload, rows

    async def _finish(self, scope: Scope, upload_id: UUID, received: Received) -> Upload:
        """Make the document, unless another request has done so by now."""
        async with (
            self._intake.keep(scope, received.staged) as kept,
            self._refusing(scope, "upload.complete", upload_id) as transaction,
        ):
            await self._repository.lock_upload(transaction, upload_id)
            upload = await self._find(transaction, upload_id)
            if upload.state is UploadState.COMPLETED:
                return upload
            _require_pending(upload)
            # Before the content comes: at no time are both counted.
            names = await self._repository.delete_parts(transaction, upload_id)
            document = await self._documents.add(
                transaction, scope, received, upload.filename, upload.purpose
            )
            await self._repository.complete_upload(transaction, upload_id, document.id)
            upload = await self._find(transaction, upload_id)
            await self._append(transaction, scope, "upload.complete", upload)
            await self._intake.settle(transaction, kept, received, document.blob_id)
        await self._parts.delete(scope.tenant_id, names)
        return upload

    def _refusing(
        self, scope: Scope, action: Action, upload_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction on one upload, whose refusal is put on record."""
        find = find_target(UPLOAD_PREFIX, upload_id, self._repository.find_upload_owner)
        return recording_refusal(self._database, self._ledger, scope, action, find)

    async def _append(
        self, transaction: Transaction, scope: Scope, action: Action, upload: Upload
    ) -> None:
        subject = Subject(render_id(UPLOAD_PREFIX, upload.id), upload.salt)
        await self._ledger.append(transaction, scope, Act(action, subject, scope.principal_id))

    async def _find(self, transaction: Transaction, upload_id: UUID) -> Upload:
        row = await self._repository.find_upload(transaction, upload_id)
        if row is None:
            raise NotFoundError("upload", render_id(UPLOAD_PREFIX, upload_id))
        key = await self._keys.open(row)
        name = unseal(
            key.material, row["sealed_name"], upload_name_place(row["tenant_id"], upload_id)
        )
        document = None
        if row["document_id"] is not None:
            document = await self._documents.find(transaction, row["document_id"])
        return Upload(
            id=row["id"],
            salt=key.salt,
            filename=name.decode(),
            purpose=row["purpose"],
            byte_size=row["byte_size"],
            state=UploadState(row["state"]),
            document=document,
            created_at=row["created_at"],
            expires_at=row["expires_at"],
        )


def _require_pending(upload: Upload) -> None:
    if upload.state is not UploadState.PENDING:
        raise UploadClosedError(upload.state)
