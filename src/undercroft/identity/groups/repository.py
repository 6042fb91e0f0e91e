"""The statements on groups, one method each."""

from datetime import datetime
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.identity.groups.models import Group, GroupMember
from undercroft.identity.models import Kind
from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.identity.groups")


class GroupRepository:
    """Reads and writes the groups of the transaction's tenant."""

    async def insert_group(
        self, transaction: Transaction, group_id: UUID, name: str
    ) -> Group | None:
        """Create a group; None when the tenant has one of that name."""
        return _read_maybe(await _QUERIES.maybe(transaction, "insert_group", group_id, name))

    async def find_group(
        self, transaction: Transaction, group_id: UUID, viewer_id: UUID | None
    ) -> Group | None:
        """One group; None when there is none that the viewer is in."""
        row = await _QUERIES.maybe(transaction, "find_group", group_id, viewer_id)
        return _read_maybe(row)

    async def lock_group(self, transaction: Transaction, group_id: UUID) -> Group | None:
        """A group that nobody else changes or deletes before the transaction ends."""
        return _read_maybe(await _QUERIES.maybe(transaction, "lock_group", group_id))

    async def lock_group_for_deletion(
        self, transaction: Transaction, group_id: UUID
    ) -> Group | None:
        """The same, and nobody becomes a member of it."""
        return _read_maybe(await _QUERIES.maybe(transaction, "lock_group_for_deletion", group_id))

    async def list_groups(
        self, transaction: Transaction, after: UUID | None, limit: int
    ) -> list[Group]:
        """The tenant's groups, the oldest first, from after the given one."""
        return [_read(row) for row in await _QUERIES.many(transaction, "list_groups", after, limit)]

    async def list_groups_of(
        self, transaction: Transaction, user_id: UUID, after: UUID | None, limit: int
    ) -> list[Group]:
        """The groups that a user is in, the oldest first, from after the given one."""
        rows = await _QUERIES.many(transaction, "list_groups_of", after, limit, user_id)
        return [_read(row) for row in rows]

    async def rename_group(self, transaction: Transaction, group_id: UUID, name: str) -> Group:
        """Give a group another name."""
        return _read(await _QUERIES.one(transaction, "rename_group", group_id, name))

    async def delete_group(self, transaction: Transaction, group_id: UUID) -> None:
        """Delete a group that has no members any more."""
        await _QUERIES.execute(transaction, "delete_group", group_id)

    async def lock_user(self, transaction: Transaction, user_id: UUID) -> GroupMember | None:
        """A user of the tenant's who is not removed before the transaction ends, as they would be in a group."""
        row = await _QUERIES.maybe(transaction, "lock_user", user_id)
        return None if row is None else _read_member(row)

    async def insert_group_member(
        self, transaction: Transaction, group_id: UUID, user_id: UUID
    ) -> datetime:
        """Put a user into a group that is locked; since when they are in it."""
        row = await _QUERIES.one(transaction, "insert_group_member", group_id, user_id)
        return cast("datetime", row["added_at"])

    async def find_group_member(
        self, transaction: Transaction, group_id: UUID, user_id: UUID
    ) -> GroupMember | None:
        """A user who is in a group."""
        row = await _QUERIES.maybe(transaction, "find_group_member", group_id, user_id)
        return None if row is None else _read_member(row)

    async def list_group_members(
        self,
        transaction: Transaction,
        group_id: UUID,
        viewer_id: UUID | None,
        after: UUID | None,
        limit: int,
    ) -> list[GroupMember]:
        """Who is in a group, in the order of their ids, from after the given one; the viewer alone, if one is given."""
        rows = await _QUERIES.many(
            transaction, "list_group_members", group_id, after, viewer_id, limit
        )
        return [_read_member(row) for row in rows]

    async def delete_group_member(
        self, transaction: Transaction, group_id: UUID, user_id: UUID
    ) -> None:
        """Take a user out of a group."""
        await _QUERIES.execute(transaction, "delete_group_member", group_id, user_id)

    async def delete_group_members(
        self, transaction: Transaction, group_id: UUID
    ) -> list[GroupMember]:
        """Take everybody out of a group; who that was."""
        rows = await _QUERIES.many(transaction, "delete_group_members", group_id)
        return [_read_member(row) for row in rows]


def _read_maybe(row: Record | None) -> Group | None:
    return None if row is None else _read(row)


def _read(row: Record) -> Group:
    return Group(row["id"], row["name"], row["revision"], row["created_at"], row["ledger_salt"])


def _read_member(row: Record) -> GroupMember:
    return GroupMember(
        row["id"],
        Kind(row["kind"]),
        row["email"],
        row["name"],
        row["added_at"],
        row["ledger_salt"],
    )
