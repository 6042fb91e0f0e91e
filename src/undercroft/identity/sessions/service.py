"""Opening, refreshing, listing and ending sessions."""

import hmac
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from undercroft.identity.keys import make_access_token
from undercroft.identity.models import Principal
from undercroft.identity.people import require_person
from undercroft.identity.sessions.errors import RefreshRefusedError
from undercroft.identity.sessions.models import (
    SESSION_PREFIX,
    EndReason,
    LockedSession,
    Session,
    SessionLifetimes,
    SessionOwner,
    SessionTokens,
)
from undercroft.identity.sessions.repository import SessionRepository
from undercroft.identity.sessions.tokens import (
    SALT_BYTES,
    RefreshToken,
    make_refresh_token,
    parse_refresh_token,
)
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.kit.tokens import hash_token
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger

MOST_SESSIONS: Final = 100
"""Of one person. Whoever signs in once more ends the oldest."""

_LONGEST_USER_AGENT: Final = 200
_BATCH: Final = 1000


class SessionService:
    """Sessions of people.

    Args:
        database: Where they are.
        ledger: Where it is put on record that they begin and end.
        ids: Makes their ids.
        lifetimes: How long they last.
        entropy: Where tokens come from.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        ids: IdSource,
        lifetimes: SessionLifetimes | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._ids = ids
        self._lifetimes = lifetimes or SessionLifetimes()
        self._entropy = entropy
        self._repository = SessionRepository()

    async def open_session(
        self, transaction: Transaction, scope: Scope, user_agent: str | None
    ) -> SessionTokens:
        """Sign the scope's principal in; whoever calls has made sure that it is they.

        Args:
            transaction: Opened for ``scope``. It knows that the principal is not suspended, or fails at the database.
            scope: The person.
            user_agent: What their client calls itself, for them to know the session by.
        """
        token = make_refresh_token(self._entropy)
        session = SessionOwner(self._ids.new(), scope.tenant_id, scope.principal_id)
        expires_at = await self._repository.insert_session(
            transaction, session, token, _shorten(user_agent), self._lifetimes
        )
        await self._record(transaction, scope, "session.create", [session.session_id])
        oldest = await self._repository.end_oldest_sessions(
            transaction, scope, MOST_SESSIONS, EndReason.TOO_MANY
        )
        await self._record(transaction, scope, "session.revoke", oldest)
        return await self._give(transaction, session.session_id, token, expires_at)

    async def refresh(self, presented: str) -> SessionTokens:
        """Replace a refresh token by the next, with a fresh access token.

        The token before the good one gets the same next one again while that is young: its answer may have been lost. A
        token that is older than that ends the session, with all that came of it: it is in two hands.

        Raises:
            RefreshRefusedError: When the token is unknown or replaced, or its session has ended.
        """
        token = parse_refresh_token(presented)
        if token is None:
            raise RefreshRefusedError
        async with self._database.statement_without_scope() as connection:
            owner = await self._repository.find_owner(connection, token)
        if owner is None:
            raise RefreshRefusedError
        async with self._database.transaction(owner) as transaction:
            tokens = await self._refresh(transaction, owner, token)
        # Raised out here: within, it would undo the end of the session.
        if tokens is None:
            raise RefreshRefusedError
        return tokens

    async def list_sessions(
        self, principal: Principal, *, after: UUID | None, limit: int
    ) -> list[Session]:
        """The caller's sessions that have not ended, oldest first.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
        """
        require_person(principal)
        async with self._database.transaction(principal) as transaction:
            current = await self.find_current(transaction, principal)
            return await self._repository.list_sessions(
                transaction, principal, current, after, limit
            )

    async def get_session(self, principal: Principal, session_id: UUID) -> Session:
        """One of the caller's sessions.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
            NotFoundError: When the caller has no such session, or it has ended.
        """
        require_person(principal)
        async with self._database.transaction(principal) as transaction:
            current = await self.find_current(transaction, principal)
            session = await self._repository.find_session(
                transaction, principal, current, session_id
            )
        if session is None:
            raise NotFoundError("session", render_id(SESSION_PREFIX, session_id))
        return session

    async def end_session(self, principal: Principal, session_id: UUID) -> None:
        """Sign out: from the next statement on, no token of the session is good.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
            NotFoundError: When the caller has no such session, or it has ended.
        """
        require_person(principal)
        async with self._database.transaction(principal) as transaction:
            ended = await self._repository.end_session(
                transaction, principal, session_id, EndReason.SIGNED_OUT
            )
            if not ended:
                raise NotFoundError("session", render_id(SESSION_PREFIX, session_id))
            await self._record(transaction, principal, "session.revoke", ended)

    async def end_other_sessions(self, principal: Principal) -> None:
        """Sign out everywhere but here; everywhere, for whoever asks by an API key.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
        """
        require_person(principal)
        async with self._database.transaction(principal) as transaction:
            kept = await self.find_current(transaction, principal)
            await self.end_all_but(transaction, principal, kept, EndReason.SIGNED_OUT)

    async def end_all_but(
        self, transaction: Transaction, scope: Scope, kept: UUID | None, reason: EndReason
    ) -> None:
        """End every session of the scope's principal but one, in the caller's own transaction."""
        ended = await self._repository.end_other_sessions(transaction, scope, kept, reason)
        await self._record(transaction, scope, "session.revoke", ended)

    async def find_current(self, transaction: Transaction, principal: Principal) -> UUID | None:
        """The session by which somebody asks; None for an API key."""
        return await self._repository.find_session_of_token(transaction, principal.credential_id)

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a session."""
        del scope  # the transaction's own
        session_id = parse_id(SESSION_PREFIX, reference)
        if session_id is None:
            return None
        return await self._repository.find_session_salt(transaction, session_id)

    async def forget_ended(self) -> int:
        """Delete what is of no use any more, of all tenants: ended sessions, old tokens, codes and counts; how much."""
        forgotten = 0
        while True:
            async with self._database.transaction_without_scope() as transaction:
                batch = await self._repository.forget_ended_sessions(transaction, _BATCH)
            forgotten += batch
            if batch < _BATCH:
                return forgotten

    async def _refresh(
        self, transaction: Transaction, owner: SessionOwner, token: RefreshToken
    ) -> SessionTokens | None:
        """None when it is refused; where that ended the session, in this transaction."""
        session = await self._repository.lock_session(
            transaction, owner.session_id, self._lifetimes.grace
        )
        if session is None or not session.is_live:
            return None
        if hmac.compare_digest(token.token_hash, session.token_hash):
            salt = self._entropy(SALT_BYTES)
            successor = token.successor(salt)
            expires_at = await self._repository.replace_token(
                transaction, owner.session_id, successor, salt, self._lifetimes.idle
            )
            return await self._give(transaction, owner.session_id, successor, expires_at)
        salt = _salt_of_former(token, session)
        if salt is not None:
            successor = token.successor(salt)
            return await self._give(transaction, owner.session_id, successor, session.expires_at)
        await self._repository.end_session(transaction, owner, owner.session_id, EndReason.REUSED)
        await self._record(transaction, owner, "session.reuse", [owner.session_id])
        return None

    async def _give(
        self,
        transaction: Transaction,
        session_id: UUID,
        refresh_token: RefreshToken,
        expires_at: datetime,
    ) -> SessionTokens:
        access_token = make_access_token(self._entropy)
        access_expires_at = await self._repository.insert_access_token(
            transaction,
            self._ids.new(),
            session_id,
            hash_token(access_token),
            self._lifetimes.access,
        )
        return SessionTokens(
            session_id, access_token, refresh_token.text, access_expires_at, expires_at
        )

    async def _record(
        self, transaction: Transaction, scope: Scope, action: Action, sessions: Sequence[UUID]
    ) -> None:
        if not sessions:
            return
        salt = await self._repository.get_user_salt(transaction, scope)
        acts = [
            Act(action, Subject(render_id(SESSION_PREFIX, session_id), salt), scope.principal_id)
            for session_id in sessions
        ]
        await self._ledger.append(transaction, scope, *acts)


def _salt_of_former(token: RefreshToken, session: LockedSession) -> bytes | None:
    """What makes the good token of this one again, where this is the one before it and may still get it."""
    if session.former_hash is None or not session.in_grace:
        return None
    is_former = hmac.compare_digest(token.token_hash, session.former_hash)
    return session.former_salt if is_former else None


def _shorten(user_agent: str | None) -> str | None:
    """What can be kept and shown of what a client says of itself."""
    if user_agent is None:
        return None
    printable = "".join(filter(str.isprintable, user_agent))
    return printable.strip()[:_LONGEST_USER_AGENT].strip() or None
