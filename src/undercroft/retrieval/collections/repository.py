"""The collections' statements, one method each."""

from collections.abc import Mapping, Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.retrieval.collections.models import Member, MemberStatus, Page
from undercroft.sharing.models import OWNED, GrantAction, Way
from undercroft.sharing.policy import read_ways
from undercroft.vault.models import IndexState

_QUERIES: Final = load_queries("undercroft.retrieval.collections")
_STATUS: Final = {
    IndexState.UNINDEXED: MemberStatus.IN_PROGRESS,
    IndexState.PENDING: MemberStatus.IN_PROGRESS,
    IndexState.INDEXED: MemberStatus.COMPLETED,
    IndexState.FAILED: MemberStatus.FAILED,
}


class CollectionRepository:
    """Reads and writes collections and memberships."""

    async def insert_collection(
        self,
        transaction: Transaction,
        collection_id: UUID,
        data_key_id: UUID,
        sealed_name: bytes,
        metadata: Mapping[str, str],
    ) -> None:
        """Create an empty collection."""
        await _QUERIES.execute(
            transaction,
            "insert_collection",
            collection_id,
            data_key_id,
            sealed_name,
            dict(metadata),
        )

    async def find_collection(self, transaction: Transaction, collection_id: UUID) -> Record | None:
        """A collection of the principal's with its key, its members counted."""
        return await _QUERIES.maybe(transaction, "find_collection", collection_id)

    async def list_collections(self, transaction: Transaction, page: Page) -> list[Record]:
        """A page of the principal's collections, with their keys."""
        return await _QUERIES.many(
            transaction, "list_collections", page.after, page.ascending, page.limit
        )

    async def list_readable(
        self, transaction: Transaction, collection_ids: Sequence[UUID]
    ) -> dict[UUID, tuple[Way, ...]]:
        """Those of some collections that the principal may read, and in which ways."""
        rows = await _QUERIES.many(transaction, "list_readable", collection_ids)
        return {row["id"]: OWNED if row["ways"] is None else read_ways(row["ways"]) for row in rows}

    async def update_collection(
        self,
        transaction: Transaction,
        collection_id: UUID,
        sealed_name: bytes | None,
        metadata: Mapping[str, str] | None,
    ) -> bool:
        """Change what is not None; False when there is no such collection."""
        changed = await _QUERIES.value(
            transaction,
            "update_collection",
            collection_id,
            sealed_name,
            None if metadata is None else dict(metadata),
        )
        return changed is not None

    async def delete_collection(self, transaction: Transaction, collection_id: UUID) -> bool:
        """Delete a collection; its documents stay. False when there is no such collection."""
        return await _QUERIES.value(transaction, "delete_collection", collection_id) is not None

    async def lock_collection(self, transaction: Transaction, collection_id: UUID) -> bytes | None:
        """Keep a collection from being deleted until the transaction ends; its salt, or None when there is none."""
        salt = await _QUERIES.value(transaction, "lock_collection", collection_id)
        return cast("bytes | None", salt)

    async def find_collection_salt(
        self, transaction: Transaction, collection_id: UUID
    ) -> bytes | None:
        """The salt of the ledger's commitments to a collection of the principal's."""
        salt = await _QUERIES.value(transaction, "find_collection_salt", collection_id)
        return cast("bytes | None", salt)

    async def find_refused(
        self,
        transaction: Transaction,
        collection_ids: Sequence[UUID],
        document_ids: Sequence[UUID],
    ) -> Record | None:
        """One of these of the tenant's, another principal's before one's own: its owner and its salt."""
        return await _QUERIES.maybe(transaction, "find_refused", collection_ids, document_ids)

    async def lock_document(
        self, transaction: Transaction, document_id: UUID, actions: Sequence[GrantAction]
    ) -> Record | None:
        """Lock a document that is to become a member; what has to be known of it, or None when there is none."""
        return await _QUERIES.maybe(transaction, "lock_document", document_id, list(actions))

    async def find_grant_to_share(self, transaction: Transaction, document_id: UUID) -> UUID | None:
        """The grant by which the principal may put another's document into a collection."""
        grant_id = await _QUERIES.value(transaction, "find_grant_to_share", document_id)
        return cast("UUID | None", grant_id)

    async def find_member_salts(
        self, transaction: Transaction, collection_id: UUID, document_id: UUID
    ) -> Record | None:
        """The salts of a membership's collection and document, and the document's version."""
        return await _QUERIES.maybe(transaction, "find_member_salts", collection_id, document_id)

    async def insert_member(
        self,
        transaction: Transaction,
        collection_id: UUID,
        document_id: UUID,
        attributes: Mapping[str, str | float | bool],
        grant_id: UUID | None = None,
    ) -> UUID:
        """Add a document that is locked to a collection, another's by a grant that is held; its blob."""
        blob_id = await _QUERIES.value(
            transaction, "insert_member", collection_id, document_id, dict(attributes), grant_id
        )
        return cast("UUID", blob_id)

    async def find_member(
        self, transaction: Transaction, collection_id: UUID, document_id: UUID
    ) -> Member | None:
        """One membership."""
        row = await _QUERIES.maybe(transaction, "find_member", collection_id, document_id)
        return None if row is None else read_member(row)

    async def list_members(
        self,
        transaction: Transaction,
        collection_id: UUID,
        page: Page,
        status: MemberStatus | None,
    ) -> list[Member]:
        """A page of a collection's members."""
        rows = await _QUERIES.many(
            transaction,
            "list_members",
            collection_id,
            page.after,
            page.ascending,
            status,
            page.limit,
        )
        return [read_member(row) for row in rows]

    async def update_member(
        self,
        transaction: Transaction,
        collection_id: UUID,
        document_id: UUID,
        attributes: Mapping[str, str | float | bool],
    ) -> bool:
        """Replace a membership's attributes; False when there is no such membership."""
        changed = await _QUERIES.value(
            transaction, "update_member", collection_id, document_id, dict(attributes)
        )
        return changed is not None

    async def delete_member(
        self, transaction: Transaction, collection_id: UUID, document_id: UUID
    ) -> bool:
        """Take a document out of a collection; False when it was not in it."""
        gone = await _QUERIES.value(transaction, "delete_member", collection_id, document_id)
        return gone is not None

    async def list_member_chunks(
        self, transaction: Transaction, collection_id: UUID, document_id: UUID
    ) -> list[Record]:
        """The chunks of a member in their order, with their content's key."""
        return await _QUERIES.many(transaction, "list_member_chunks", collection_id, document_id)


def read_member(row: Record) -> Member:
    """A membership; of one that is gone the row has no state."""
    state = row["index_state"]
    return Member(
        collection_id=row["collection_id"],
        document_id=row["document_id"],
        attributes=row["attributes"],
        status=MemberStatus.CANCELLED if state is None else _STATUS[IndexState(state)],
        error_code=row["index_error_code"],
        error_message=row["index_error_message"],
        byte_size=row["byte_size"],
        added_at=row["added_at"],
    )
