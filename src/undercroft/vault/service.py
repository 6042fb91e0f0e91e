"""Documents: taken in once for each content, encrypted; whoever brought one says who else sees it."""

from collections.abc import AsyncIterator, Collection, Mapping
from functools import partial
from typing import BinaryIO, Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.kit.joined import once_committed
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import ModelUseError
from undercroft.sharing.models import GrantAction, ModelUse
from undercroft.sharing.policy import ways_for_models
from undercroft.sharing.ways import EVERY_ACTION, OWNER_ALONE
from undercroft.vault.access import DocumentAccess, no_document, seal_metadata, seal_name
from undercroft.vault.blobs.contents import BlobContent
from undercroft.vault.blobs.models import StoredBlob
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.erasure import Erasure
from undercroft.vault.errors import LegalHoldError
from undercroft.vault.intake import Incoming, Intake, Received
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX, Document, DocumentChanges, NewDocument
from undercroft.vault.repository import DocumentRepository

DOWNLOAD: Final = (GrantAction.DOWNLOAD,)
WRITE: Final = (GrantAction.WRITE,)


class DocumentService:
    """Takes documents in, lists them, changes them, gives them back and deletes them."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        intake: Intake,
        keys: KeyRing,
        ledger: Ledger,
        ids: IdSource,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._intake = intake
        self._keys = keys
        self._ledger = ledger
        self._ids = ids
        self._access = DocumentAccess(database, keys, ledger)
        self._erasure = Erasure(blobs)
        self._repository = DocumentRepository()

    async def create(
        self,
        scope: Scope,
        incoming: Incoming,
        filename: str,
        purpose: str,
        *,
        metadata: Mapping[str, str] | None = None,
        is_sealed: bool = False,
    ) -> Document:
        """Make a document of a content that has arrived; the caller closes it afterwards.

        The same content a second time makes a second document over the same blob, so that it is neither stored nor
        indexed again.

        Raises:
            TooLargeError: When the file is over the limit.
            EmptyFileError: When it has no bytes.
            UndercroftError: Of kind UNSUPPORTED_MEDIA_TYPE, when its content is of no type that can be read.
        """
        received = await self._intake.receive(incoming, filename)
        async with (
            self._intake.keep(scope, received.staged) as kept,
            self._database.transaction(scope) as transaction,
        ):
            document = await self.add(
                transaction,
                scope,
                received,
                filename,
                purpose,
                metadata=metadata,
                is_sealed=is_sealed,
            )
            await self._intake.settle(transaction, kept, received, document.blob_id)
        return document

    async def add(
        self,
        transaction: Transaction,
        scope: Scope,
        received: Received,
        filename: str,
        purpose: str,
        *,
        metadata: Mapping[str, str] | None = None,
        is_sealed: bool = False,
    ) -> Document:
        """Make a document of a content in the caller's own transaction, which has the intake settle it at its end."""
        blob_id = await self._intake.record(transaction, scope, received)
        document_id = await self._insert(
            transaction,
            scope,
            blob_id,
            filename,
            purpose,
            metadata=metadata or {},
            is_sealed=is_sealed,
            sha256=received.staged.sha256,
        )
        return await self._access.find(transaction, document_id)

    async def find(self, transaction: Transaction, document_id: UUID) -> Document:
        """One document, in the caller's own transaction.

        Raises:
            NotFoundError: When the principal may see no such document.
        """
        return await self._access.find(transaction, document_id)

    async def import_file(
        self, scope: Scope, source: BinaryIO, filename: str, purpose: str
    ) -> Document:
        """Make a document of all of a file, as :meth:`create` does of what came over the wire."""
        incoming = await self._intake.read(scope, source)
        try:
            return await self.create(scope, incoming, filename, purpose)
        finally:
            await incoming.close()

    async def get(
        self, scope: Scope, document_id: UUID, model_use: frozenset[ModelUse] = frozenset()
    ) -> Document:
        """One document.

        Raises:
            NotFoundError: When the principal may see no such document.
            ModelUseError: When they may, and not show it to a model that does this.
        """
        async with self._access.refusing(scope, "document.read", document_id) as transaction:
            document = await self._access.find(transaction, document_id, EVERY_ACTION)
            if not ways_for_models(document.access.ways, model_use):
                raise ModelUseError
            return document

    async def get_own(self, scope: Scope, document_id: UUID) -> Document:
        """A document of the principal's own.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may, and it is another's.
        """
        async with self._access.refusing(scope, "document.read", document_id) as transaction:
            return await self._access.find(transaction, document_id, OWNER_ALONE)

    async def list_documents(
        self,
        scope: Scope,
        *,
        after: UUID | None = None,
        ascending: bool = False,
        purpose: str | None = None,
        is_trashed: bool = False,
        limit: int,
    ) -> list[Document]:
        """A page of the principal's documents, in the trash or not, newest first unless ``ascending``."""
        async with self._database.transaction(scope) as transaction:
            rows = await self._repository.list_documents(
                transaction,
                after=after,
                ascending=ascending,
                purpose=purpose,
                limit=limit,
                is_trashed=is_trashed,
            )
        return [await self._access.describe(row) for row in rows]

    async def read(self, scope: Scope, document_id: UUID) -> tuple[Document, AsyncIterator[bytes]]:
        """A document and its bytes, found and opened: one download.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may, and not download it.
            GrantEndedError: When another had the last download that a grant allows.
            BlobMissingError: When its bytes are missing.
        """
        async with self._access.refusing(scope, "document.read", document_id) as transaction:
            document = await self._access.find(transaction, document_id, DOWNLOAD)
            # Of the version that was found and is put on record: by now another one may be current.
            row = await self._repository.find_content(
                transaction, document_id, document.version, DOWNLOAD
            )
            if row is None:
                raise no_document(document_id)
            async with self._access.explaining_missing(transaction, document_id):
                content = await open_content(self._blobs, self._keys, row)
            await self._access.count_use(transaction, document)
            await self._access.record(transaction, scope, "document.read", document)
        return document, content.blocks()

    async def update(
        self,
        scope: Scope,
        document_id: UUID,
        changes: DocumentChanges,
        expected: Collection[int] | None,
    ) -> Document:
        """Change a document's name, its metadata, or whether it is sealed.

        Sealing takes it out of every collection and its text out of the index, in the same transaction.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may, and not change it; sealing is its owner's alone.
            StaleDocumentError: When it is at none of the expected revisions.
            LegalHoldError: When it is under legal hold, and its name or its metadata would be forgotten.
        """
        async with self._access.refusing(scope, "document.update", document_id) as transaction:
            # Against a hold at the same instant: it is placed before this, and seen here, or waits for the result.
            actions = WRITE if changes.is_sealed is None else OWNER_ALONE
            document = await self._access.lock(transaction, document_id, expected, actions)
            if document.held_at is not None and changes.forget:
                raise LegalHoldError
            row = await self._repository.find_document(transaction, document_id, actions)
            if row is None:
                raise no_document(document_id)
            key = await self._keys.open(row)
            place = (scope.tenant_id, document_id)
            await self._repository.update_document(
                transaction,
                document_id,
                None if changes.name is None else seal_name(key, *place, changes.name),
                None if changes.metadata is None else seal_metadata(key, *place, changes.metadata),
                changes.is_sealed,
            )
            changed = await self._access.find(transaction, document_id, EVERY_ACTION)
            await self._access.record(
                transaction, scope, _action_of_change(document, changed), document
            )
        return changed

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a document, for its owner alone; None when it is gone."""
        del scope  # the transaction's own
        document_id = parse_id(DOCUMENT_PREFIX, reference)
        if document_id is None:
            return None
        return await self._repository.find_document_salt(transaction, document_id)

    async def delete(
        self, scope: Scope, document_id: UUID, expected: Collection[int] | None = None
    ) -> None:
        """Erase a document at once, from the trash too, and all that was derived from it.

        With it go its memberships, the answers that were made from it and, where it was the last of its contents,
        those: their keys, their text and their place in the index.

        Raises:
            NotFoundError: When the principal may see no such document.
            StaleDocumentError: When it is at none of the expected revisions.
            LegalHoldError: When it is under legal hold.
        """
        async with self._access.refusing(scope, "document.delete", document_id) as transaction:
            document = await self._access.lock(
                transaction, document_id, expected, is_trashed=None, even_damaged=True
            )
            if document.held_at is not None:
                raise LegalHoldError
            await self._access.record(transaction, scope, "document.delete", document)
            names = await self._erasure.erase(transaction, document_id)
        await once_committed(partial(self._erasure.delete_bytes, scope.tenant_id, names))

    async def _insert(
        self,
        transaction: Transaction,
        scope: Scope,
        blob_id: UUID,
        filename: str,
        purpose: str,
        *,
        metadata: Mapping[str, str],
        is_sealed: bool,
        sha256: bytes,
    ) -> UUID:
        document_id = self._ids.new()
        key = await self._keys.create(transaction, scope)
        place = (scope.tenant_id, document_id)
        await self._repository.insert_document(
            transaction,
            NewDocument(
                document_id,
                purpose,
                key.id,
                seal_name(key, *place, filename),
                seal_metadata(key, *place, metadata),
                is_sealed,
            ),
        )
        subject = Subject(render_id(DOCUMENT_PREFIX, document_id), key.salt)
        act = Act("document.create", subject, scope.principal_id, 1, content=sha256)
        (entry_id,) = await self._ledger.append(transaction, scope, act)
        await self._repository.insert_document_version(
            transaction, document_id, 1, blob_id, entry_id
        )
        return document_id


async def open_content(
    store: BlobStore, keys: KeyRing, row: Record, span: tuple[int, int] | None = None
) -> BlobContent:
    """The content of a blob whose row was read with its key, as ``find_content`` does; a span of it, or all.

    Raises:
        BlobMissingError: When the store does not have it.
        DecryptionError: When there it is not what was kept.
    """
    key = await keys.open(row)
    blob = StoredBlob(row["tenant_id"], row["id"], row["stored_name"], row["byte_size"])
    return await BlobContent.open(store, blob, key.material, span)


def _action_of_change(before: Document, after: Document) -> Action:
    if before.is_sealed == after.is_sealed:
        return "document.update"
    return "document.seal" if after.is_sealed else "document.unseal"
