"""Collections, and the documents in them.

Adding a document is what gets its content indexed: the membership, the content's state and the job that does the work
commit together.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import IdSource, parse_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.service import Ledger
from undercroft.retrieval.collections.errors import (
    no_collection,
    no_member,
)
from undercroft.retrieval.collections.intake import Addition, MemberIntake
from undercroft.retrieval.collections.journal import (
    CollectionJournal,
    collection_act,
    document_act,
)
from undercroft.retrieval.collections.models import (
    COLLECTION_PREFIX,
    Collection,
    Member,
    MemberStatus,
    Page,
    StatusCounts,
)
from undercroft.retrieval.collections.names import open_name, seal_name
from undercroft.retrieval.collections.repository import CollectionRepository
from undercroft.retrieval.index.service import IndexService
from undercroft.retrieval.passages import open_row
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction, ModelUse
from undercroft.sharing.policy import ways_for_models
from undercroft.vault.keys.models import DataKey
from undercroft.vault.keys.service import KeyRing


class CollectionService:
    """Creates, changes and deletes collections, and says which documents are in them."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        ledger: Ledger,
        ids: IdSource,
        index: IndexService,
    ) -> None:
        self._database = database
        self._journal = CollectionJournal(database, ledger)
        self._keys = keys
        self._ids = ids
        self._intake = MemberIntake(index)
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
            NotFoundError: When the principal may see no such document.
            NotGrantedError: When they may, and not share it.
            DocumentSealedError: When one of them is sealed.
        """
        collection_id = self._ids.new()
        # Of one that is named more than once, the first place.
        places = {each: place for place, each in reversed([*enumerate(document_ids)])}
        additions = [Addition(each, {}, f"file_ids.{place}") for each, place in places.items()]
        async with self._journal.refusing(
            scope, "collection.create", (), list(places)
        ) as transaction:
            key = await self._keys.create(transaction, scope)
            sealed_name = seal_name(key, scope.tenant_id, collection_id, name)
            await self._repository.insert_collection(
                transaction, collection_id, key.id, sealed_name, metadata
            )
            added = await self._intake.add(transaction, scope, collection_id, additions)
            made = collection_act(scope, "collection.create", collection_id, key.salt)
            await self._journal.record(transaction, scope, made, *added)
            return await self._get(transaction, collection_id)

    async def get(self, scope: Scope, collection_id: UUID) -> Collection:
        """One collection.

        Raises:
            NotFoundError: When the principal may see no such collection.
            NotGrantedError: When they may, and not read it.
        """
        async with self._refusing(scope, "collection.read", collection_id) as transaction:
            return await self._get(transaction, collection_id)

    async def list_collections(self, scope: Scope, page: Page) -> list[Collection]:
        """A page of the principal's collections, and of those that they may read."""
        async with self._database.transaction(scope) as transaction:
            rows = await self._repository.list_collections(transaction, page)
        return [await self._collection(row) for row in rows]

    async def list_for_models(
        self, scope: Scope, collection_ids: Sequence[UUID], model_use: frozenset[ModelUse]
    ) -> set[UUID]:
        """Which of these the principal may read, and show to a model that does this."""
        async with self._database.transaction(scope) as transaction:
            readable = await self._repository.list_readable(transaction, collection_ids)
        return {each for each, ways in readable.items() if ways_for_models(ways, model_use)}

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
        async with self._refusing(scope, "collection.update", collection_id) as transaction:
            row = await self._repository.find_collection(transaction, collection_id)
            if row is None or row["actions"] is not None:
                raise await self._journal.refusal(transaction, collection_id)
            key = await self._keys.open(row)
            sealed_name = (
                None if name is None else seal_name(key, scope.tenant_id, collection_id, name)
            )
            if not await self._repository.update_collection(
                transaction, collection_id, sealed_name, metadata
            ):
                raise no_collection(collection_id)
            changed = collection_act(scope, "collection.update", collection_id, key.salt)
            await self._journal.record(transaction, scope, changed)
            return await self._get(transaction, collection_id)

    async def delete(self, scope: Scope, collection_id: UUID) -> None:
        """Delete a collection. Its documents stay.

        Raises:
            NotFoundError: When the principal may see no such collection.
        """
        async with self._refusing(scope, "collection.delete", collection_id) as transaction:
            # Read first, as it goes with the collection. Of two who delete at once, the second reads it as well, then
            # waits, and finds nothing to delete.
            salt = await self._repository.find_collection_salt(transaction, collection_id)
            if salt is None or not await self._repository.delete_collection(
                transaction, collection_id
            ):
                raise await self._journal.refusal(transaction, collection_id)
            gone = collection_act(scope, "collection.delete", collection_id, salt)
            await self._journal.record(transaction, scope, gone)

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
            NotGrantedError: When they may, and the collection is another's, or the document, and they may not share it.
            GrantEndedError: When the grant to share it ended meanwhile.
            DocumentSealedError: When the document is sealed.
        """
        action: Action = "collection.add_document"
        async with self._refusing(scope, action, collection_id, document_id) as transaction:
            salt = await self._repository.lock_collection(transaction, collection_id)
            if salt is None:
                raise await self._journal.refusal(transaction, collection_id)
            added = await self._intake.add(
                transaction, scope, collection_id, [Addition(document_id, attributes, "file_id")]
            )
            taken = collection_act(scope, action, collection_id, salt)
            await self._journal.record(transaction, scope, taken, *added)
            return await self._get_member(transaction, collection_id, document_id)

    async def get_member(self, scope: Scope, collection_id: UUID, document_id: UUID) -> Member:
        """One membership.

        Raises:
            NotFoundError: When the principal may see no such membership.
        """
        async with self._refusing(scope, "collection.read", collection_id) as transaction:
            return await self._get_member(transaction, collection_id, document_id)

    async def list_members(
        self, scope: Scope, collection_id: UUID, page: Page, status: MemberStatus | None
    ) -> list[Member]:
        """A page of the members, of one status if given.

        Raises:
            NotFoundError: When the principal may see no such collection.
        """
        async with self._refusing(scope, "collection.read", collection_id) as transaction:
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
        action: Action = "collection.update_document"
        async with self._refusing(scope, action, collection_id) as transaction:
            salts = await self._get_member_salts(transaction, collection_id, document_id)
            await self._repository.update_member(
                transaction, collection_id, document_id, attributes
            )
            changed = collection_act(scope, action, collection_id, salts["collection_salt"])
            await self._journal.record(transaction, scope, changed)
            return await self._get_member(transaction, collection_id, document_id)

    async def remove(self, scope: Scope, collection_id: UUID, document_id: UUID) -> None:
        """Take a document out of a collection. The document stays.

        Raises:
            NotFoundError: When the principal may see no such membership.
        """
        action: Action = "collection.remove_document"
        async with self._refusing(scope, action, collection_id) as transaction:
            salts = await self._get_member_salts(transaction, collection_id, document_id)
            if not await self._repository.delete_member(transaction, collection_id, document_id):
                raise no_member(document_id)
            await self._journal.record(
                transaction,
                scope,
                collection_act(scope, action, collection_id, salts["collection_salt"]),
                document_act(
                    "document.remove_from_collection",
                    document_id,
                    salts["owner_id"],
                    salts["document_salt"],
                    salts["current_version"],
                ),
            )

    async def read_member(self, scope: Scope, collection_id: UUID, document_id: UUID) -> list[str]:
        """The text that was extracted from a member, chunk by chunk.

        Raises:
            NotFoundError: When the principal may see no such membership.
        """
        async with self._refusing(scope, "collection.read", collection_id) as transaction:
            salts = await self._get_member_salts(transaction, collection_id, document_id)
            if salts["owner_id"] != scope.principal_id:
                raise NotGrantedError
            rows = await self._repository.list_member_chunks(
                transaction, collection_id, document_id
            )
            read = document_act(
                "document.read",
                document_id,
                salts["owner_id"],
                salts["document_salt"],
                salts["current_version"],
            )
            await self._journal.record(transaction, scope, read)
        if not rows:
            return []
        key = await self._keys.open(rows[0])
        return await asyncio.to_thread(_open_chunks, key, rows)

    def _refusing(
        self, scope: Scope, action: Action, collection_id: UUID, *document_ids: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        return self._journal.refusing(scope, action, (collection_id,), document_ids)

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a collection, for its owner alone; None when it is gone."""
        del scope  # the transaction's own
        collection_id = parse_id(COLLECTION_PREFIX, reference)
        if collection_id is None:
            return None
        return await self._repository.find_collection_salt(transaction, collection_id)

    async def _get(self, transaction: Transaction, collection_id: UUID) -> Collection:
        row = await self._repository.find_collection(transaction, collection_id)
        if row is None:
            raise no_collection(collection_id)
        if row["actions"] is not None and GrantAction.READ not in row["actions"]:
            raise NotGrantedError(GrantAction.READ)
        return await self._collection(row)

    async def _collection(self, row: Record) -> Collection:
        completed, failed = int(row["completed"]), int(row["failed"])
        return Collection(
            id=row["id"],
            name=await open_name(self._keys, row),
            metadata=row["metadata"],
            created_at=row["created_at"],
            last_active_at=row["last_active_at"],
            byte_size=row["byte_size"],
            counts=StatusCounts(int(row["members"]) - completed - failed, completed, failed),
        )

    async def _get_member(
        self, transaction: Transaction, collection_id: UUID, document_id: UUID
    ) -> Member:
        member = await self._repository.find_member(transaction, collection_id, document_id)
        if member is None:
            await self._get(transaction, collection_id)
            raise no_member(document_id)
        return member

    async def _get_member_salts(
        self, transaction: Transaction, collection_id: UUID, document_id: UUID
    ) -> Record:
        salts = await self._repository.find_member_salts(transaction, collection_id, document_id)
        if salts is None:
            refusal = await self._journal.refusal(transaction, collection_id)
            raise refusal if isinstance(refusal, NotGrantedError) else no_member(document_id)
        return salts


def _open_chunks(key: DataKey, rows: Sequence[Record]) -> list[str]:
    return [open_row(key.material, row).text for row in rows]
