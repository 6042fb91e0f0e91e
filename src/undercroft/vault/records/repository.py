"""The records' statements, one method each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from asyncpg import Record as Row

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.sharing.models import GrantAction
from undercroft.sharing.ways import OWNER_ALONE
from undercroft.vault.records.models import LockedRow, Part, RecordVersion, Wanted

_QUERIES: Final = load_queries("undercroft.vault.records")


class RecordRepository:
    """Reads and writes records, their versions, digests and locks."""

    async def insert_record(
        self,
        transaction: Transaction,
        record_id: UUID,
        schema_id: UUID,
        schema_version: int,
        data_key_id: UUID,
        plain: Mapping[str, Any],
    ) -> None:
        """Create a record of the principal's, at version 1 and without its parts."""
        await _QUERIES.execute(
            transaction, "insert_record", record_id, schema_id, schema_version, data_key_id, plain
        )

    async def insert_version(
        self,
        transaction: Transaction,
        record_id: UUID,
        number: int,
        schema_id: UUID,
        schema_version: int,
    ) -> None:
        """Add a version, without its parts."""
        await _QUERIES.execute(
            transaction, "insert_version", record_id, number, schema_id, schema_version
        )

    async def insert_parts(
        self, transaction: Transaction, record_id: UUID, version: int, parts: Sequence[Part]
    ) -> None:
        """Add the parts of a version."""
        await _QUERIES.execute(
            transaction,
            "insert_parts",
            record_id,
            version,
            [part.number for part in parts],
            [part.data_key_id for part in parts],
            [part.sealed for part in parts],
        )

    async def insert_digests(
        self, transaction: Transaction, record_id: UUID, digests: Sequence[bytes]
    ) -> None:
        """Make a record findable by these digests."""
        await _QUERIES.execute(transaction, "insert_digests", record_id, digests)

    async def delete_digests(self, transaction: Transaction, record_id: UUID) -> None:
        """Make a record findable by no digest."""
        await _QUERIES.execute(transaction, "delete_digests", record_id)

    async def list_parts(
        self,
        transaction: Transaction,
        wanted: Sequence[Wanted],
        actions: Sequence[GrantAction] = OWNER_ALONE,
    ) -> list[Row]:
        """The parts of versions of some records, with their keys, version by version.

        The principal's own, and those that a grant of the first of the actions lets them come to.
        """
        return await _QUERIES.many(
            transaction,
            "list_parts",
            [one.record_id for one in wanted],
            [one.version for one in wanted],
            list(actions),
        )

    async def list_refused(
        self, transaction: Transaction, record_ids: Sequence[UUID], action: GrantAction | None
    ) -> set[UUID]:
        """Which of some records of others the principal knows of by a grant, without one of that action."""
        rows = await _QUERIES.many(transaction, "list_refused", record_ids, action)
        return {row["id"] for row in rows}

    async def find_record_owner(self, transaction: Transaction, record_id: UUID) -> Row | None:
        """Whose record of the tenant's it is, and its salt."""
        return await _QUERIES.maybe(transaction, "find_record_owner", record_id)

    async def find_version_entry(
        self, transaction: Transaction, reference: str, version: int
    ) -> UUID | None:
        """The ledger's entry that commits to a version; None when there is none."""
        return cast(
            "UUID | None",
            await _QUERIES.value(transaction, "find_version_entry", reference, version),
        )

    async def list_sizes(
        self, transaction: Transaction, record_ids: Sequence[UUID]
    ) -> dict[UUID, int]:
        """How many bytes the latest versions of those records have of which the principal may read all."""
        rows = await _QUERIES.many(transaction, "list_sizes", record_ids)
        return {row["id"]: row["byte_size"] for row in rows}

    async def list_record_ids(
        self, transaction: Transaction, schema_id: UUID, after: UUID | None, limit: int
    ) -> list[UUID]:
        """The records of a schema that are the principal's or that they may find, oldest first."""
        rows = await _QUERIES.many(transaction, "list_record_ids", schema_id, after, limit)
        return [row["id"] for row in rows]

    async def list_all_record_ids(
        self, transaction: Transaction, after: UUID | None, limit: int
    ) -> list[UUID]:
        """The records that are the principal's or that they may find, oldest first."""
        rows = await _QUERIES.many(transaction, "list_all_record_ids", after, limit)
        return [row["id"] for row in rows]

    async def search_record_ids(
        self,
        transaction: Transaction,
        schema_id: UUID,
        plain: Mapping[str, Any],
        digests: Sequence[bytes],
        fields: Sequence[str],
        after: UUID | None,
        limit: int,
    ) -> list[UUID]:
        """The records of a schema that hold all of these values, oldest first.

        The principal's, and those that they may find by all of the fields whose values these are.
        """
        rows = await _QUERIES.many(
            transaction, "search_record_ids", schema_id, plain, digests, fields, after, limit
        )
        return [row["id"] for row in rows]

    async def find_by_words(
        self, transaction: Transaction, text: str, schema_id: UUID | None, limit: int
    ) -> dict[UUID, Sequence[str]]:
        """The records whose plain fields have the words, best first, each with the fields it was looked for in.

        Of the principal's own none are named.
        """
        rows = await _QUERIES.many(transaction, "find_by_words", text, schema_id, limit)
        return {row["id"]: row["fields"] for row in rows}

    async def list_versions(
        self, transaction: Transaction, record_id: UUID, after: int, limit: int
    ) -> list[RecordVersion]:
        """Which versions a record has that the principal may read, in their order."""
        rows = await _QUERIES.many(transaction, "list_versions", record_id, after, limit)
        return [
            RecordVersion(row["number"], row["schema_version"], row["author_id"], row["created_at"])
            for row in rows
        ]

    async def may_read(self, transaction: Transaction, record_id: UUID) -> bool:
        """Whether the principal may read a record."""
        return bool(await _QUERIES.value(transaction, "may_read", record_id))

    async def lock_record(self, transaction: Transaction, record_id: UUID) -> LockedRow | None:
        """Keep others from writing a record of the tenant's until the transaction ends."""
        return _locked(await _QUERIES.maybe(transaction, "lock_record", record_id))

    async def lock_record_for_delete(
        self, transaction: Transaction, record_id: UUID
    ) -> LockedRow | None:
        """The same, and from referring to it."""
        return _locked(await _QUERIES.maybe(transaction, "lock_record_for_delete", record_id))

    async def update_record(
        self,
        transaction: Transaction,
        record_id: UUID,
        version: int,
        schema_version: int,
        plain: Mapping[str, Any],
    ) -> None:
        """Make a version the latest."""
        await _QUERIES.execute(
            transaction, "update_record", record_id, version, schema_version, plain
        )

    async def delete_record(self, transaction: Transaction, record_id: UUID) -> None:
        """Delete a record, its versions and its keys."""
        await _QUERIES.execute(transaction, "delete_record", record_id)

    async def set_lock(
        self, transaction: Transaction, record_id: UUID, digest: bytes, seconds: int
    ) -> datetime:
        """Give a record's lease to the holder of a token, from now on; when it ends."""
        return cast(
            "datetime",
            await _QUERIES.value(transaction, "set_lock", record_id, digest, seconds),
        )

    async def clear_lock(self, transaction: Transaction, record_id: UUID) -> None:
        """End a record's lease."""
        await _QUERIES.execute(transaction, "clear_lock", record_id)

    async def count_to_migrate(
        self, transaction: Transaction, schema_id: UUID, to_version: int, after: UUID | None
    ) -> int:
        """How many of the principal's records are at another version of the schema."""
        return cast(
            "int",
            await _QUERIES.value(transaction, "count_to_migrate", schema_id, to_version, after),
        )

    async def list_to_migrate(
        self,
        transaction: Transaction,
        schema_id: UUID,
        to_version: int,
        after: UUID | None,
        limit: int,
    ) -> list[UUID]:
        """The principal's records that are at another version of the schema, oldest first."""
        rows = await _QUERIES.many(
            transaction, "list_to_migrate", schema_id, to_version, after, limit
        )
        return [row["id"] for row in rows]

    async def insert_migration(
        self,
        transaction: Transaction,
        migration_id: UUID,
        schema_id: UUID,
        to_version: int,
        sealed_patch: bytes,
    ) -> None:
        """Create a migration of the principal's."""
        await _QUERIES.execute(
            transaction, "insert_migration", migration_id, schema_id, to_version, sealed_patch
        )

    async def find_migration(self, transaction: Transaction, migration_id: UUID) -> Row | None:
        """A migration of the principal's."""
        return await _QUERIES.maybe(transaction, "find_migration", migration_id)

    async def advance_migration(
        self,
        transaction: Transaction,
        migration_id: UUID,
        last_record_id: UUID,
        migrated: int,
        failed: Sequence[UUID],
    ) -> None:
        """Record how far a migration is, in the transaction of what it did."""
        await _QUERIES.execute(
            transaction,
            "advance_migration",
            migration_id,
            last_record_id,
            migrated,
            len(failed),
            failed,
        )

    async def finish_migration(self, transaction: Transaction, migration_id: UUID) -> None:
        """Record that a migration is done."""
        await _QUERIES.execute(transaction, "finish_migration", migration_id)


def _locked(row: Row | None) -> LockedRow | None:
    if row is None:
        return None
    return LockedRow(
        row["owner_id"], row["current_version"], row["lock_digest"], row["seconds_left"]
    )
