"""API keys as their users manage them, and admins those of services. A secret is shown once."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from undercroft.identity.errors import (
    NotYourKeyError,
    OutlivingKeyError,
    TooManyKeysError,
    WiderKeyError,
)
from undercroft.identity.keys import make_key
from undercroft.identity.members.models import Member
from undercroft.identity.members.service import MemberService, no_user
from undercroft.identity.models import (
    KEY_PREFIX,
    ApiKey,
    HeldKey,
    Kind,
    Permission,
    Principal,
    Role,
)
from undercroft.identity.permissions import is_allowed, permissions_of
from undercroft.identity.repository import IdentityRepository
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import recording_refusal
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger

MOST_KEYS: Final = 100
"""That can be used, of one user."""


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A new key. ``secret`` is shown once and not stored."""

    key: ApiKey
    secret: str = field(repr=False)


class ApiKeyService:
    """Makes, lists and revokes keys.

    A person makes keys for themselves, an admin for services: whoever has a person's key is that person. An admin may
    see and revoke everybody's, as they would have to when one has leaked. No key carries more than what made it.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        members: MemberService,
        ids: IdSource,
        clock: Clock,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._members = members
        self._ids = ids
        self._clock = clock
        self._entropy = entropy
        self._repository = IdentityRepository()

    async def create(
        self,
        caller: Principal,
        user_id: UUID,
        scopes: frozenset[Permission] | None,
        lifetime: timedelta | None,
    ) -> NewApiKey:
        """Make a key.

        Args:
            caller: The user, or an admin for a service.
            user_id: Whose key it will be.
            scopes: What of the user's rights it carries; None for all.
            lifetime: After which it expires; None for never.

        Raises:
            NotFoundError: When there is no such user, or none that the caller may see.
            NotYourKeyError: When it would be another person's.
            InvalidRequestError: When a scope is beyond what the user may be allowed.
            WiderKeyError: When it would carry more than the caller's own credential.
            OutlivingKeyError: When it would be good for longer than the API key that makes it.
            TooManyKeysError: When the user has as many as one can have.
        """
        key, key_id = make_key(self._entropy), self._ids.new()
        expires_at = None if lifetime is None else self._clock.now() + lifetime
        async with self._refusing(caller, "key.create", user_id) as transaction:
            user = await self._lock(transaction, caller, user_id)
            is_own = user.id == caller.user_id
            if not is_own and user.kind is not Kind.SERVICE:
                raise NotYourKeyError
            _check_scopes(caller, user, scopes, is_own=is_own)
            ends_at = await self._repository.find_key_expiry(transaction, caller.credential_id)
            if ends_at is not None and (expires_at is None or expires_at > ends_at):
                raise OutlivingKeyError
            if await self._repository.count_living_keys(transaction, user_id) >= MOST_KEYS:
                raise TooManyKeysError(MOST_KEYS)
            await self._repository.insert_api_key(
                transaction, key_id, user_id, key, expires_at, scopes
            )
            made = await self._find(transaction, user_id, key_id)
            act = key_act("key.create", key_id, user.ledger_salt, user_id)
            await self._ledger.append(transaction, caller, act)
        return NewApiKey(made, key.secret)

    async def list_keys(
        self, caller: Principal, user_id: UUID, after: UUID | None, limit: int
    ) -> Sequence[ApiKey]:
        """A page of a user's keys, the oldest first, also of those that have ended.

        Raises:
            NotFoundError: When there is no such user, or none that the caller may see.
        """
        async with self._refusing(caller, "key.read", user_id) as transaction:
            await self._members.find(transaction, _viewer(caller), user_id)
            return await self._repository.list_api_keys(transaction, user_id, after, limit)

    async def get(self, caller: Principal, user_id: UUID, key_id: UUID) -> ApiKey:
        """One key of a user's.

        Raises:
            NotFoundError: When there is none, or none that the caller may see.
        """
        async with self._refusing(caller, "key.read", user_id) as transaction:
            await self._members.find(transaction, _viewer(caller), user_id)
            return await self._find(transaction, user_id, key_id)

    async def revoke(self, caller: Principal, user_id: UUID, key_id: UUID) -> ApiKey:
        """Revoke a key, from the next request on; nothing happens to one that is revoked.

        Raises:
            NotFoundError: When there is none, or none that the caller may see.
        """
        async with self._refusing(caller, "key.revoke", user_id) as transaction:
            user = await self._lock(transaction, caller, user_id)
            await self._find(transaction, user_id, key_id)
            if await self._repository.revoke_api_key(transaction, key_id):
                act = key_act("key.revoke", key_id, user.ledger_salt, user_id)
                await self._ledger.append(transaction, caller, act)
            return await self._find(transaction, user_id, key_id)

    async def list_held_keys(
        self, scope: Scope, user_id: UUID | None, after: ApiKey | None, limit: int
    ) -> Sequence[HeldKey]:
        """For the operator: a page of the keys of a tenant, or of one of its users."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.list_held_keys(transaction, user_id, after, limit)

    async def _lock(self, transaction: Transaction, caller: Principal, user_id: UUID) -> Member:
        """The user, whose keys and role nobody else changes meanwhile, for themselves or an admin."""
        principal, user = await self._members.lock(transaction, caller, user_id)
        if user.id != principal.id and not principal.is_acting_admin:
            raise no_user(user_id)
        return user

    async def _find(self, transaction: Transaction, user_id: UUID, key_id: UUID) -> ApiKey:
        key = await self._repository.find_api_key(transaction, user_id, key_id)
        if key is None:
            raise NotFoundError("API key", render_id(KEY_PREFIX, key_id))
        return key

    def _refusing(
        self, caller: Principal, action: Action, user_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction on a user's keys, whose refusal is put on record of the user."""
        target = self._members.target(user_id)
        return recording_refusal(self._database, self._ledger, caller, action, target)


def key_act(action: Action, key_id: UUID, salt: bytes, user_id: UUID) -> Act:
    """An act on a user's key: keys have no salt of their own, and go with their user."""
    return Act(action, Subject(render_id(KEY_PREFIX, key_id), salt), user_id)


def _viewer(caller: Principal) -> UUID | None:
    return None if caller.role is Role.ADMIN else caller.user_id


def _check_scopes(
    caller: Principal, user: Member, scopes: frozenset[Permission] | None, *, is_own: bool
) -> None:
    allowed = permissions_of(user.kind, user.role)
    if scopes is not None and not scopes <= allowed:
        named = ", ".join(sorted(scopes - allowed))
        raise InvalidRequestError(
            f"This user cannot be allowed {named}: their kind and role do not have it.",
            param="scopes",
        )
    carried = {permission for permission in Permission if is_allowed(caller, permission)}
    if not is_own and caller.kind is Kind.PERSON and caller.scopes is None:
        # No admin has it themselves, and only a person decides who may act for people.
        carried.add(Permission.ACT_FOR_USERS)
    if scopes is None and caller.scopes is not None:
        raise WiderKeyError(allowed - carried or {"all scopes"})
    if scopes is not None and not scopes <= carried:
        raise WiderKeyError(scopes - carried)
