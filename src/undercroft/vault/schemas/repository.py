"""The schemas' statements, one method each."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.vault.schemas")


class SchemaRepository:
    """Reads and writes schemas and their versions."""

    async def insert_schema(
        self, transaction: Transaction, schema_id: UUID, data_key_id: UUID, sealed_name: bytes
    ) -> None:
        """Create a schema of the principal's, without a version."""
        await _QUERIES.execute(transaction, "insert_schema", schema_id, data_key_id, sealed_name)

    async def insert_schema_version(
        self,
        transaction: Transaction,
        schema_id: UUID,
        number: int,
        sealed_definition: bytes,
        personal_fields: Sequence[str],
    ) -> None:
        """Add a version."""
        await _QUERIES.execute(
            transaction,
            "insert_schema_version",
            schema_id,
            number,
            sealed_definition,
            list(personal_fields),
        )

    async def find_schema(
        self, transaction: Transaction, schema_id: UUID, number: int | None = None
    ) -> Record | None:
        """One version of a schema of the tenant's, the latest unless a number is given, with its key."""
        return await _QUERIES.maybe(transaction, "find_schema", schema_id, number)

    async def list_schemas(
        self, transaction: Transaction, after: UUID | None, limit: int
    ) -> list[Record]:
        """The latest versions of the tenant's schemas, with their keys."""
        return await _QUERIES.many(transaction, "list_schemas", after, limit)

    async def list_schema_versions(
        self, transaction: Transaction, schema_id: UUID, after: int, limit: int
    ) -> list[Record]:
        """The versions of a schema in their order, with its key."""
        return await _QUERIES.many(transaction, "list_schema_versions", schema_id, after, limit)

    async def lock_schema(self, transaction: Transaction, schema_id: UUID) -> None:
        """Keep others from adding a version or deleting it until the transaction ends."""
        await _QUERIES.execute(transaction, "lock_schema", schema_id)

    async def advance_schema(self, transaction: Transaction, schema_id: UUID, number: int) -> None:
        """Make a version the latest."""
        await _QUERIES.execute(transaction, "advance_schema", schema_id, number)

    async def delete_schema(self, transaction: Transaction, schema_id: UUID) -> None:
        """Delete a schema, its versions and its key."""
        await _QUERIES.execute(transaction, "delete_schema", schema_id)
