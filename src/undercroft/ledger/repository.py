"""The statements of ``queries.sql``, one method each."""

from collections.abc import Sequence
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries
from undercroft.ledger.merkle import HASH_BYTES, Coordinate, Growth
from undercroft.ledger.models import (
    AuditEntry,
    AuditFilter,
    CountedRefusals,
    LogHead,
    LogState,
    NewEntry,
    NumberedEntries,
    Outcome,
    PendingEntries,
    PendingLogs,
    StoredKey,
    actor_of,
)

_QUERIES: Final = load_queries("undercroft.ledger")


class LedgerRepository:
    """A tenant's log, in transactions of its tenant; what takes no scope crosses tenants through a function."""

    async def insert_entry(self, connection: AnyConnection, scope: Scope, entry: NewEntry) -> None:
        """Append one entry, by who acts in the scope: what nearly every transaction does."""
        act = entry.act
        await _QUERIES.execute(
            connection,
            "insert_entry",
            scope.tenant_id,
            actor_of(scope),
            entry.trace,
            entry.id,
            entry.occurred_at,
            act.owner_id,
            act.on_behalf_of,
            act.action,
            act.resource.reference,
            act.version,
            act.outcome,
            act.grant_id,
            act.purpose,
            act.refusals,
            entry.leaf,
        )

    async def insert_entries(
        self, connection: AnyConnection, scope: Scope, entries: Sequence[NewEntry]
    ) -> None:
        """Append entries, all by who acts in the scope."""
        acts = [entry.act for entry in entries]
        await _QUERIES.execute(
            connection,
            "insert_entries",
            scope.tenant_id,
            actor_of(scope),
            [entry.trace for entry in entries],
            [entry.id for entry in entries],
            [entry.occurred_at for entry in entries],
            [act.owner_id for act in acts],
            [act.on_behalf_of for act in acts],
            [act.action for act in acts],
            [act.resource.reference for act in acts],
            [act.version for act in acts],
            [act.outcome for act in acts],
            [act.grant_id for act in acts],
            [act.purpose for act in acts],
            [act.refusals for act in acts],
            [entry.leaf for entry in entries],
        )

    async def list_refusals(self, connection: AnyConnection, limit: int) -> list[CountedRefusals]:
        """Counts of refusals that are over, of all tenants."""
        rows = await _QUERIES.many(connection, "list_refusals", limit)
        return [
            CountedRefusals(row["tenant_id"], row["actor_id"], row["action"], row["owner_id"])
            for row in rows
        ]

    async def lock_refusals(
        self, connection: AnyConnection, counted: CountedRefusals
    ) -> int | None:
        """How many refusals have no entry of their own, which nobody changes before the transaction ends."""
        more = await _QUERIES.value(
            connection, "lock_refusals", counted.actor_id, counted.action, counted.owner_id
        )
        return cast("int | None", more)

    async def get_log_id(self, connection: AnyConnection, tenant_id: UUID) -> UUID:
        """The id of a tenant's log."""
        row = await _QUERIES.one(connection, "get_log_id", tenant_id)
        return cast("UUID", row["id"])

    async def get_log_salt(self, connection: AnyConnection, tenant_id: UUID) -> bytes:
        """The salt of the ledger's commitments to a tenant itself."""
        row = await _QUERIES.one(connection, "get_log_salt", tenant_id)
        return cast("bytes", row["salt"])

    async def get_log_state(self, connection: AnyConnection, tenant_id: UUID) -> LogState:
        """What is published of a tenant's log."""
        row = await _QUERIES.one(connection, "get_log_state", tenant_id)
        return LogState(row["id"], row["size"], row["checkpoint"])

    async def list_user_salts(
        self, connection: AnyConnection, tenant_id: UUID, user_ids: Sequence[UUID]
    ) -> dict[UUID, bytes]:
        """The salts of those of the users who exist."""
        rows = await _QUERIES.many(connection, "list_user_salts", tenant_id, user_ids)
        return {row["id"]: row["ledger_salt"] for row in rows}

    async def list_signing_keys(
        self, connection: AnyConnection, tenant_id: UUID, limit: int
    ) -> list[StoredKey]:
        """The keys that sign, the newest first."""
        rows = await _QUERIES.many(connection, "list_signing_keys", tenant_id, limit)
        return [
            StoredKey(row["number"], row["name"], row["public_key"], row["wrapped_private_key"])
            for row in rows
        ]

    async def find_log_tenant(self, connection: AnyConnection, log_id: UUID) -> UUID | None:
        """Whose log it is."""
        return cast("UUID | None", await _QUERIES.value(connection, "find_log_tenant", log_id))

    async def list_public_keys(
        self, connection: AnyConnection, tenant_id: UUID
    ) -> list[tuple[str, bytes]]:
        """Name and public half of every key that a log has had, the newest first."""
        rows = await _QUERIES.many(connection, "list_public_keys", tenant_id)
        return [(row["name"], row["public_key"]) for row in rows]

    async def insert_key(self, connection: AnyConnection, tenant_id: UUID, key: StoredKey) -> bool:
        """Store a key; False when another has its number."""
        number = await _QUERIES.value(
            connection,
            "insert_key",
            tenant_id,
            key.number,
            key.name,
            key.public_key,
            key.wrapped_private_key,
        )
        return number is not None

    async def retire_keys(self, connection: AnyConnection, tenant_id: UUID, below: int) -> None:
        """Let keys with lower numbers sign no more."""
        await _QUERIES.execute(connection, "retire_keys", tenant_id, below)

    async def rewrap_key(
        self, connection: AnyConnection, tenant_id: UUID, number: int, wrapped: bytes
    ) -> None:
        """Store a private key as the provider wraps it now."""
        await _QUERIES.execute(connection, "rewrap_key", tenant_id, number, wrapped)

    async def list_pending_ledgers(
        self, connection: AnyConnection, after: UUID, from_xid: int, limit: int
    ) -> PendingLogs:
        """The tenants with entries that have no number yet, but for those of transactions with lower ids."""
        rows = await _QUERIES.many(connection, "list_pending_ledgers", after, from_xid, limit)
        tenants = [row["tenant_id"] for row in rows if row["tenant_id"] is not None]
        return PendingLogs(tenants, rows[0]["running_from"])

    async def measure_pending(
        self, connection: AnyConnection, ignored: Sequence[UUID] = ()
    ) -> PendingEntries:
        """How many entries have no number, and since when, over all tenants but those."""
        row = await _QUERIES.one(connection, "measure_pending", ignored)
        return PendingEntries(row["entries"], row["oldest"])

    async def find_checkpoint(self, connection: AnyConnection, log_id: UUID) -> str | None:
        """The checkpoint of any log."""
        return cast("str | None", await _QUERIES.value(connection, "find_checkpoint", log_id))

    async def wait_for_log(self, connection: AnyConnection) -> None:
        """Take the log of the transaction's tenant, as :meth:`lock_log` does, once nobody else has it."""
        await _QUERIES.execute(connection, "wait_for_log")

    async def lock_log(self, connection: AnyConnection) -> LogHead | None:
        """Take the log of the transaction's tenant until it ends or stalls; None while another has it."""
        row = await _QUERIES.maybe(connection, "lock_log")
        if row is None:
            return None
        frontier = split_hashes(row["frontier"])
        return LogHead(row["log_id"], row["size"], frontier, row["key_number"], row["newest_key"])

    async def number_pending_entries(
        self, connection: AnyConnection, limit: int, from_xid: int = 0
    ) -> NumberedEntries:
        """Move the next entries into the locked log, looking for none of transactions with lower ids."""
        rows = await _QUERIES.many(connection, "number_pending_entries", limit, from_xid)
        settled_below = rows[0]["settled_below"] if rows else 0
        return NumberedEntries([row["entry_leaf"] for row in rows], settled_below)

    async def advance_log(
        self,
        connection: AnyConnection,
        old_size: int,
        growth: Growth,
        key_number: int,
        checkpoint: str,
    ) -> None:
        """Publish the tree over the numbered entries."""
        await _QUERIES.execute(
            connection,
            "advance_log",
            old_size,
            growth.size,
            b"".join(growth.frontier),
            [level for level, _ in growth.stored],
            [position for _, position in growth.stored],
            list(growth.stored.values()),
            key_number,
            checkpoint,
        )

    async def list_leaves(
        self, connection: AnyConnection, tenant_id: UUID, first: int, after_last: int
    ) -> list[bytes]:
        """The bytes of consecutive entries."""
        rows = await _QUERIES.many(connection, "list_leaves", tenant_id, first, after_last)
        return [row["leaf"] for row in rows]

    async def list_leaf_hashes(
        self, connection: AnyConnection, tenant_id: UUID, runs: Sequence[tuple[int, int]]
    ) -> dict[Coordinate, bytes]:
        """The hashes of runs of entries, each from its first position to before its last."""
        rows = await _QUERIES.many(
            connection,
            "list_leaf_hashes",
            tenant_id,
            [first for first, _ in runs],
            [after_last for _, after_last in runs],
        )
        return {(0, row["position"]): row["hash"] for row in rows}

    async def list_tile_hashes(
        self, connection: AnyConnection, tenant_id: UUID, runs: Sequence[tuple[int, int, int]]
    ) -> dict[Coordinate, bytes]:
        """The hashes of runs within levels above 0."""
        rows = await _QUERIES.many(
            connection,
            "list_tile_hashes",
            tenant_id,
            [level for level, _, _ in runs],
            [first for _, first, _ in runs],
            [after_last for _, _, after_last in runs],
        )
        return {(row["level"], row["position"]): row["hash"] for row in rows}

    async def list_entries(
        self,
        connection: AnyConnection,
        tenant_id: UUID,
        viewer_id: UUID | None,
        wanted: AuditFilter,
        after: AuditEntry | None,
        limit: int,
    ) -> list[AuditEntry]:
        """Entries, the newest first; those that ``viewer_id`` may see, or all of the tenant's."""
        await _QUERIES.execute(connection, "plan_for_values")
        arguments = (
            tenant_id,
            wanted.resource,
            wanted.actor_id,
            None if wanted.actions is None else sorted(wanted.actions),
            wanted.since,
            wanted.until,
            None if after is None else after.occurred_at,
            None if after is None else after.position,
            limit,
            wanted.outcome,
        )
        if viewer_id is None:
            rows = await _QUERIES.many(connection, "list_entries", *arguments)
        else:
            rows = await _QUERIES.many(connection, "list_visible_entries", *arguments, viewer_id)
        return [_read_entry(row) for row in rows]

    async def find_entry(
        self, connection: AnyConnection, tenant_id: UUID, entry_id: UUID, viewer_id: UUID | None
    ) -> tuple[AuditEntry, bytes] | None:
        """An entry in the log and its bytes, if ``viewer_id`` may see it."""
        row = await _QUERIES.maybe(connection, "find_entry", tenant_id, entry_id, viewer_id)
        return None if row is None else (_read_entry(row), row["leaf"])

    async def is_pending(
        self, connection: AnyConnection, tenant_id: UUID, entry_id: UUID, viewer_id: UUID | None
    ) -> bool:
        """Whether there is such an entry that has no number yet."""
        return bool(await _QUERIES.value(connection, "is_pending", tenant_id, entry_id, viewer_id))


def split_hashes(joined: bytes) -> tuple[bytes, ...]:
    """Hashes that are stored one after the other."""
    return tuple(joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES))


def _read_entry(row: Record) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        position=row["position"],
        occurred_at=row["occurred_at"],
        actor_id=row["actor_id"],
        owner_id=row["owner_id"],
        on_behalf_of=row["on_behalf_of"],
        action=row["action"],
        resource=row["resource"],
        version=row["version"],
        outcome=Outcome(row["outcome"]),
        grant_id=row["grant_id"],
        purpose=row["purpose"],
        trace=row["trace"],
        refusals=row["refusals"],
    )
