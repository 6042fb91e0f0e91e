"""Collections, and the documents in them.

Adding a document is what gets its content indexed: the membership, the content's state and the job that does the work
commit together.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import structlog
from asyncpg import Record

from undercroft.kit.crypto.aead import DecryptionError, bind, seal, unseal
from undercroft.kit.database import Database, Scope, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.retrieval.collections.errors import DocumentSealedError
from undercroft.retrieval.collections.models import (
    Collection,
    Member,
    MemberStatus,
    Page,
    StatusCounts,
)
from undercroft.retrieval.collections.repository import CollectionRepository
from undercroft.retrieval.index.service import IndexService
from undercroft.retrieval.passages import PassagePlace, open_passage
from undercroft.vault.access import UNREADABLE
from undercroft.vault.keys.errors import KeyDestroyedError
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.service import DOCUMENT_PREFIX

COLLECTION_PREFIX: Final = "vs_"

_log: Final = structlog.stdlib.get_logger(__name__)


class CollectionService:
    """Creates, changes and deletes collections, and says which documents are in them."""

    def __init__(
        self, database: Database, keys: KeyRing, ids: IdSource, index: IndexService
    ) -> None:
        self._database = database
        self._keys = keys
        self._ids = ids
        self._index = index
        self._repository = CollectionRepository()

    async def create(
        self,
        scope: Scope,
        name: str,
        metadata: Mapping[str, str],
        document_ids: Sequence[UUID] = (),
    ) -> Collection:
        """Create a collection with these documents in it, all or nothing.

        Raises:
            NotFoundError: When the principal lacks one of the documents.
            DocumentSealedError: When one of them is sealed.
        """
        collection_id = self._ids.new()
        async with self._database.transaction(scope) as transaction:
            key = await self._keys.create(transaction, scope)
            sealed_name = _seal_name(key, scope.tenant_id, collection_id, name)
            await self._repository.insert_collection(
                transaction, collection_id, key.id, sealed_name, metadata
            )
            # All documents are locked, in order, before any content: a delete takes them in the same order, and so
            # neither waits for what the other holds.
            blob_ids = {
                await self._insert_member(transaction, collection_id, document_id, {})
                for document_id in sorted(set(document_ids))
            }
            for blob_id in sorted(blob_ids):
                await self._index.request(transaction, scope, blob_id)
            return await self._get(transaction, collection_id)

    async def get(self, scope: Scope, collection_id: UUID) -> Collection:
        """One collection.

        Raises:
            NotFoundError: When the principal may see no such collection.
        """
        async with self._database.transaction(scope) as transaction:
            return await self._get(transaction, collection_id)

    async def list_collections(self, scope: Scope, page: Page) -> list[Collection]:
        """A page of the principal's collections."""
        async with self._database.transaction(scope) as transaction:
            rows = await self._repository.list_collections(transaction, page)
        return [await self._collection(row) for row in rows]

    async def update(
        self,
        scope: Scope,
        collection_id: UUID,
        name: str | None,
        metadata: Mapping[str, str] | None,
    ) -> Collection:
        """Change the name, the metadata or both; None leaves as is.

        Raises:
            NotFoundError: When the principal may see no such collection.
        """
        async with self._database.transaction(scope) as transaction:
            row = await self._repository.find_collection(transaction, collection_id)
            if row is None:
                raise _no_collection(collection_id)
            key = await self._keys.open(row)
            sealed_name = (
                None if name is None else _seal_name(key, scope.tenant_id, collection_id, name)
            )
            if not await self._repository.update_collection(
                transaction, collection_id, sealed_name, metadata
            ):
                raise _no_collection(collection_id)
            return await self._get(transaction, collection_id)

    async def delete(self, scope: Scope, collection_id: UUID) -> None:
        """Delete a collection. Its documents stay.

        Raises:
            NotFoundError: When the principal may see no such collection.
        """
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.delete_collection(transaction, collection_id):
                raise _no_collection(collection_id)

    async def add(
        self,
        scope: Scope,
        collection_id: UUID,
        document_id: UUID,
        attributes: Mapping[str, str | float | bool],
    ) -> Member:
        """Add a document, or replace the attributes of one that is a member already.

        Raises:
            NotFoundError: When the principal may see no such collection or document.
            DocumentSealedError: When the document is sealed.
        """
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.lock_collection(transaction, collection_id):
                raise _no_collection(collection_id)
            blob_id = await self._insert_member(transaction, collection_id, document_id, attributes)
            await self._index.request(transaction, scope, blob_id)
            return await self._get_member(transaction, collection_id, document_id)

    async def get_member(self, scope: Scope, collection_id: UUID, document_id: UUID) -> Member:
        """One membership.

        Raises:
            NotFoundError: When the principal may see no such membership.
        """
        async with self._database.transaction(scope) as transaction:
            return await self._get_member(transaction, collection_id, document_id)

    async def list_members(
        self, scope: Scope, collection_id: UUID, page: Page, status: MemberStatus | None
    ) -> list[Member]:
        """A page of the members, of one status if given.

        Raises:
            NotFoundError: When the principal may see no such collection.
        """
        async with self._database.transaction(scope) as transaction:
            await self._get(transaction, collection_id)
            return await self._repository.list_members(transaction, collection_id, page, status)

    async def update_member(
        self,
        scope: Scope,
        collection_id: UUID,
        document_id: UUID,
        attributes: Mapping[str, str | float | bool],
    ) -> Member:
        """Replace a membership's attributes.

        Raises:
            NotFoundError: When the principal may see no such membership.
        """
        async with self._database.transaction(scope) as transaction:
            await self._repository.update_member(
                transaction, collection_id, document_id, attributes
            )
            return await self._get_member(transaction, collection_id, document_id)

    async def remove(self, scope: Scope, collection_id: UUID, document_id: UUID) -> None:
        """Take a document out of a collection. The document stays.

        Raises:
            NotFoundError: When the principal may see no such membership.
        """
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.delete_member(transaction, collection_id, document_id):
                raise NotFoundError("vector store file", render_id(DOCUMENT_PREFIX, document_id))

    async def read_member(self, scope: Scope, collection_id: UUID, document_id: UUID) -> list[str]:
        """The text that was extracted from a member, chunk by chunk.

        Raises:
            NotFoundError: When the principal may see no such membership.
        """
        async with self._database.transaction(scope) as transaction:
            await self._get_member(transaction, collection_id, document_id)
            rows = await self._repository.list_member_chunks(
                transaction, collection_id, document_id
            )
        if not rows:
            return []
        key = await self._keys.open(rows[0])
        return await asyncio.to_thread(_open_chunks, key, rows)

    async def _insert_member(
        self,
        transaction: Transaction,
        collection_id: UUID,
        document_id: UUID,
        attributes: Mapping[str, str | float | bool],
    ) -> UUID:
        """Add a document; the content that is to be indexed."""
        is_sealed = await self._repository.lock_document(transaction, document_id)
        if is_sealed is None:
            raise NotFoundError("file", render_id(DOCUMENT_PREFIX, document_id), param="file_id")
        if is_sealed:
            raise DocumentSealedError
        return await self._repository.insert_member(
            transaction, collection_id, document_id, attributes
        )

    async def _get(self, transaction: Transaction, collection_id: UUID) -> Collection:
        row = await self._repository.find_collection(transaction, collection_id)
        if row is None:
            raise _no_collection(collection_id)
        return await self._collection(row)

    async def _collection(self, row: Record) -> Collection:
        completed, failed = int(row["completed"]), int(row["failed"])
        return Collection(
            id=row["id"],
            name=await self._name(row),
            metadata=row["metadata"],
            created_at=row["created_at"],
            last_active_at=row["last_active_at"],
            byte_size=row["byte_size"],
            counts=StatusCounts(int(row["members"]) - completed - failed, completed, failed),
        )

    async def _name(self, row: Record) -> str:
        """Of a collection; one that does not open must neither hide a page of others nor be undeletable."""
        try:
            key = await self._keys.open(row)
            place = _name_place(row["tenant_id"], row["id"])
            return unseal(key.material, row["sealed_name"], place).decode()
        except KeyDestroyedError:
            return UNREADABLE
        except DecryptionError:
            _log.error("collection_damaged", collection_id=str(row["id"]))
            return UNREADABLE

    async def _get_member(
        self, transaction: Transaction, collection_id: UUID, document_id: UUID
    ) -> Member:
        member = await self._repository.find_member(transaction, collection_id, document_id)
        if member is None:
            raise NotFoundError("vector store file", render_id(DOCUMENT_PREFIX, document_id))
        return member


def _name_place(tenant_id: UUID, collection_id: UUID) -> bytes:
    return bind(tenant_id, "collections", collection_id, "name")


def _seal_name(key: DataKey, tenant_id: UUID, collection_id: UUID, name: str) -> bytes:
    return seal(key.material, name.encode(), _name_place(tenant_id, collection_id))


def _open_chunks(key: DataKey, rows: Sequence[Record]) -> list[str]:
    return [
        open_passage(
            key.material,
            PassagePlace(row["tenant_id"], row["blob_id"], row["ordinal"]),
            row["sealed_text"],
        ).text
        for row in rows
    ]


def _no_collection(collection_id: UUID) -> NotFoundError:
    return NotFoundError("vector store", render_id(COLLECTION_PREFIX, collection_id))
