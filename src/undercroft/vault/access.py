"""Documents as rows that are found, locked and put on record: what all of the vault's services do with them."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, bind, seal, unseal
from undercroft.kit.crypto.sealed_json import seal_json, unseal_json
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import find_target, recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction
from undercroft.sharing.uses import GrantUses
from undercroft.sharing.ways import EVERY_ACTION, OWNER_ALONE, acts_under, read_access
from undercroft.vault.errors import BlobMissingError, StaleDocumentError
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX, Document, IndexState
from undercroft.vault.repository import DocumentRepository

UNREADABLE: Final = "(unreadable)"
"""Stands for the name of a document that does not open."""

_log: Final = structlog.stdlib.get_logger(__name__)


class DocumentAccess:
    """Finds and locks documents that the principal may see.

    Args:
        database: Where they are.
        keys: Open their names.
        ledger: Where refusals are put on record.
    """

    def __init__(self, database: Database, keys: KeyRing, ledger: Ledger) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._repository = DocumentRepository()
        self._uses = GrantUses()

    def refusing(
        self, scope: Scope, action: Action, document_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction on one document, whose refusal is put on record."""
        find = find_target(DOCUMENT_PREFIX, document_id, self._repository.find_document_owner)
        return recording_refusal(self._database, self._ledger, scope, action, find)

    async def find(
        self,
        transaction: Transaction,
        document_id: UUID,
        actions: Sequence[GrantAction] = OWNER_ALONE,
        *,
        is_trashed: bool | None = False,
        even_damaged: bool = False,
    ) -> Document:
        """A document: in the trash, not in it, or, if None, either.

        Args:
            transaction: Where it is read.
            document_id: Which document.
            actions: By a grant of any of which another's is found; the first that there is counts.
            is_trashed: In the trash, not in it, or, if None, either.
            even_damaged: Whether one that does not open is answered as :meth:`describe` does.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may, and not by one of the actions.
        """
        row = await self._repository.find_document(
            transaction, document_id, actions, is_trashed=is_trashed
        )
        if row is None:
            await self.refuse(transaction, document_id, actions)
            raise no_document(document_id)
        return await (self.describe(row) if even_damaged else self.open(row))

    async def lock(
        self,
        transaction: Transaction,
        document_id: UUID,
        expected: Collection[int] | None,
        actions: Sequence[GrantAction] = OWNER_ALONE,
        *,
        is_trashed: bool | None = False,
        even_damaged: bool = False,
    ) -> Document:
        """A document that nobody else changes before the transaction ends, under grants that do not end before.

        Args:
            transaction: What holds the lock.
            document_id: Which document.
            expected: The revisions that the caller means; None for any.
            actions: By a grant of any of which another's is found.
            is_trashed: In the trash, not in it, or, if None, either.
            even_damaged: Whether one that does not open is answered as :meth:`describe` does.

        Raises:
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may, and not by one of the actions.
            GrantEndedError: When the grant ended meanwhile.
            StaleDocumentError: When it is at another revision.
        """
        revision = await self._repository.lock_document(
            transaction, document_id, actions, is_trashed=is_trashed
        )
        if revision is None:
            await self.refuse(transaction, document_id, actions)
            raise no_document(document_id)
        if expected is not None and revision not in expected:
            raise StaleDocumentError
        document = await self.find(
            transaction, document_id, actions, is_trashed=is_trashed, even_damaged=even_damaged
        )
        await self._uses.hold(transaction, document.access.way)
        return document

    async def refuse(
        self, transaction: Transaction, document_id: UUID, wanted: Sequence[GrantAction]
    ) -> None:
        """Tell whoever may see a document, and not do this with it, what they lack.

        Raises:
            NotGrantedError: When it is so.
        """
        others = [action for action in EVERY_ACTION if action not in wanted]
        action = await self._repository.find_way_in(transaction, document_id, [*wanted, *others])
        if action in others:
            raise NotGrantedError(*wanted)

    @asynccontextmanager
    async def explaining_missing(
        self, transaction: Transaction, document_id: UUID
    ) -> AsyncGenerator[None]:
        """Tells, when the content of a document that was found is missing, whether the document is gone, too.

        The document is not locked, so that nobody waits for a reader. An erasure may have committed since it was found,
        and deleted the bytes: then it is the document that is not there.

        Raises:
            NotFoundError: When bytes are missing because the document was erased.
            KeyDestroyedError: When they are because the tenant's keys were destroyed.
            BlobMissingError: When they are although it is there.
        """
        try:
            yield
        except BlobMissingError:
            await self.find(transaction, document_id, EVERY_ACTION)
            raise

    async def open(self, row: Record) -> Document:
        """The document of a row that was read with its key, as ``find_document`` does.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
            DecryptionError: When the row or its key is damaged.
        """
        key = await self._keys.open(row)
        tenant_id, document_id = row["tenant_id"], row["id"]
        name = unseal(key.material, row["sealed_name"], document_name_place(tenant_id, document_id))
        metadata = open_metadata(key, tenant_id, document_id, row["sealed_metadata"])
        return _read_document(row, name.decode(), metadata)

    async def describe(self, row: Record) -> Document:
        """As :meth:`open`, and a document that does not open under a name that says so.

        For lists, in which one damaged row must not hide the others, and for deletes, which need no key.
        """
        try:
            return await self.open(row)
        except KeyDestroyedError:
            return _read_document(row, UNREADABLE, {})
        except DecryptionError:
            _log.error("document_damaged", document_id=str(row["id"]))
            return _read_document(row, UNREADABLE, {})

    async def record(
        self, transaction: Transaction, scope: Scope, action: Action, document: Document
    ) -> None:
        """Put on record what the principal did with a document."""
        act = Act(action, subject_of(document), document.owner_id, document.version)
        await self._ledger.append(transaction, scope, *acts_under(scope, document.access.way, act))

    async def count_use(self, transaction: Transaction, document: Document) -> None:
        """Count a download where a grant allows so many.

        Raises:
            GrantEndedError: When another had the last one. The transaction has to be rolled back.
        """
        await self._uses.count(transaction, document.access.way)


