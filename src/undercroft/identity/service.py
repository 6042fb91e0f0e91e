"""Authentication, the one access check, and the operator's provisioning of keys."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Protocol, TypeAlias
from uuid import UUID

from asyncpg import RestrictViolationError

from undercroft.identity.addresses import parse_address
from undercroft.identity.api_keys import key_act
from undercroft.identity.errors import (
    ForbiddenError,
    GuestAdminError,
    LastAdminError,
    SecondFactorRequiredError,
    UnauthenticatedError,
)
from undercroft.identity.guests import bounding_guests
from undercroft.identity.keys import is_access_token, is_well_formed, make_key
from undercroft.identity.models import (
    KEY_PREFIX,
    Kind,
    Permission,
    Principal,
    Role,
    User,
)
from undercroft.identity.permissions import is_allowed
from undercroft.identity.repository import IdentityRepository
from undercroft.kit.batches import Batches
from undercroft.kit.clock import Clock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError, NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource, parse_id
from undercroft.kit.scope import Scope
from undercroft.kit.tokens import hash_token
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import Target, recording_refusal
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act, OperatorScope, Outcome, Subject
from undercroft.ledger.service import Ledger

_LARGEST_BATCH: Final = 1000
"""Requests that share one look: what a process makes at once."""

_Credential: TypeAlias = tuple[bool, bytes]
"""Whether it is an API key, and not an access token; and its hash."""


class OutsideTokens(Protocol):
    """Knows tokens that are not of our own issue."""

    async def authenticate(self, token: str) -> Principal:
        """The principal behind one; raises UnauthenticatedError when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key and whose it is. ``secret`` is shown once and not stored."""

    secret: str
    principal: Principal


class IdentityService:
    """Who a key belongs to, and what that lets them do."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        ids: IdSource,
        clock: Clock,
        entropy: Callable[[int], bytes] = os.urandom,
        outside: OutsideTokens | None = None,
    ) -> None:
        self._outside = outside
        self._database = database
        self._ledger = ledger
        self._ids = ids
        self._clock = clock
        self._entropy = entropy
        self._repository = IdentityRepository()
        self._lookups: Batches[_Credential, None, Principal] = Batches(self._find, _LARGEST_BATCH)

    async def authenticate(self, secret: str) -> Principal:
        """The principal behind an API key, an access token or a registered issuer's token.

        Requests that show the same one while it is looked up share the next look: a thousand at once of one service
        take few connections, and none is let in by what was found before it came.

        Raises:
            UnauthenticatedError: When it is unknown, expired or revoked, or its user suspended.
        """
        is_key = is_well_formed(secret)
        if is_key or is_access_token(secret):
            return await self._lookups.ask((is_key, hash_token(secret)), None)
        if self._outside is None:
            raise UnauthenticatedError
        return await self._outside.authenticate(secret)

    async def _find(
        self, credential: _Credential, asked: Sequence[None]
    ) -> Sequence[Principal | UndercroftError]:
        is_key, secret_hash = credential
        find = self._repository.find_key_holder if is_key else self._repository.find_token_holder
        async with self._database.statement_without_scope() as connection:
            principal = await find(connection, secret_hash)
        return [UnauthenticatedError() if principal is None else principal for _ in asked]

    async def require(
        self, principal: Principal, permission: Permission, *, while_enrolling: bool = False
    ) -> None:
        """The access check of a route; what a caller may do with one object is decided where it is read.

        Args:
            principal: Who calls.
            permission: What the route asks for.
            while_enrolling: Whether it is for whoever has to enrol a second factor first, too.

        Raises:
            ForbiddenError: When the principal's kind, role or scopes do not allow it, which is put on record.
            SecondFactorRequiredError: When they have to enrol a second factor first, which is put on record as well.
        """
        is_let_in = while_enrolling or not principal.must_enrol
        if is_let_in and is_allowed(principal, permission):
            return
        async with self._database.transaction(principal) as transaction:
            tenant = await self._ledger.tenant(transaction, principal.tenant_id)
            # Every permission is a code such as a purpose is.
            refused = Act(
                "permission.use", tenant, None, outcome=Outcome.DENIED, purpose=permission
            )
            await self._ledger.append(transaction, principal, refused)
        raise ForbiddenError(permission) if is_let_in else SecondFactorRequiredError

    async def find_tenant_id(self, name: str) -> UUID | None:
        """The tenant of that name, for whoever has shown nothing yet."""
        async with self._database.transaction_without_scope() as transaction:
            return await self._repository.find_tenant(transaction, name)

    async def issue_key(
        self,
        tenant_name: str,
        email: str,
        role: Role | None = None,
        lifetime: timedelta | None = None,
    ) -> IssuedKey:
        """Make a key for a user, creating the tenant and the user where they are missing.

        An operator's act: whoever runs the command line may do it for any tenant.

        Args:
            tenant_name: The tenant, by its unique name.
            email: The user, by e-mail address.
            role: The role the user has from now on; None keeps theirs, or makes a new one a member.
            lifetime: After which the key expires; None for never.

        Raises:
            InvalidRequestError: When the name or the address is malformed.
            LastAdminError: When the role would leave the tenant without an admin.
            GuestAdminError: When a guest would be one.
        """
        if not _is_tenant_name(tenant_name):
            raise InvalidRequestError(
                "A tenant's name has 1 to 200 printable characters.", param="tenant"
            )
        email = parse_address(email, "user")
        scope = await self._provision_tenant(tenant_name)
        key, key_id = make_key(self._entropy), self._ids.new()
        expires_at = None if lifetime is None else self._clock.now() + lifetime

        async def find_user(transaction: Transaction) -> Target:
            user = await self._repository.lock_user(transaction, scope.tenant_id, email)
            return Target(Subject(user_reference(user.id), user.ledger_salt), user.id)

        async with recording_refusal(
            self._database, self._ledger, scope, "user.change_role", find_user
        ) as transaction:
            user = await self._provision_user(transaction, scope, email, role)
            await self._repository.insert_api_key(transaction, key_id, user.id, key, expires_at)
            act = key_act("key.create", key_id, user.ledger_salt, user.id)
            await self._ledger.append(transaction, scope, act)
        principal = Principal(user.tenant_id, user.id, key_id, user.role, user.kind)
        return IssuedKey(key.secret, principal)

    async def revoke_key(self, tenant_name: str, prefix: str) -> None:
        """Revoke a key by its visible prefix, from the next request on.

        Raises:
            NotFoundError: When the tenant has no such key.
        """
        if not prefix.isprintable():
            raise NotFoundError("API key", prefix)
        tenant_id = await find_tenant(self._database, tenant_name)
        scope = OperatorScope(tenant_id)
        async with self._database.transaction(scope) as transaction:
            revoked = await self._repository.revoke_api_keys(transaction, prefix)
            if not revoked:
                raise NotFoundError("API key", prefix)
            acts = [key_act("key.revoke", key.id, key.user_salt, key.user_id) for key in revoked]
            await self._ledger.append(transaction, scope, *acts)

    async def find_or_invite(self, transaction: Transaction, scope: Scope, email: str) -> UUID:
        """The tenant's user with that e-mail address: a new guest, if there is none yet.

        Raises:
            InvalidRequestError: When it is no address.
            TooManyGuestsError: When as many are invited who have not come as may be.
        """
        email = parse_address(email, "grantee.user")
        user_id = await self._repository.find_user_id(transaction, email)
        if user_id is not None:
            return user_id
        with bounding_guests():
            guest = await self._repository.insert_guest(
                transaction, self._ids.new(), scope.tenant_id, email
            )
        if guest is None:
            # Invited by another at the same time: the unique address let one through, and it has committed.
            return await self.find_or_invite(transaction, scope, email)
        await self._ledger.append(transaction, scope, _user_act("user.create", guest))
        return guest.id

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a key."""
        del scope  # the transaction's own
        key_id = parse_id(KEY_PREFIX, reference)
        return None if key_id is None else await self._repository.find_key_salt(transaction, key_id)

    async def _provision_tenant(self, name: str) -> OperatorScope:
        """The tenant of that name, created if missing."""
        async with self._database.transaction_without_scope() as transaction:
            tenant_id = await self._repository.find_tenant(transaction, name)
        if tenant_id is not None:
            return OperatorScope(tenant_id)
        scope = OperatorScope(self._ids.new())
        async with self._database.transaction(scope) as transaction:
            inserted = await self._repository.insert_tenant(transaction, scope.tenant_id, name)
            if inserted:
                tenant = await self._ledger.tenant(transaction, scope.tenant_id)
                await self._ledger.append(transaction, scope, Act("tenant.create", tenant, None))
        # Two commands created the same tenant at once: the unique name let one through, and it has committed.
        return scope if inserted else await self._provision_tenant(name)

    async def _provision_user(
        self, transaction: Transaction, scope: OperatorScope, email: str, role: Role | None
    ) -> User:
        """The tenant's user with that address, created or given the role as needed, which is put on record."""
        user = await self._repository.insert_user(
            transaction, self._ids.new(), scope.tenant_id, email, role or Role.MEMBER
        )
        if user is not None:
            await self._ledger.append(transaction, scope, _user_act("user.create", user))
            return user
        user = await self._repository.lock_user(transaction, scope.tenant_id, email)
        if role is None or role is user.role:
            return user
        if user.kind is Kind.GUEST:
            raise GuestAdminError
        try:
            await self._repository.update_role(transaction, user.id, role)
        except RestrictViolationError as error:
            raise LastAdminError from error
        user = replace(user, role=role)
        await self._ledger.append(transaction, scope, _user_act("user.change_role", user))
        return user


async def find_tenant(database: Database, name: str) -> UUID:
    """A tenant by its name, for an operator's command.

    Raises:
        NotFoundError: When there is none.
    """
    found: UUID | None = None
    if _is_tenant_name(name):
        async with database.transaction_without_scope() as transaction:
            found = await IdentityRepository().find_tenant(transaction, name)
    if found is None:
        raise NotFoundError("tenant", name)
    return found


def _user_act(action: Action, user: User) -> Act:
    subject = Subject(user_reference(user.id), user.ledger_salt)
    # The role that was given is what it was done for.
    return Act(action, subject, user.id, purpose=user.role)


def _is_tenant_name(text: str) -> bool:
    return 1 <= len(text) <= 200 and text.isprintable()
