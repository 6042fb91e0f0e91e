"""The statements on users, one method each."""

from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.identity.members.models import Member
from undercroft.identity.models import Kind, Role
from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.identity.members")


class MemberRepository:
    """Reads and writes the users of the transaction's tenant."""

    async def insert_member(
        self,
        transaction: Transaction,
        user_id: UUID,
        kind: Kind,
        email: str | None,
        name: str | None,
        role: Role,
    ) -> Member | None:
        """Create a user; None when the tenant has one with that address or name."""
        row = await _QUERIES.maybe(transaction, "insert_member", user_id, kind, email, name, role)
        return None if row is None else _read(row)

    async def lock_members(self, transaction: Transaction, user_id: UUID) -> list[Member]:
        """The user and the principal, as far as they are there, whom nobody else changes meanwhile."""
        return [_read(row) for row in await _QUERIES.many(transaction, "lock_members", user_id)]

    async def lock_members_for_removal(
        self, transaction: Transaction, user_id: UUID
    ) -> list[Member]:
        """The same, and nobody makes anything of theirs."""
        rows = await _QUERIES.many(transaction, "lock_members_for_removal", user_id)
        return [_read(row) for row in rows]

    async def is_acting_admin(self, transaction: Transaction) -> bool | None:
        """Whether the principal is an admin who is not suspended, and stays so meanwhile; None when they are gone."""
        return cast("bool | None", await _QUERIES.value(transaction, "is_acting_admin"))

    async def find_member(
        self, transaction: Transaction, user_id: UUID, viewer_id: UUID | None
    ) -> Member | None:
        """One user; None when there is none that the viewer may see."""
        row = await _QUERIES.maybe(transaction, "find_member", user_id, viewer_id)
        return None if row is None else _read(row)

    async def find_member_by_email(self, transaction: Transaction, email: str) -> Member | None:
        """The user with that address."""
        row = await _QUERIES.maybe(transaction, "find_member_by_email", email)
        return None if row is None else _read(row)

    async def list_members(
        self, transaction: Transaction, viewer_id: UUID | None, after: UUID | None, limit: int
    ) -> list[Member]:
        """Users that the viewer may see, the oldest first, from after the given one."""
        rows = await _QUERIES.many(transaction, "list_members", after, viewer_id, limit)
        return [_read(row) for row in rows]

    async def update_role(self, transaction: Transaction, user_id: UUID, role: Role) -> Member:
        """Give a user another role."""
        return _read(await _QUERIES.one(transaction, "update_member_role", user_id, role))

    async def suspend(self, transaction: Transaction, user_id: UUID) -> Member:
        """Suspend a user; the database revokes their access tokens."""
        return _read(await _QUERIES.one(transaction, "suspend_member", user_id))

    async def reinstate(self, transaction: Transaction, user_id: UUID) -> Member:
        """Let a user act again."""
        return _read(await _QUERIES.one(transaction, "reinstate_member", user_id))

    async def delete_member(self, transaction: Transaction, user_id: UUID) -> None:
        """Delete a user, with their keys, tokens and memberships."""
        await _QUERIES.execute(transaction, "delete_member", user_id)


def _read(row: Record) -> Member:
    return Member(
        row["id"],
        Kind(row["kind"]),
        row["email"],
        row["name"],
        Role(row["role"]),
        row["suspended_at"],
        row["revision"],
        row["created_at"],
        row["ledger_salt"],
    )
