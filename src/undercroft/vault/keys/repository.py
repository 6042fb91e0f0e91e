"""The keys' statements, one method each."""

from collections.abc import Mapping, Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.vault.keys.models import DataKey, WrappedDataKey, WrappedTenantKey

_QUERIES: Final = load_queries("undercroft.vault.keys")


class KeyRepository:
    """Reads and writes wrapped keys."""

    async def find_current_tenant_key(self, transaction: Transaction) -> WrappedTenantKey | None:
        """The key that wraps what the tenant creates now."""
        row = await _QUERIES.maybe(transaction, "find_current_tenant_key")
        if row is None:
            return None
        return WrappedTenantKey(row["id"], row["tenant_id"], row["wrapped_key"])

    async def hold_tenant_keys(self, transaction: Transaction) -> None:
        """Wait for whoever replaces or destroys the tenant's keys, and keep them as they are until this ends."""
        await _QUERIES.execute(transaction, "hold_tenant_keys")

    async def insert_first_tenant_key(
        self, transaction: Transaction, key_id: UUID, wrapped: bytes
    ) -> None:
        """Give the tenant its key, unless it has one by now."""
        await _QUERIES.execute(transaction, "insert_first_tenant_key", key_id, wrapped)

    async def insert_data_key(
        self, transaction: Transaction, key: DataKey, tenant_key_id: UUID, wrapped: bytes
    ) -> bool:
        """Keep a data key; False when the tenant's key is not the current one any more."""
        return (
            await _QUERIES.value(
                transaction, "insert_data_key", key.id, tenant_key_id, wrapped, key.salt
            )
            is not None
        )

    async def find_data_key(self, transaction: Transaction, key_id: UUID) -> WrappedDataKey | None:
        """One data key."""
        row = await _QUERIES.maybe(transaction, "find_data_key", key_id)
        return None if row is None else wrapped_key(row)

    async def delete_data_keys(self, transaction: Transaction, key_ids: Sequence[UUID]) -> None:
        """Destroy data keys: what they encrypted is unreadable once this commits."""
        await _QUERIES.execute(transaction, "delete_data_keys", key_ids)

    async def find_lookup_key(self, transaction: Transaction) -> WrappedDataKey | None:
        """The tenant's key for digests that are compared."""
        row = await _QUERIES.maybe(transaction, "find_lookup_key")
        return None if row is None else wrapped_key(row)

    async def insert_lookup_key(self, transaction: Transaction, key_id: UUID) -> bool:
        """Make a data key the tenant's lookup key; False when it has one by now."""
        return await _QUERIES.value(transaction, "insert_lookup_key", key_id) is not None


