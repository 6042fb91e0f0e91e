"""The statements of notifications, one method each."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.notifications.models import (
    MOST_ENDPOINTS,
    MOST_WAITING,
    Attempt,
    Delivery,
    DeliveryState,
    EndpointState,
    LetterKind,
)

_QUERIES: Final = load_queries("undercroft.notifications")


class EndpointRepository:
    """Reads and writes endpoints."""

    async def find_free_slot(self, transaction: Transaction) -> int | None:
        """A slot that the tenant has free; None when it has none."""
        return cast(
            "int | None", await _QUERIES.value(transaction, "find_free_slot", MOST_ENDPOINTS)
        )

    async def insert_endpoint(
        self,
        transaction: Transaction,
        endpoint_id: UUID,
        slot: int,
        data_key_id: UUID,
        sealed_target: bytes,
        event_types: Sequence[str],
    ) -> datetime | None:
        """Keep an endpoint; when that was, or None when another has taken the slot."""
        created_at = await _QUERIES.value(
            transaction,
            "insert_endpoint",
            endpoint_id,
            slot,
            data_key_id,
            sealed_target,
            event_types,
        )
        return cast("datetime | None", created_at)

    async def find_endpoint(self, transaction: Transaction, endpoint_id: UUID) -> Record | None:
        """An endpoint of the tenant's, with its key."""
        return await _QUERIES.maybe(transaction, "find_endpoint", endpoint_id)

    async def lock_endpoint(self, transaction: Transaction, endpoint_id: UUID) -> None:
        """Wait for whoever changes an endpoint, and keep others from it until this ends."""
        await _QUERIES.execute(transaction, "lock_endpoint", endpoint_id)

    async def list_endpoints(
        self, transaction: Transaction, after: UUID | None, limit: int
    ) -> list[Record]:
        """The tenant's endpoints after ``after``, oldest first, with their keys."""
        return await _QUERIES.many(transaction, "list_endpoints", after, limit)

    async def update_endpoint(
        self,
        transaction: Transaction,
        endpoint_id: UUID,
        sealed_target: bytes,
        event_types: Sequence[str],
        state: EndpointState,
    ) -> None:
        """Change an endpoint."""
        await _QUERIES.execute(
            transaction, "update_endpoint", endpoint_id, sealed_target, event_types, state
        )

    async def rotate_secret(
        self, transaction: Transaction, endpoint_id: UUID, sealed_target: bytes, overlap: timedelta
    ) -> datetime:
        """Keep another secret; until when the former one signs as well."""
        until = await _QUERIES.value(
            transaction, "rotate_secret", endpoint_id, sealed_target, overlap
        )
        return cast("datetime", until)

    async def delete_endpoint(self, transaction: Transaction, endpoint_id: UUID) -> bool:
        """Forget an endpoint, its key and its deliveries; whether it was there."""
        return await _QUERIES.value(transaction, "delete_endpoint", endpoint_id) is not None

    async def find_endpoint_salt(self, transaction: Transaction, endpoint_id: UUID) -> bytes | None:
        """The salt of the ledger's commitments to an endpoint."""
        salt = await _QUERIES.value(transaction, "find_endpoint_salt", endpoint_id)
        return cast("bytes | None", salt)

    async def mark_endpoint_gone(self, transaction: Transaction, endpoint_id: UUID) -> bool:
        """Note that an endpoint wants no more; whether it was enabled until now."""
        return await _QUERIES.value(transaction, "mark_endpoint_gone", endpoint_id) is not None

    async def list_subscribed(self, transaction: Transaction, event_type: str) -> list[Record]:
        """Endpoints that take an event, kept from being deleted until this ends, with whose they are."""
        return await _QUERIES.many(transaction, "list_subscribed", event_type, MOST_WAITING)


