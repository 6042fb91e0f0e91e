"""Statements about sessions, one method each."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

from asyncpg import Record

from undercroft.identity.sessions.models import (
    EndReason,
    LockedSession,
    Session,
    SessionLifetimes,
    SessionOwner,
)
from undercroft.identity.sessions.tokens import RefreshToken
from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.kit.sql import AnyConnection, load_queries

_QUERIES: Final = load_queries("undercroft.identity.sessions")


class SessionRepository:
    """Reads and writes sessions and their access tokens."""

    async def insert_session(
        self,
        transaction: Transaction,
        session: SessionOwner,
        token: RefreshToken,
        user_agent: str | None,
        lifetimes: SessionLifetimes,
    ) -> datetime:
        """Store a session; when it ends unless it is refreshed."""
        row = await _QUERIES.one(
            transaction,
            "insert_session",
            session.session_id,
            session.tenant_id,
            session.user_id,
            token.family_hash,
            token.token_hash,
            user_agent,
            lifetimes.idle,
            lifetimes.longest,
        )
        return cast("datetime", row["expires_at"])

    async def insert_access_token(
        self,
        transaction: Transaction,
        token_id: UUID,
        session_id: UUID,
        token_hash: bytes,
        lifetime: timedelta,
    ) -> datetime:
        """Store an access token of a session's; when it ends."""
        return cast(
            "datetime",
            await _QUERIES.value(
                transaction, "insert_access_token", token_id, session_id, token_hash, lifetime
            ),
        )

    async def find_owner(
        self, connection: AnyConnection, token: RefreshToken
    ) -> SessionOwner | None:
        """Whose session a refresh token belongs to, whether the token is good or not."""
        row = await _QUERIES.maybe(connection, "find_session_owner", token.family_hash)
        if row is None:
            return None
        return SessionOwner(row["session_id"], row["tenant_id"], row["user_id"])

    async def lock_session(
        self, transaction: Transaction, session_id: UUID, grace: timedelta
    ) -> LockedSession | None:
        """A session's tokens, which nobody else replaces before the transaction ends."""
        row = await _QUERIES.maybe(transaction, "lock_session", session_id, grace)
        return None if row is None else LockedSession(**dict(row))

    async def replace_token(
        self,
        transaction: Transaction,
        session_id: UUID,
        token: RefreshToken,
        salt: bytes,
        idle: timedelta,
    ) -> datetime:
        """Make another token the good one; when the session ends unless it is refreshed again."""
        return cast(
            "datetime",
            await _QUERIES.value(
                transaction, "replace_token", session_id, token.token_hash, salt, idle
            ),
        )

    async def find_session_of_token(
        self, transaction: Transaction, credential_id: UUID
    ) -> UUID | None:
        """The session behind an access token; None for what has none, such as an API key."""
        return cast(
            "UUID | None",
            await _QUERIES.value(transaction, "find_session_of_token", credential_id),
        )

    async def list_sessions(
        self,
        transaction: Transaction,
        scope: Scope,
        current: UUID | None,
        after: UUID | None,
        limit: int,
    ) -> list[Session]:
        """The principal's sessions that have not ended, oldest first."""
        rows = await _QUERIES.many(
            transaction, "list_sessions", scope.principal_id, scope.tenant_id, after, limit
        )
        return [_read_session(row, current) for row in rows]

    async def find_session(
        self, transaction: Transaction, scope: Scope, current: UUID | None, session_id: UUID
    ) -> Session | None:
        """One of the principal's sessions that has not ended."""
        row = await _QUERIES.maybe(
            transaction, "find_session", scope.principal_id, scope.tenant_id, session_id
        )
        return None if row is None else _read_session(row, current)

    async def end_session(
        self, transaction: Transaction, scope: Scope, session_id: UUID, reason: EndReason
    ) -> Sequence[UUID]:
        """End one session of the principal's; empty when there is no such live one."""
        rows = await _QUERIES.many(
            transaction, "end_session", scope.tenant_id, scope.principal_id, session_id, reason
        )
        return [row["id"] for row in rows]

    async def end_other_sessions(
        self, transaction: Transaction, scope: Scope, kept: UUID | None, reason: EndReason
    ) -> Sequence[UUID]:
        """End all of the principal's sessions but one; which they were."""
        rows = await _QUERIES.many(
            transaction, "end_other_sessions", scope.tenant_id, scope.principal_id, kept, reason
        )
        return [row["id"] for row in rows]

    async def end_oldest_sessions(
        self, transaction: Transaction, scope: Scope, kept: int, reason: EndReason
    ) -> Sequence[UUID]:
        """End the principal's sessions beyond the newest ones; which they were."""
        rows = await _QUERIES.many(
            transaction, "end_oldest_sessions", scope.tenant_id, scope.principal_id, kept, reason
        )
        return [row["id"] for row in rows]

    async def find_session_salt(self, transaction: Transaction, session_id: UUID) -> bytes | None:
        """The salt of the ledger's commitments to a session."""
        return cast(
            "bytes | None", await _QUERIES.value(transaction, "find_session_salt", session_id)
        )

    async def get_user_salt(self, transaction: Transaction, scope: Scope) -> bytes:
        """The principal's own salt."""
        return cast(
            "bytes",
            await _QUERIES.value(transaction, "get_user_salt", scope.tenant_id, scope.principal_id),
        )

    async def forget_ended_sessions(self, transaction: Transaction, limit: int) -> int:
        """Delete rows of no use any more, of all tenants; how many."""
        return cast("int", await _QUERIES.value(transaction, "forget_ended_sessions", limit))


def _read_session(row: Record, current: UUID | None) -> Session:
    return Session(
        id=row["id"],
        user_agent=row["user_agent"],
        created_at=row["created_at"],
        refreshed_at=row["refreshed_at"],
        expires_at=row["expires_at"],
        is_current=row["id"] == current,
    )