class RotationRepository:
    """What rotating and destroying keys reads and writes."""

    async def lock_current_tenant_key(
        self, transaction: Transaction
    ) -> tuple[WrappedTenantKey, int] | None:
        """The tenant's current key, locked, and its number."""
        row = await _QUERIES.maybe(transaction, "lock_current_tenant_key")
        if row is None:
            return None
        return WrappedTenantKey(row["id"], row["tenant_id"], row["wrapped_key"]), row["number"]

    async def replace_tenant_key(
        self, transaction: Transaction, old_id: UUID, new_id: UUID, number: int, wrapped: bytes
    ) -> None:
        """Make another key the current one, once nobody writes under the old one any more."""
        await _QUERIES.execute(transaction, "retire_tenant_key", old_id)
        await _QUERIES.execute(transaction, "insert_next_tenant_key", new_id, number, wrapped)

    async def lock_tenant_keys(self, transaction: Transaction) -> None:
        """Wait for whoever replaces or destroys the tenant's keys, and keep others from it until this ends."""
        await _QUERIES.execute(transaction, "lock_tenant_keys")

    async def count_stale_data_keys(self, transaction: Transaction) -> int:
        """How many data keys are wrapped by a key that is not the current one."""
        return int(await _QUERIES.value(transaction, "count_stale_data_keys"))

    async def list_stale_data_keys(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[WrappedDataKey]:
        """Some of them after ``after``, locked; not those that others have locked."""
        rows = await _QUERIES.many(transaction, "list_stale_data_keys", after, limit)
        return [wrapped_key(row) for row in rows]

    async def wait_for_stale_data_key(
        self, transaction: Transaction, after: UUID
    ) -> list[WrappedDataKey]:
        """The next one after ``after``, once nobody else has it locked; empty as well when it is gone by then."""
        rows = await _QUERIES.many(transaction, "wait_for_stale_data_key", after)
        return [wrapped_key(row) for row in rows]

    async def rewrap_data_keys(
        self, transaction: Transaction, tenant_key_id: UUID, renewed: Mapping[UUID, bytes]
    ) -> None:
        """Store data keys as they are wrapped by another tenant's key."""
        await _QUERIES.execute(
            transaction, "rewrap_data_keys", tenant_key_id, list(renewed), list(renewed.values())
        )

    async def destroy_unused_tenant_keys(self, transaction: Transaction) -> None:
        """Destroy the tenant's former keys that wrap nothing any more."""
        await _QUERIES.execute(transaction, "destroy_unused_tenant_keys")

    async def count_tenant_keys(self, transaction: Transaction) -> int:
        """How many keys the tenant has had."""
        return int(await _QUERIES.value(transaction, "count_tenant_keys"))

    async def lock_all_tenant_keys(self, transaction: Transaction) -> None:
        """Keep everybody from writing under any of the tenant's keys until the transaction ends."""
        await _QUERIES.execute(transaction, "lock_all_tenant_keys")

    async def lock_blobs(self, transaction: Transaction, after: UUID, limit: int) -> UUID | None:
        """Lock some of the tenant's contents after ``after``; the last one, None when there were none."""
        return cast("UUID | None", await _QUERIES.value(transaction, "lock_blobs", after, limit))

    async def empty_records(self, transaction: Transaction, after: UUID, limit: int) -> UUID | None:
        """Empty what the tenant's next records after ``after`` are found by; the last one, None if there were none."""
        return cast("UUID | None", await _QUERIES.value(transaction, "empty_records", after, limit))

    async def count_chunks(self, transaction: Transaction) -> int:
        """How many chunks the tenant's index has."""
        return int(await _QUERIES.value(transaction, "count_chunks"))

    async def delete_index_batch(
        self, transaction: Transaction, after: int, limit: int
    ) -> int | None:
        """Delete the tenant's next chunks after ``after``; the last one, None when there were none."""
        return cast(
            "int | None", await _QUERIES.value(transaction, "delete_index_batch", after, limit)
        )

    async def list_destroyed_blobs(
        self, transaction: Transaction, after: UUID, limit: int
    ) -> list[tuple[UUID, bytes]]:
        """Contents of a tenant whose keys were destroyed, with the names of their bytes in the store."""
        rows = await _QUERIES.many(transaction, "list_destroyed_blobs", after, limit)
        return [(row["id"], row["stored_name"]) for row in rows]

    async def destroy_tenant_keys(self, transaction: Transaction) -> int:
        """Destroy every key of the tenant; how many there were."""
        return await _QUERIES.execute(transaction, "destroy_tenant_keys")

    async def list_tenant_keys(self, transaction: Transaction) -> list[WrappedTenantKey]:
        """The tenant's keys that were not destroyed."""
        rows = await _QUERIES.many(transaction, "list_tenant_keys")
        return [WrappedTenantKey(row["id"], row["tenant_id"], row["wrapped_key"]) for row in rows]

    async def rewrap_tenant_key(
        self, transaction: Transaction, key_id: UUID, old: bytes, new: bytes
    ) -> None:
        """Store a tenant's key as the provider wraps it now, unless it was changed meanwhile."""
        await _QUERIES.execute(transaction, "rewrap_tenant_key", key_id, new, old)


def wrapped_key(row: Record, prefix: str = "") -> WrappedDataKey:
    """The key in a row of any statement that joins ``data_keys`` and ``tenant_keys`` as find_data_key does."""
    return WrappedDataKey(
        row[f"{prefix}key_id"],
        row[f"{prefix}wrapped_key"],
        row[f"{prefix}salt"],
        WrappedTenantKey(
            row[f"{prefix}tenant_key_id"],
            row[f"{prefix}key_tenant_id"],
            row[f"{prefix}wrapped_tenant_key"],
        ),
    )
