"""Versions: immutable states of a document, numbered without gaps; the last one is the current one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.aead import bind, unseal
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import GrantAction
from undercroft.sharing.ways import EVERY_ACTION, OWNER_ALONE, acts_under
from undercroft.vault.access import DocumentAccess, subject_of
from undercroft.vault.blobs.protocol import BlobStore
from undercroft.vault.intake import Incoming, Intake
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX, Document, DocumentVersion
from undercroft.vault.repository import DocumentRepository
from undercroft.vault.service import DOWNLOAD, WRITE, open_content

FollowDocument: TypeAlias = Callable[[Transaction, Scope, UUID], Awaitable[None]]
"""Told, in the transaction that does it, that a document's current version changed: where the document is in a
collection, its new content has to be indexed."""

Span: TypeAlias = tuple[int, int]
"""Offsets in a content: of its first byte, and of the one after its last."""

SelectSpan: TypeAlias = Callable[[DocumentVersion], Span | None]
"""Decides which bytes of a version are wanted, once it is known how many there are; None for none of them."""


READ: Final = (GrantAction.READ,)


@dataclass(frozen=True, slots=True)
class VersionContent:
    """What was asked for of a version's content.

    Attributes:
        span: Which bytes; None when none were wanted.
        blocks: Them, decrypted as they are read.
    """

    document: Document
    version: DocumentVersion
    span: Span | None
    blocks: AsyncIterator[bytes] | None


class VersionService:
    """Adds versions, lists them, makes an earlier one current again, and gives their contents back.

    Args:
        database: Where they are.
        blobs: Where their bytes are.
        intake: Takes new contents in.
        keys: Open the contents.
        ledger: Where it is put on record.
        follow: Has the content of a document in a collection indexed.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        intake: Intake,
        keys: KeyRing,
        ledger: Ledger,
        follow: FollowDocument,
    ) -> None:
        self._blobs = blobs
        self._intake = intake
        self._keys = keys
        self._ledger = ledger
        self._follow = follow
        self._access = DocumentAccess(database, keys, ledger)
        self._repository = DocumentRepository()

    async def add(
        self,
        scope: Scope,
        document_id: UUID,
        incoming: Incoming,
        filename: str,
        expected: Collection[int] | None,
    ) -> Document:
        """Make a content that has arrived the document's current version; the caller closes it afterwards.

        Args:
            scope: Whose document it is.
            document_id: Which document; it keeps its name.
            incoming: The content.
            filename: Decides between kinds of text.
            expected: The revisions that the caller means; None for any.

        Raises:
            NotFoundError: When the principal may see no such document.
            StaleDocumentError: When it is at none of the expected revisions.
            TooLargeError: When the file is over the limit.
            EmptyFileError: When it has no bytes.
            UndercroftError: Of kind UNSUPPORTED_MEDIA_TYPE, when its content is of no type that can be read.
        """
        received = await self._intake.receive(incoming, filename)
        async with (
            self._intake.keep(scope, received.staged) as kept,
            self._access.refusing(scope, "document.version", document_id) as transaction,
        ):
            document = await self._access.lock(transaction, document_id, expected, WRITE)
            kept.owner_id = document.owner_id
            blob_id = await self._intake.record(transaction, scope, received, document.owner_id)
            sha256 = received.staged.sha256
            changed = await self._advance(transaction, scope, document, blob_id, sha256)
            await self._intake.settle(transaction, kept, received, blob_id)
        return changed

    async def restore(
        self, scope: Scope, document_id: UUID, number: int, expected: Collection[int] | None
    ) -> Document:
        """Make a new version with the content of an earlier one.

        Raises:
            NotFoundError: When the principal may see no such document, or it has no such version.
            StaleDocumentError: When it is at none of the expected revisions.
        """
        async with self._access.refusing(scope, "document.version", document_id) as transaction:
            document = await self._access.lock(transaction, document_id, expected)
            version = await self._get(transaction, document_id, number, OWNER_ALONE)
            return await self._advance(
                transaction, scope, document, version.blob_id, version.sha256
            )

    async def get(self, scope: Scope, document_id: UUID, number: int) -> DocumentVersion:
        """One version.

        Raises:
            NotFoundError: When the principal may see no such document, or it has no such version.
        """
        async with self._access.refusing(scope, "document.read", document_id) as transaction:
            return await self._get(transaction, document_id, number, READ)

    async def list_versions(
        self, scope: Scope, document_id: UUID, *, before: int | None = None, limit: int
    ) -> list[DocumentVersion]:
        """A page of a document's versions, the newest first.

        Raises:
            NotFoundError: When the principal may see no such document.
        """
        async with self._access.refusing(scope, "document.read", document_id) as transaction:
            await self._access.find(transaction, document_id, READ)
            rows = await self._repository.list_versions(
                transaction, document_id, before, limit, READ
            )
        return [await self._open(document_id, row) for row in rows]

    async def read(
        self, scope: Scope, document_id: UUID, number: int | None, select: SelectSpan
    ) -> VersionContent:
        """Bytes of a version; if any were wanted it is one download, and put on record.

        Args:
            scope: Whose document it is.
            document_id: Which document.
            number: Which version; None for the current one.
            select: Decides which bytes.

        Raises:
            NotFoundError: When the principal may see no such document, or it has no such version.
            NotGrantedError: When they may, and not download it.
            GrantEndedError: When another had the last download that a grant allows.
            BlobMissingError: When its bytes are missing.
            DecryptionError: When the first half MiB of these bytes is damaged.
        """
        async with self._access.refusing(scope, "document.read", document_id) as transaction:
            document = await self._access.find(transaction, document_id, DOWNLOAD)
            row = await self._find(transaction, document_id, number, DOWNLOAD)
            version = await self._open(document_id, row)
            span = select(version)
            if span is None:
                return VersionContent(document, version, None, None)
            async with self._access.explaining_missing(transaction, document_id):
                content = await open_content(self._blobs, self._keys, row, span)
            await self._access.count_use(transaction, document)
            act = Act("document.read", subject_of(document), document.owner_id, version.number)
            await self._ledger.append(
                transaction, scope, *acts_under(scope, document.access.way, act)
            )
        return VersionContent(document, version, span, content.blocks())

    async def _advance(
        self,
        transaction: Transaction,
        scope: Scope,
        document: Document,
        blob_id: UUID,
        sha256: bytes,
    ) -> Document:
        number = document.version + 1
        subject, owner_id = subject_of(document), document.owner_id
        act = Act("document.version", subject, owner_id, number, content=sha256)
        acts = acts_under(scope, document.access.way, act)
        entry_id, *_ = await self._ledger.append(transaction, scope, *acts)
        await self._repository.insert_document_version(
            transaction, document.id, number, blob_id, entry_id
        )
        await self._repository.advance_document(transaction, document.id, number)
        await self._follow(transaction, scope, document.id)
        return await self._access.find(transaction, document.id, EVERY_ACTION)

    async def _get(
        self,
        transaction: Transaction,
        document_id: UUID,
        number: int,
        actions: Sequence[GrantAction],
    ) -> DocumentVersion:
        row = await self._find(transaction, document_id, number, actions)
        return await self._open(document_id, row)

    async def _find(
        self,
        transaction: Transaction,
        document_id: UUID,
        number: int | None,
        actions: Sequence[GrantAction],
    ) -> Record:
        row = await self._repository.find_content(transaction, document_id, number, actions)
        if row is None:
            await self._access.refuse(transaction, document_id, actions)
            raise NotFoundError(
                f"version {number} of a file", render_id(DOCUMENT_PREFIX, document_id)
            )
        return row

    async def _open(self, document_id: UUID, row: Record) -> DocumentVersion:
        key = await self._keys.open(row)
        place = bind(row["tenant_id"], "blobs", row["id"], "sha256")
        return DocumentVersion(
            document_id=document_id,
            number=row["number"],
            blob_id=row["id"],
            byte_size=row["byte_size"],
            media_type=row["media_type"],
            sha256=unseal(key.material, row["sealed_sha256"], place),
            entry_id=row["entry_id"],
            created_at=row["created_at"],
        )
