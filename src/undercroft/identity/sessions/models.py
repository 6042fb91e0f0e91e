"""Sessions of people, and what a client gets of one."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

SESSION_PREFIX: Final = "session_"


class EndReason(StrEnum):
    """Why a session ended before its time."""

    SIGNED_OUT = "signed_out"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - no password
    SECOND_FACTOR_CHANGED = "second_factor_changed"
    REUSED = "reused"
    """A refresh token came back that had been replaced."""
    TOO_MANY = "too_many"
    """The person signed in so often that the oldest had to go."""


@dataclass(frozen=True, slots=True)
class SessionLifetimes:
    """How long things last.

    Attributes:
        access: An access token.
        idle: A session that is not refreshed.
        longest: A session that is.
        grace: How long the token before the good one still gets the good one, for whoever lost the answer.
    """

    access: timedelta = timedelta(minutes=10)
    idle: timedelta = timedelta(days=30)
    longest: timedelta = timedelta(days=90)
    grace: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Session:
    """Where somebody is signed in.

    Attributes:
        refreshed_at: When it was last used, as exactly as access tokens last.
        expires_at: When it ends unless it is refreshed.
        is_current: Whether the caller asks by it.
    """

    id: UUID
    user_agent: str | None
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    is_current: bool


@dataclass(frozen=True, slots=True)
class SessionTokens:
    """What a client gets when a session is opened or refreshed. The tokens are shown once and not stored."""

    session_id: UUID
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    access_expires_at: datetime
    refresh_expires_at: datetime


@dataclass(frozen=True, slots=True)
class SessionOwner:
    """Whose a session is, found by a refresh token before anything is known of its bearer."""

    session_id: UUID
    tenant_id: UUID
    user_id: UUID

    @property
    def principal_id(self) -> UUID:
        """The user: what is done with the session is done as them."""
        return self.user_id

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: it reads nothing under a grant."""


@dataclass(frozen=True, slots=True)
class LockedSession:
    """A session's tokens, which nobody else replaces before the transaction ends.

    Attributes:
        is_live: Whether it has neither ended nor expired.
        in_grace: Whether the good token is so young that the one before still gets it.
    """

    token_hash: bytes = field(repr=False)
    former_hash: bytes | None = field(repr=False)
    former_salt: bytes | None = field(repr=False)
    expires_at: datetime
    is_live: bool
    in_grace: bool