class DeliveryRepository:
    """Reads and writes messages and their deliveries."""

    async def insert_message(
        self,
        transaction: Transaction,
        message_id: UUID,
        event_type: str,
        payload: Mapping[str, Any],
        happened_at: datetime | None,
    ) -> None:
        """Keep what happened, now if not said when."""
        await _QUERIES.execute(
            transaction, "insert_message", message_id, event_type, payload, happened_at
        )

    async def insert_delivery(
        self, transaction: Transaction, delivery_id: UUID, endpoint_id: UUID, message_id: UUID
    ) -> None:
        """Begin a delivery."""
        await _QUERIES.execute(transaction, "insert_delivery", delivery_id, endpoint_id, message_id)

    async def insert_refused_delivery(
        self, transaction: Transaction, delivery_id: UUID, endpoint_id: UUID, message_id: UUID
    ) -> None:
        """Note a delivery that is not attempted, because too many wait before it."""
        await _QUERIES.execute(
            transaction, "insert_refused_delivery", delivery_id, endpoint_id, message_id
        )

    async def find_pending_delivery(
        self, transaction: Transaction, delivery_id: UUID
    ) -> Record | None:
        """A delivery that is to be attempted, with its message, endpoint and key."""
        return await _QUERIES.maybe(transaction, "find_pending_delivery", delivery_id)

    async def settle_delivery(
        self,
        transaction: Transaction,
        delivery_id: UUID,
        state: DeliveryState,
        attempts: int,
        attempt: Attempt,
    ) -> None:
        """Note the last attempt."""
        await _QUERIES.execute(
            transaction,
            "settle_delivery",
            delivery_id,
            state,
            attempts,
            attempt.status,
            attempt.error,
        )

    async def postpone_delivery(
        self,
        transaction: Transaction,
        delivery_id: UUID,
        attempts: int,
        attempt: Attempt,
        wait: timedelta,
    ) -> bool:
        """Note an attempt that another one is to follow; False when the delivery is gone."""
        found = await _QUERIES.value(
            transaction,
            "postpone_delivery",
            delivery_id,
            attempts,
            attempt.status,
            attempt.error,
            wait,
        )
        return found is not None

    async def fail_delivery(self, transaction: Transaction, delivery_id: UUID, error: str) -> None:
        """Give a delivery up without another attempt."""
        await _QUERIES.execute(transaction, "fail_delivery", delivery_id, error)

    async def lock_delivery(
        self, transaction: Transaction, endpoint_id: UUID, delivery_id: UUID
    ) -> DeliveryState | None:
        """The state of an endpoint's delivery, locked; None when there is no such delivery."""
        row = await _QUERIES.maybe(transaction, "lock_delivery", delivery_id, endpoint_id)
        return None if row is None else DeliveryState(row["state"])

    async def reopen_delivery(self, transaction: Transaction, delivery_id: UUID) -> None:
        """Begin a delivery anew."""
        await _QUERIES.execute(transaction, "reopen_delivery", delivery_id)

    async def list_deliveries(
        self,
        transaction: Transaction,
        endpoint_id: UUID,
        state: DeliveryState | None,
        after: UUID | None,
        limit: int,
    ) -> list[Delivery]:
        """An endpoint's deliveries, the newest first, from behind ``after``."""
        rows = await _QUERIES.many(transaction, "list_deliveries", endpoint_id, state, after, limit)
        return [_delivery(row) for row in rows]

    async def get_delivery(self, transaction: Transaction, delivery_id: UUID) -> Delivery:
        """One delivery."""
        return _delivery(await _QUERIES.one(transaction, "get_delivery", delivery_id))

    async def prune_messages(self, connection: AnyConnection, limit: int) -> int:
        """Delete every tenant's messages of more than thirty days ago; how many there were."""
        return int(await _QUERIES.value(connection, "prune_messages", limit))


class EventRepository:
    """Reads what was noted and not told yet."""

    async def list_tenants(self, connection: AnyConnection, limit: int) -> list[UUID]:
        """Tenants in which something is to be told."""
        rows = await _QUERIES.many(connection, "list_tenants_with_events", limit)
        return [row["tenant_id"] for row in rows]

    async def take_events(self, transaction: Transaction, limit: int) -> list[Record]:
        """The tenant's oldest, each taken by one worker alone, and back in line if that fails."""
        return await _QUERIES.many(transaction, "take_events", limit)


class LetterRepository:
    """Reads and writes letters that are owed to people."""

    async def list_owed(
        self, connection: AnyConnection, limit: int
    ) -> list[tuple[UUID, UUID, LetterKind]]:
        """To whom one is owed, of every tenant: tenant, recipient, kind."""
        rows = await _QUERIES.many(connection, "list_owed_letters", limit)
        return [(row["tenant_id"], row["recipient_id"], LetterKind(row["kind"])) for row in rows]

    async def lock_owed(
        self, transaction: Transaction, recipient_id: UUID, kind: LetterKind
    ) -> list[int]:
        """What is owed to somebody, kept from other workers."""
        rows = await _QUERIES.many(transaction, "lock_owed_letters", recipient_id, kind)
        return [row["id"] for row in rows]

    async def is_paused(
        self, transaction: Transaction, recipient_id: UUID, kind: LetterKind
    ) -> bool:
        """Whether such a letter has gone to them within the hour."""
        return bool(await _QUERIES.value(transaction, "is_letter_paused", recipient_id, kind))

    async def find_recipient(self, transaction: Transaction, user_id: UUID) -> Record | None:
        """The address of somebody who can be written to, with the tenant's name."""
        return await _QUERIES.maybe(transaction, "find_recipient", user_id)

    async def mark_sent(self, transaction: Transaction, letter_ids: Sequence[int]) -> None:
        """Note that what was owed is in the mail."""
        await _QUERIES.execute(transaction, "mark_letters_sent", letter_ids)

    async def forget(self, connection: AnyConnection, limit: int) -> int:
        """Delete every tenant's of more than a day ago; how many there were."""
        return int(await _QUERIES.value(connection, "forget_letters", limit))


def _delivery(row: Record) -> Delivery:
    return Delivery(
        row["id"],
        row["message_id"],
        row["event_type"],
        DeliveryState(row["state"]),
        row["attempts"],
        row["last_status"],
        row["last_error"],
        row["last_attempt_at"],
        row["next_attempt_at"],
        row["created_at"],
    )
