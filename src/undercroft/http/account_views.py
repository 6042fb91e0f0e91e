"""Accounts and sessions as the wire shows them."""

from typing import Literal
from uuid import UUID

from fastapi import Request

from undercroft.http.objects import Shown, Time
from undercroft.http.wire import JsonObject, render_time, require_id
from undercroft.identity.accounts.models import Account, Client
from undercroft.identity.second_factors.models import Challenge, Standing
from undercroft.identity.sessions.models import SESSION_PREFIX, Session, SessionTokens
from undercroft.kit.ids import render_id
from undercroft.ledger.models import USER_PREFIX


class SessionObject(Shown):
    """Where somebody is signed in."""

    id: str
    object: Literal["session"]
    user_agent: str | None
    current: bool
    created_at: Time
    refreshed_at: Time
    expires_at: Time


class SessionTokensObject(Shown):
    """What a client keeps of a session. The tokens are shown this once."""

    object: Literal["session.tokens"]
    session: str
    token_type: Literal["Bearer"]
    access_token: str
    access_expires_at: Time
    refresh_token: str
    refresh_expires_at: Time


class SessionChallengeObject(Shown):
    """What is to be answered with a second factor before there is a session. The challenge is shown this once."""

    object: Literal["session.challenge"]
    challenge: str
    expires_at: Time


class SecondFactorObject(Shown):
    """Whether the caller has a second factor, and needs one."""

    object: Literal["second_factor"]
    enabled: bool
    enabled_at: Time | None
    recovery_codes_left: int
    demanded: bool


class EnrolmentObject(Shown):
    """A secret for the caller's app, as text and as what a QR code holds. It is shown this once."""

    object: Literal["second_factor.enrolment"]
    secret: str
    uri: str


class RecoveryCodesObject(Shown):
    """Codes that stand in for the caller's device, each once. They are shown this once."""

    object: Literal["second_factor.recovery_codes"]
    recovery_codes: list[str]


class SecondFactorPolicyObject(Shown):
    """Whether the tenant asks its people for a second factor."""

    object: Literal["second_factor_policy"]
    demanded: bool


class AccountObject(Shown):
    """Who the caller is."""

    object: Literal["account"]
    user: str
    tenant: str
    email: str
    email_verified: bool
    kind: Literal["person", "guest"]
    role: Literal["admin", "member"]


class OutsideToolsObject(Shown):
    """Whether remote tools may be told of what documents say."""

    object: Literal["outside_tools"]
    allowed: bool


class SignUpObject(Shown):
    """Whether people may make accounts by themselves."""

    object: Literal["sign_up"]
    open: bool


def client_of(request: Request) -> Client:
    """Who sends a request, as far as anybody knows: behind a trusted proxy, whom that names."""
    address = None if request.client is None else request.client.host
    return Client(address, request.headers.get("user-agent"))


def require_session_id(text: str, param: str | None = None) -> UUID:
    """A session's id.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(SESSION_PREFIX, "session", text, param)


def render_session(session: Session) -> JsonObject:
    """One session."""
    return {
        "id": render_id(SESSION_PREFIX, session.id),
        "object": "session",
        "user_agent": session.user_agent,
        "current": session.is_current,
        "created_at": render_time(session.created_at),
        "refreshed_at": render_time(session.refreshed_at),
        "expires_at": render_time(session.expires_at),
    }


def render_tokens(tokens: SessionTokens) -> JsonObject:
    """A session's tokens."""
    return {
        "object": "session.tokens",
        "session": render_id(SESSION_PREFIX, tokens.session_id),
        "token_type": "Bearer",
        "access_token": tokens.access_token,
        "access_expires_at": render_time(tokens.access_expires_at),
        "refresh_token": tokens.refresh_token,
        "refresh_expires_at": render_time(tokens.refresh_expires_at),
    }


def render_challenge(challenge: Challenge) -> JsonObject:
    """What a sign-in waits for."""
    return {
        "object": "session.challenge",
        "challenge": challenge.text,
        "expires_at": render_time(challenge.expires_at),
    }


def render_standing(standing: Standing) -> JsonObject:
    """The caller's second factor."""
    enabled_at = standing.enabled_at
    return {
        "object": "second_factor",
        "enabled": enabled_at is not None,
        "enabled_at": None if enabled_at is None else render_time(enabled_at),
        "recovery_codes_left": standing.codes_left,
        "demanded": standing.is_demanded,
    }


def render_account(account: Account) -> JsonObject:
    """The caller's account."""
    return {
        "object": "account",
        "user": render_id(USER_PREFIX, account.id),
        "tenant": account.tenant_name,
        "email": account.email,
        "email_verified": account.is_verified,
        "kind": account.kind,
        "role": account.role,
    }
