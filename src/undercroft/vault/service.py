"""Documents: taken in once for each content, encrypted, private to whoever brought them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import bind, seal, unseal
from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.ledger.models import Act, Outcome, Subject
from undercroft.ledger.service import Ledger
from undercroft.vault.blobs.contents import BlobContent
from undercroft.vault.blobs.models import StoredBlob
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.intake import Incoming, Intake, Received
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import Document, IndexState, NewDocument
from undercroft.vault.repository import DocumentRepository

DOCUMENT_PREFIX: Final = "file-"


class DocumentService:
    """Takes documents in, lists them, gives them back and deletes them."""

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
        self._repository = DocumentRepository()

    async def create(
        self, scope: Scope, incoming: Incoming, filename: str, purpose: str
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
        async with self._database.transaction(scope) as transaction:
            document = await self.add(transaction, scope, received, filename, purpose)
            await self._intake.store(transaction, scope, received, document.blob_id)
        return document

    async def add(
        self,
        transaction: Transaction,
        scope: Scope,
        received: Received,
        filename: str,
        purpose: str,
    ) -> Document:
        """Make a document of a content in the caller's own transaction, which has the intake store it at its end."""
        blob_id = await self._intake.record(transaction, scope, received)
        document_id = await self._insert(transaction, scope, blob_id, filename, purpose)
        document = await self._find(transaction, document_id)
        act = self._act("document.create", scope, document, received.staged.sha256)
        await self._ledger.append(transaction, scope, act)
        return document

    async def find(self, transaction: Transaction, document_id: UUID) -> Document:
        """One document, in the caller's own transaction.

        Raises:
            NotFoundError: When the principal may see no such document.
        """
        return await self._find(transaction, document_id)

    async def import_file(
        self, scope: Scope, source: BinaryIO, filename: str, purpose: str
    ) -> Document:
        """Make a document of all of a file, as :meth:`create` does of what came over the wire."""
        incoming = await self._intake.read(scope, source)
        try:
            return await self.create(scope, incoming, filename, purpose)
        finally:
            await incoming.close()

    async def get(self, scope: Scope, document_id: UUID) -> Document:
        """One document.

        Raises:
            NotFoundError: When the principal may see no such document.
        """
        async with self._refusing(scope, "document.read", document_id) as transaction:
            return await self._find(transaction, document_id)

    async def list_documents(
        self,
        scope: Scope,
        *,
        after: UUID | None = None,
        ascending: bool = False,
        purpose: str | None = None,
        limit: int,
    ) -> list[Document]:
        """A page of the principal's documents, newest first unless ``ascending``."""
        async with self._database.transaction(scope) as transaction:
            rows = await self._repository.list_documents(
                transaction, after=after, ascending=ascending, purpose=purpose, limit=limit
            )
        return [await self._document(row) for row in rows]

    async def read(self, scope: Scope, document_id: UUID) -> tuple[Document, AsyncIterator[bytes]]:
        """A document and its bytes, found and opened.

        Raises:
            NotFoundError: When the principal may see no such document.
            BlobMissingError: When its bytes are missing.
        """
        async with self._refusing(scope, "document.read", document_id) as transaction:
            document = await self._find(transaction, document_id)
            row = await self._repository.find_content(transaction, document_id, None)
            if row is None:
                raise _no_document(document_id)
            content = await open_content(self._blobs, self._keys, row)
            act = self._act("document.read", scope, document)
            await self._ledger.append(transaction, scope, act)
        return document, content.blocks()

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a document, for its owner alone; None when it is gone."""
        del scope  # the transaction's own
        document_id = parse_id(DOCUMENT_PREFIX, reference)
        if document_id is None:
            return None
        return await self._repository.find_document_salt(transaction, document_id)

    async def delete(self, scope: Scope, document_id: UUID) -> None:
        """Delete a document, its memberships and, where it was the last of its content, all that was derived from it.

        Raises:
            NotFoundError: When the principal may see no such document.
        """
        async with self._refusing(scope, "document.delete", document_id) as transaction:
            act = self._act("document.delete", scope, await self._find(transaction, document_id))
            blob_ids = await self._repository.delete_document(transaction, document_id)
            if not blob_ids:
                raise _no_document(document_id)
            await self._ledger.append(transaction, scope, act)
            unused = [
                await self._repository.delete_unused_blob(transaction, blob_id)
                for blob_id in blob_ids
            ]
        for name in unused:
            if name is not None:
                await self._blobs.delete(scope.tenant_id, name)

    @asynccontextmanager
    async def _refusing(
        self, scope: Scope, action: str, document_id: UUID
    ) -> AsyncGenerator[Transaction]:
        """A transaction on one document. Whoever is refused a document that is there is put on record."""
        try:
            async with self._database.transaction(scope) as transaction:
                yield transaction
        except NotFoundError:
            async with self._database.transaction(scope) as transaction:
                row = await self._repository.find_foreign_document(transaction, document_id)
                if row is not None:
                    subject = Subject(render_id(DOCUMENT_PREFIX, document_id), row["salt"])
                    act = Act(action, subject, row["owner_id"], outcome=Outcome.DENIED)
                    await self._ledger.append(transaction, scope, act)
            raise

    def _act(
        self, action: str, scope: Scope, document: Document, content: bytes | None = None
    ) -> Act:
        subject = Subject(render_id(DOCUMENT_PREFIX, document.id), document.salt)
        return Act(action, subject, scope.principal_id, document.version, content=content)

    async def _insert(
        self, transaction: Transaction, scope: Scope, blob_id: UUID, filename: str, purpose: str
    ) -> UUID:
        document_id = self._ids.new()
        key = await self._keys.create(transaction, scope)
        name = seal(
            key.material, filename.encode(), document_name_place(scope.tenant_id, document_id)
        )
        await self._repository.insert_document(
            transaction, NewDocument(document_id, purpose, key.id, name)
        )
        await self._repository.insert_document_version(transaction, document_id, 1, blob_id)
        return document_id

    async def _find(self, transaction: Transaction, document_id: UUID) -> Document:
        row = await self._repository.find_document(transaction, document_id)
        if row is None:
            raise _no_document(document_id)
        return await self._document(row)

    async def _document(self, row: Record) -> Document:
        key = await self._keys.open(row)
        name = unseal(
            key.material, row["sealed_name"], document_name_place(row["tenant_id"], row["id"])
        )
        return Document(
            id=row["id"],
            salt=key.salt,
            filename=name.decode(),
            purpose=row["purpose"],
            version=row["current_version"],
            blob_id=row["blob_id"],
            byte_size=row["byte_size"],
            media_type=row["media_type"],
            index_state=IndexState(row["index_state"]),
            index_error=row["index_error_message"],
            created_at=row["created_at"],
        )


async def open_content(store: BlobStore, keys: KeyRing, row: Record) -> BlobContent:
    """The content of a blob whose row was read with its key, as ``find_content`` does.

    Raises:
        BlobMissingError: When the store does not have it.
        DecryptionError: When it is not what was kept.
    """
    key = await keys.open(row)
    blob = StoredBlob(row["tenant_id"], row["id"], row["stored_name"], row["byte_size"])
    return await BlobContent.open(store, blob, key.material)


def document_name_place(tenant_id: UUID, document_id: UUID) -> bytes:
    """What a document's name is bound to."""
    return bind(tenant_id, "documents", document_id, "name")


def _no_document(document_id: UUID) -> NotFoundError:
    return NotFoundError("file", render_id(DOCUMENT_PREFIX, document_id))