def _read_document(row: Record, filename: str, metadata: Mapping[str, str]) -> Document:
    return Document(
        id=row["id"],
        owner_id=row["owner_id"],
        access=read_access(row["action"], row["ways"]),
        salt=row["salt"],
        filename=filename,
        purpose=row["purpose"],
        version=row["current_version"],
        blob_id=row["blob_id"],
        byte_size=row["byte_size"],
        media_type=row["media_type"],
        index_state=IndexState(row["index_state"]),
        index_error=row["index_error_message"],
        revision=row["revision"],
        is_sealed=row["is_sealed"],
        metadata=metadata,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted_at=row["deleted_at"],
        purge_at=row["purge_at"],
        held_at=row["held_at"],
        hold_reason=row["hold_reason"],
    )


def subject_of(document: Document) -> Subject:
    """How the ledger names a document."""
    return Subject(render_id(DOCUMENT_PREFIX, document.id), document.salt)


def document_name_place(tenant_id: UUID, document_id: UUID) -> bytes:
    """What a document's name is bound to."""
    return bind(tenant_id, "documents", document_id, "name")


def seal_name(key: DataKey, tenant_id: UUID, document_id: UUID, name: str) -> bytes:
    """A document's name under its key."""
    return seal(key.material, name.encode(), document_name_place(tenant_id, document_id))


def seal_metadata(
    key: DataKey, tenant_id: UUID, document_id: UUID, metadata: Mapping[str, str]
) -> bytes:
    """A document's metadata under its key."""
    return seal_json(key.material, dict(metadata), _metadata_place(tenant_id, document_id))


def no_document(document_id: UUID) -> NotFoundError:
    """The error for a document that the principal does not have."""
    return NotFoundError("file", render_id(DOCUMENT_PREFIX, document_id))


def open_metadata(
    key: DataKey, tenant_id: UUID, document_id: UUID, sealed: bytes | None
) -> Mapping[str, str]:
    """A document's metadata from under its key; empty where none was kept.

    Raises:
        DecryptionError: When it was altered.
    """
    if sealed is None:
        return {}
    place = _metadata_place(tenant_id, document_id)
    opened: dict[str, str] = unseal_json(key.material, sealed, place)
    return opened


def _metadata_place(tenant_id: UUID, document_id: UUID) -> bytes:
    return bind(tenant_id, "documents", document_id, "metadata")
