"""A service gets a token that carries a user's rights, narrowed to its own."""

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from typing import Final

from undercroft.identity.exchange.errors import NotAServiceError, ScopeError, SubjectTokenError
from undercroft.identity.exchange.models import ExchangedToken
from undercroft.identity.exchange.repository import ExchangeRepository
from undercroft.identity.keys import is_access_token, is_well_formed, make_access_token
from undercroft.identity.models import Kind, Permission, Principal
from undercroft.identity.permissions import is_allowed
from undercroft.identity.tokens.models import LiveToken
from undercroft.identity.tokens.service import TokenService
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.tokens import hash_token
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger

LONGEST_LIFE: Final = timedelta(minutes=10)


class ExchangeService:
    """Issues tokens with which services act for users.

    Such a token ends with the token or key it was exchanged for, with the service's key, and when either is suspended:
    the statement that authenticates its bearer looks at all of them (``live_access_tokens`` in the migrations).
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        tokens: TokenService,
        ids: IdSource,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._tokens = tokens
        self._ids = ids
        self._entropy = entropy
        self._repository = ExchangeRepository()

    async def exchange(
        self, caller: Principal, subject_token: str, requested: Collection[str] | None = None
    ) -> ExchangedToken:
        """A token to act for the user whose token is presented.

        Args:
            caller: The service, by its API key, which carries the permission to act for users.
            subject_token: An access token or an API key of a person or guest of the same tenant.
            requested: The scopes wanted; None for all that both have.

        Raises:
            NotAServiceError: When the caller is none, or acts by anything else than a key of its own.
            SubjectTokenError: When the subject token is not valid, or none that can be exchanged.
            ScopeError: When no scope would be left.
        """
        if caller.kind is not Kind.SERVICE or caller.actor_id is not None:
            raise NotAServiceError
        is_key = is_well_formed(subject_token)
        if not is_key and not is_access_token(subject_token):
            raise SubjectTokenError(
                "The subject token is not of Undercroft's own issue. Send a user's access token or API key."
            )
        secret = make_access_token(self._entropy)
        async with self._database.transaction(caller) as transaction:
            subject = _require_person(await self._tokens.find(transaction, subject_token))
            scopes = _narrow(caller, subject.principal, requested)
            expires_at = await self._repository.insert_exchanged_token(
                transaction,
                self._ids.new(),
                caller.credential_id,
                subject,
                hash_token(secret),
                scopes,
                LONGEST_LIFE,
                is_key=is_key,
            )
            if expires_at is None:
                raise NotAServiceError
            user_id = subject.principal.user_id
            about = Subject(user_reference(user_id), subject.user_salt)
            act = Act("token.exchange", about, user_id, on_behalf_of=user_id)
            await self._ledger.append(transaction, caller, act)
        return ExchangedToken(secret, scopes, expires_at)


def _require_person(subject: LiveToken | None) -> LiveToken:
    if subject is None:
        raise SubjectTokenError(
            "The subject token is unknown, expired or revoked. Have the user sign in again."
        )
    if subject.principal.actor_id is not None:
        raise SubjectTokenError(
            "The subject token was itself exchanged, and rights are handed on once. Send the user's own."
        )
    if subject.principal.kind not in {Kind.PERSON, Kind.GUEST}:
        raise SubjectTokenError("The subject token is no person's. Send a person's or a guest's.")
    return subject


def _narrow(
    caller: Principal, subject: Principal, requested: Collection[str] | None
) -> frozenset[Permission]:
    """What both may, of what is asked for; not to act for others, which would make a chain of it."""
    delegated = replace(subject, actor_id=caller.user_id)
    scopes = frozenset(
        permission
        for permission in Permission
        if is_allowed(delegated, permission)
        and is_allowed(caller, permission)
        and (requested is None or permission in requested)
    ) - {Permission.ACT_FOR_USERS}
    if not scopes:
        raise ScopeError
    return scopes
