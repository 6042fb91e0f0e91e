"""The requests' statements, one method each."""

from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.sharing.models import Resource, ResourceKind

_QUERIES: Final = load_queries("undercroft.sharing.requests")


class RequestRepository:
    """Reads and writes access requests."""

    async def count_request(self, transaction: Transaction, most: int) -> bool:
        """Count that the caller asks; False when they have asked as often as they may today."""
        return await _QUERIES.maybe(transaction, "count_request", most) is not None

    async def find_thing(self, transaction: Transaction, resource: Resource) -> Record | None:
        """Whose a thing of the tenant's is, with its key."""
        return await _QUERIES.maybe(
            transaction, "find_thing", resource.id, resource.kind.name.lower()
        )

    async def hold_thing(self, transaction: Transaction, resource: Resource) -> None:
        """Keep a thing, if it is there, from being deleted before the transaction ends."""
        await _QUERIES.value(transaction, "hold_thing", resource.id)

    async def hold_asked_thing(self, transaction: Transaction, request_id: UUID) -> None:
        """The same of what a request to the caller is about."""
        await _QUERIES.value(transaction, "hold_asked_thing", request_id)

    async def delete_pending(self, transaction: Transaction, resource: Resource) -> None:
        """Take back what the caller has asked about a thing."""
        kind = resource.kind.name.lower()
        await _QUERIES.execute(transaction, "delete_pending", resource.id, kind)

    async def insert_request(
        self, transaction: Transaction, request_id: UUID, resource: Resource, sealed: bytes
    ) -> None:
        """Keep what the caller asks, where there is such a thing."""
        await _QUERIES.execute(
            transaction,
            "insert_request",
            request_id,
            *(resource.id if kind is resource.kind else None for kind in ResourceKind),
            sealed,
            resource.id,
            resource.kind.name.lower(),
        )

    async def lock_request(self, transaction: Transaction, request_id: UUID) -> bool:
        """Keep others from answering a request to the caller; whether there is one."""
        return await _QUERIES.maybe(transaction, "lock_request", request_id) is not None

    async def find_request(self, transaction: Transaction, request_id: UUID) -> Record | None:
        """A request to the caller, or an answered one of theirs, with its thing's key."""
        return await _QUERIES.maybe(transaction, "find_request", request_id)

    async def list_requests(
        self, transaction: Transaction, *, asked: bool, after: UUID | None, limit: int
    ) -> list[Record]:
        """What the caller is asked for, or what they asked for and was answered, the newest first."""
        return await _QUERIES.many(transaction, "list_requests", asked, after, limit)

    async def approve_request(
        self, transaction: Transaction, request_id: UUID, grant_id: UUID
    ) -> None:
        """Close a locked request with what was granted."""
        await _QUERIES.execute(transaction, "approve_request", request_id, grant_id)

    async def deny_request(self, transaction: Transaction, request_id: UUID) -> None:
        """Close a locked request without anything granted."""
        await _QUERIES.execute(transaction, "deny_request", request_id)

    async def expire_requests(self, transaction: Transaction) -> int:
        """Close what nobody has answered in time, of every tenant."""
        return cast("int", await _QUERIES.value(transaction, "expire_requests"))

    async def announce_requests(self, transaction: Transaction, limit: int) -> int:
        """Tell of what was asked since the last time, in every tenant."""
        return cast("int", await _QUERIES.value(transaction, "announce_requests", limit))
