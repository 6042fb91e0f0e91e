"""The statements of idempotency keys, one method each."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.idempotency")


class IdempotencyRepository:
    """Reads and writes idempotency keys and the answers kept under them."""

    async def claim_key(
        self,
        transaction: Transaction,
        key_id: UUID,
        route: str,
        digest: bytes,
        most: tuple[int, int],
    ) -> str:
        """Take a key for this transaction: 'claimed', or why not."""
        return str(await _QUERIES.value(transaction, "claim_key", key_id, route, digest, *most))

    async def find_key(self, transaction: Transaction, route: str, digest: bytes) -> Record | None:
        """A key of the principal's with its answer, and what opens that."""
        return await _QUERIES.maybe(transaction, "find_key", route, digest)

    async def keep_answer(
        self, transaction: Transaction, key_id: UUID, data_key_id: UUID, sealed: bytes
    ) -> None:
        """Keep the answer of a key that this transaction has claimed."""
        await _QUERIES.execute(transaction, "keep_answer", key_id, data_key_id, sealed)

    async def insert_subjects(
        self, transaction: Transaction, key_id: UUID, subjects: Sequence[UUID]
    ) -> None:
        """Note what an answer is about."""
        await _QUERIES.execute(transaction, "insert_subjects", key_id, subjects)

    async def list_expired_keys(
        self, connection: AnyConnection, limit: int
    ) -> list[tuple[UUID, UUID]]:
        """Every tenant's keys whose day is over, the oldest first: tenant and id."""
        rows = await _QUERIES.many(connection, "list_expired_keys", limit)
        return [(row["tenant_id"], row["key_id"]) for row in rows]

    async def delete_keys(self, transaction: Transaction, key_ids: Sequence[UUID]) -> int:
        """Forget keys whose day is over, and their answers with them; how many."""
        return await _QUERIES.execute(transaction, "delete_keys", key_ids)
