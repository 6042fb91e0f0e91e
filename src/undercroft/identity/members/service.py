"""The rules of managing users: by admins of their tenant, or by the operator."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from asyncpg import ForeignKeyViolationError, RestrictViolationError

from undercroft.identity.addresses import parse_address
from undercroft.identity.errors import GuestAdminError, LastAdminError, UnauthenticatedError
from undercroft.identity.guests import bounding_guests
from undercroft.identity.members.errors import (
    NoAdminAnyMoreError,
    OwnsObjectsError,
    StaleUserError,
    UserExistsError,
)
from undercroft.identity.members.models import Member
from undercroft.identity.members.repository import MemberRepository
from undercroft.identity.models import Kind, Role
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import FindTarget, Target, recording_refusal
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import OPERATOR_ID, Act, Subject
from undercroft.ledger.service import Ledger

Revisions: TypeAlias = frozenset[int] | None
"""Those of a user that the caller means; None for any."""

_LONGEST_NAME: Final = 200
_OF_ROLES: Final = frozenset({"user.create", "user.change_role"})


@dataclass(frozen=True, slots=True)
class _Held:
    """A user whom nobody else changes before the transaction ends."""

    transaction: Transaction
    member: Member


class MemberService:
    """Makes, lists, changes, suspends and removes users.

    Whoever calls it has made sure that an admin asks, or passes as ``viewer_id`` who asks otherwise. Whether they still
    are one is looked at again under the lock of their row: of two who demote each other, the second is none any more.
    """

    def __init__(self, database: Database, ledger: Ledger, ids: IdSource) -> None:
        self._database = database
        self._ledger = ledger
        self._ids = ids
        self._repository = MemberRepository()

    async def invite(self, scope: Scope, email: str, kind: Kind, role: Role) -> Member:
        """Make a person or a guest.

        Raises:
            InvalidRequestError: When that is no address.
            GuestAdminError: When a guest is to be an admin.
            UserExistsError: When the tenant has a user with it.
            TooManyGuestsError: When as many are invited who have not come as may be.
            NoAdminAnyMoreError: When the principal is none.
        """
        address = parse_address(email, "email")
        _check_role(kind, role)
        return await self._create(scope, kind, address, None, role)

    async def create_service(self, scope: Scope, name: str, role: Role) -> Member:
        """Make a service: a program of the tenant's, which acts with keys of its own.

        Raises:
            InvalidRequestError: When the name is none.
            UserExistsError: When the tenant has a service of that name.
            NoAdminAnyMoreError: When the principal is none.
        """
        if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
            raise InvalidRequestError(
                "A service's name has 1 to 200 printable characters.", param="name"
            )
        return await self._create(scope, Kind.SERVICE, None, name, role)

    async def get(self, scope: Scope, viewer_id: UUID | None, user_id: UUID) -> Member:
        """One user.

        Args:
            scope: Who asks.
            viewer_id: The same, where they may see only themselves; None for who may see all.
            user_id: Whom they ask for.

        Raises:
            NotFoundError: When there is none that they may see.
        """
        async with self._refusing(scope, "user.read", user_id) as transaction:
            return await self.find(transaction, viewer_id, user_id)

    async def get_by_address(self, scope: Scope, email: str) -> Member:
        """The user with that address, for the operator.

        Raises:
            InvalidRequestError: When that is no address.
            NotFoundError: When there is none.
        """
        address = parse_address(email, "user")
        async with self._database.transaction(scope) as transaction:
            member = await self._repository.find_member_by_email(transaction, address)
        if member is None:
            raise NotFoundError("user", address)
        return member

    async def list_members(
        self, scope: Scope, viewer_id: UUID | None, after: UUID | None, limit: int
    ) -> Sequence[Member]:
        """A page of users, the oldest first; the viewer alone where they may see only themselves."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.list_members(transaction, viewer_id, after, limit)

    async def change_role(
        self, scope: Scope, user_id: UUID, role: Role, expected: Revisions = None
    ) -> Member:
        """Give a user another role, from the next request on.

        Raises:
            NotFoundError: When there is no such user.
            StaleUserError: When they are at none of the expected revisions.
            GuestAdminError: When a guest is to be an admin.
            LastAdminError: When nobody would be left to administer the tenant.
            NoAdminAnyMoreError: When the principal is none.
        """
        async with self._hold(scope, user_id, "user.change_role", expected) as held:
            member = held.member
            if member.role is role:
                return member
            _check_role(member.kind, role)
            member = await self._repository.update_role(held.transaction, user_id, role)
            await self._append(held.transaction, scope, "user.change_role", member)
        return member

    async def suspend(self, scope: Scope, user_id: UUID, expected: Revisions = None) -> Member:
        """Let a user do nothing from the next statement on. Their access tokens end for good, their keys for so long.

        Raises:
            NotFoundError: When there is no such user.
            StaleUserError: When they are at none of the expected revisions.
            LastAdminError: When nobody would be left to administer the tenant.
            NoAdminAnyMoreError: When the principal is none.
        """
        async with self._hold(scope, user_id, "user.suspend", expected) as held:
            member = held.member
            if member.suspended_at is not None:
                return member
            member = await self._repository.suspend(held.transaction, user_id)
            await self._append(held.transaction, scope, "user.suspend", member)
        return member

    async def reinstate(self, scope: Scope, user_id: UUID, expected: Revisions = None) -> Member:
        """Let a suspended user act again.

        Raises:
            NotFoundError: When there is no such user.
            StaleUserError: When they are at none of the expected revisions.
            NoAdminAnyMoreError: When the principal is none.
        """
        async with self._hold(scope, user_id, "user.reinstate", expected) as held:
            member = held.member
            if member.suspended_at is None:
                return member
            member = await self._repository.reinstate(held.transaction, user_id)
            await self._append(held.transaction, scope, "user.reinstate", member)
        return member

    async def remove(self, scope: Scope, user_id: UUID, expected: Revisions = None) -> None:
        """Remove a user who owns nothing, with their keys, tokens and memberships. Nothing of content goes with them.

        Raises:
            NotFoundError: When there is no such user.
            StaleUserError: When they are at none of the expected revisions.
            OwnsObjectsError: When they own anything.
            LastAdminError: When nobody would be left to administer the tenant.
            NoAdminAnyMoreError: When the principal is none.
        """
        lock = self._repository.lock_members_for_removal
        async with self._hold(scope, user_id, "user.remove", expected, lock) as held:
            # Before the row goes: what the entry is sealed with is in it.
            await self._append(held.transaction, scope, "user.remove", held.member)
            await self._repository.delete_member(held.transaction, user_id)

    async def find(self, transaction: Transaction, viewer_id: UUID | None, user_id: UUID) -> Member:
        """One user, for what is done with something of theirs, in the transaction of that.

        Raises:
            NotFoundError: When there is none that the viewer may see.
        """
        member = await self._repository.find_member(transaction, user_id, viewer_id)
        if member is None:
            raise no_user(user_id)
        return member

    async def lock(
        self, transaction: Transaction, scope: Scope, user_id: UUID
    ) -> tuple[Member, Member]:
        """The principal and a user, whom nobody else changes meanwhile, for what is made of the user's.

        Raises:
            UnauthenticatedError: When the principal was removed.
            NotFoundError: When there is no such user.
        """
        locked = {one.id: one for one in await self._repository.lock_members(transaction, user_id)}
        principal, member = locked.get(scope.principal_id), locked.get(user_id)
        if principal is None:
            raise UnauthenticatedError
        if member is None or member.kind is Kind.LINK:
            raise no_user(user_id)
        return principal, member

    async def require_admin(self, transaction: Transaction, scope: Scope) -> None:
        """Refuse what the principal asked for as an admin and is none any more; they stay one until it commits.

        Raises:
            NoAdminAnyMoreError: When they are none.
            UnauthenticatedError: When they were removed.
        """
        if scope.principal_id != OPERATOR_ID:
            _check_admin(await self._repository.is_acting_admin(transaction))

    def target(self, user_id: UUID) -> FindTarget:
        """What finds a user of the tenant's, of whom something is refused."""

        async def find(transaction: Transaction) -> Target | None:
            member = await self._repository.find_member(transaction, user_id, None)
            if member is None:
                return None
            return Target(Subject(user_reference(user_id), member.ledger_salt), user_id)

        return find

    async def _create(
        self, scope: Scope, kind: Kind, email: str | None, name: str | None, role: Role
    ) -> Member:
        async def find_tenant(transaction: Transaction) -> Target:
            return Target(await self._ledger.tenant(transaction, scope.tenant_id), None)

        async with recording_refusal(
            self._database, self._ledger, scope, "user.create", find_tenant
        ) as transaction:
            await self.require_admin(transaction, scope)
            with bounding_guests():
                member = await self._repository.insert_member(
                    transaction, self._ids.new(), kind, email, name, role
                )
            if member is None:
                raise UserExistsError("name" if email is None else "email")
            await self._append(transaction, scope, "user.create", member)
        return member

    @asynccontextmanager
    async def _hold(
        self,
        scope: Scope,
        user_id: UUID,
        action: Action,
        expected: Revisions,
        lock: Callable[[Transaction, UUID], Awaitable[list[Member]]] | None = None,
    ) -> AsyncGenerator[_Held]:
        """A transaction that holds a user, by somebody who is an admin, and says why the database refused."""
        lock = lock or self._repository.lock_members
        async with self._refusing(scope, action, user_id) as transaction:
            locked = {member.id: member for member in await lock(transaction, user_id)}
            if scope.principal_id != OPERATOR_ID:
                principal = locked.get(scope.principal_id)
                _check_admin(None if principal is None else principal.is_acting_admin)
            member = locked.get(user_id)
            if member is None or member.kind is Kind.LINK:
                raise no_user(user_id)
            if expected is not None and member.revision not in expected:
                raise StaleUserError
            try:
                yield _Held(transaction, member)
            except RestrictViolationError as error:
                raise LastAdminError from error
            except ForeignKeyViolationError as error:
                raise OwnsObjectsError from error

    def _refusing(
        self, scope: Scope, action: Action, user_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        return recording_refusal(self._database, self._ledger, scope, action, self.target(user_id))

    async def _append(
        self, transaction: Transaction, scope: Scope, action: Action, member: Member
    ) -> None:
        subject = Subject(user_reference(member.id), member.ledger_salt)
        # The role from then on is what a user is made or changed for.
        purpose = member.role if action in _OF_ROLES else None
        await self._ledger.append(
            transaction, scope, Act(action, subject, member.id, purpose=purpose)
        )


def no_user(user_id: UUID) -> NotFoundError:
    """There is none with this id, or none that the caller may see."""
    return NotFoundError("user", user_reference(user_id))


def _check_role(kind: Kind, role: Role) -> None:
    if kind is Kind.GUEST and role is Role.ADMIN:
        raise GuestAdminError


def _check_admin(is_admin: bool | None) -> None:
    if is_admin is None:
        # Somebody removed them while they asked. No entry could name them any more.
        raise UnauthenticatedError
    if not is_admin:
        raise NoAdminAnyMoreError
