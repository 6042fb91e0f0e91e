"""The rules of groups: admins manage them, and members see those they are in."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from asyncpg import UniqueViolationError

from undercroft.identity.groups.errors import GroupExistsError, StaleGroupError
from undercroft.identity.groups.models import GROUP_PREFIX, Group, GroupMember
from undercroft.identity.groups.repository import GroupRepository
from undercroft.identity.members.service import MemberService, Revisions, no_user
from undercroft.identity.models import Kind, Principal, Role
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import Target, recording_refusal
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import MOST_ACTS, Ledger

_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at groups, and how much they see.

    Attributes:
        user_id: Who.
        sees_every_group: Whether also those they are not in.
        sees_members: Whether also the other members of a group they are in.
    """

    user_id: UUID
    sees_every_group: bool
    sees_members: bool


def viewer_of(principal: Principal) -> Viewer:
    """An admin sees all, a person the groups they are in and who is in them, anybody else no other members."""
    is_admin = principal.role is Role.ADMIN
    return Viewer(principal.user_id, is_admin, is_admin or principal.kind is Kind.PERSON)


class GroupService:
    """Makes, renames, lists and deletes groups, and puts users into them.

    Whoever calls what changes something has made sure that an admin asks; that they are one still is looked at again in
    the transaction. What was granted to a group ends for a user with their membership, and for all with the group: a
    trigger on these rows sees to that.
    """

    def __init__(
        self, database: Database, ledger: Ledger, members: MemberService, ids: IdSource
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._members = members
        self._ids = ids
        self._repository = GroupRepository()

    async def create(self, scope: Scope, name: str) -> Group:
        """Make an empty group.

        Raises:
            InvalidRequestError: When that is no name.
            GroupExistsError: When the tenant has a group of that name.
            NoAdminAnyMoreError: When the principal is none.
        """
        _check_name(name)

        async def find_tenant(transaction: Transaction) -> Target:
            return Target(await self._ledger.tenant(transaction, scope.tenant_id), None)

        async with recording_refusal(
            self._database, self._ledger, scope, "group.create", find_tenant
        ) as transaction:
            await self._members.require_admin(transaction, scope)
            group = await self._repository.insert_group(transaction, self._ids.new(), name)
            if group is None:
                raise GroupExistsError
            await self._ledger.append(transaction, scope, _act("group.create", group))
        return group

    async def get(self, scope: Scope, viewer: Viewer, group_id: UUID) -> Group:
        """One group.

        Raises:
            NotFoundError: When there is none that the viewer may see.
        """
        async with self._refusing(scope, "group.read", group_id) as transaction:
            return await self._find(transaction, viewer, group_id)

    async def list_groups(
        self, scope: Scope, viewer: Viewer, after: UUID | None, limit: int
    ) -> Sequence[Group]:
        """A page of the groups that the viewer may see, the oldest first."""
        async with self._database.transaction(scope) as transaction:
            if viewer.sees_every_group:
                return await self._repository.list_groups(transaction, after, limit)
            return await self._repository.list_groups_of(transaction, viewer.user_id, after, limit)

    async def rename(
        self, scope: Scope, group_id: UUID, name: str, expected: Revisions = None
    ) -> Group:
        """Give a group another name.

        Raises:
            InvalidRequestError: When that is no name.
            NotFoundError: When there is no such group.
            StaleGroupError: When it is at none of the expected revisions.
            GroupExistsError: When the tenant has another group of that name.
            NoAdminAnyMoreError: When the principal is none.
        """
        _check_name(name)
        async with self._hold(scope, group_id, "group.update", expected) as (transaction, group):
            if group.name == name:
                return group
            try:
                renamed = await self._repository.rename_group(transaction, group_id, name)
            except UniqueViolationError as error:
                raise GroupExistsError from error
            await self._ledger.append(transaction, scope, _act("group.update", renamed))
        return renamed

    async def delete(self, scope: Scope, group_id: UUID, expected: Revisions = None) -> None:
        """Delete a group, with what was granted to it. Its members stay users of the tenant.

        Raises:
            NotFoundError: When there is no such group.
            StaleGroupError: When it is at none of the expected revisions.
            NoAdminAnyMoreError: When the principal is none.
        """
        lock = self._repository.lock_group_for_deletion
        async with self._hold(scope, group_id, "group.delete", expected, lock) as (
            transaction,
            group,
        ):
            left = await self._repository.delete_group_members(transaction, group_id)
            await self._repository.delete_group(transaction, group_id)
            acts = [
                _act("group.delete", group),
                *(_user_act("user.leave_group", one) for one in left),
            ]
            for start in range(0, len(acts), MOST_ACTS):
                await self._ledger.append(transaction, scope, *acts[start : start + MOST_ACTS])

    async def list_members(
        self, scope: Scope, viewer: Viewer, group_id: UUID, after: UUID | None, limit: int
    ) -> Sequence[GroupMember]:
        """A page of who is in a group; the viewer alone, where they see no others.

        Raises:
            NotFoundError: When there is no group that the viewer may see.
        """
        async with self._refusing(scope, "group.read", group_id) as transaction:
            await self._find(transaction, viewer, group_id)
            alone = None if viewer.sees_members else viewer.user_id
            return await self._repository.list_group_members(
                transaction, group_id, alone, after, limit
            )

    async def get_member(
        self, scope: Scope, viewer: Viewer, group_id: UUID, user_id: UUID
    ) -> GroupMember:
        """One user who is in a group.

        Raises:
            NotFoundError: When they are in no such group, or the viewer may not see it or them.
        """
        async with self._refusing(scope, "group.read", group_id) as transaction:
            await self._find(transaction, viewer, group_id)
            member = await self._repository.find_group_member(transaction, group_id, user_id)
            if member is None or not (viewer.sees_members or user_id == viewer.user_id):
                raise no_user(user_id)
        return member

    async def add_member(
        self, scope: Scope, group_id: UUID, user_id: UUID
    ) -> tuple[GroupMember, bool]:
        """Put a user into a group.

        Returns:
            The member, and whether they were not one before.

        Raises:
            NotFoundError: When there is no such group or user.
            NoAdminAnyMoreError: When the principal is none.
        """
        async with self._hold(scope, group_id, "group.add_member") as (transaction, group):
            member = await self._repository.find_group_member(transaction, group_id, user_id)
            if member is not None:
                return member, False
            user = await self._repository.lock_user(transaction, user_id)
            if user is None:
                raise no_user(user_id)
            added_at = await self._repository.insert_group_member(transaction, group_id, user_id)
            await self._ledger.append(
                transaction,
                scope,
                _act("group.add_member", group),
                _user_act("user.join_group", user),
            )
        return replace(user, added_at=added_at), True

    async def remove_member(self, scope: Scope, group_id: UUID, user_id: UUID) -> None:
        """Take a user out of a group; what was granted to the group ends for them.

        Raises:
            NotFoundError: When there is no such group, or the user is not in it.
            NoAdminAnyMoreError: When the principal is none.
        """
        async with self._hold(scope, group_id, "group.remove_member") as (transaction, group):
            member = await self._repository.find_group_member(transaction, group_id, user_id)
            if member is None:
                raise no_user(user_id)
            await self._repository.delete_group_member(transaction, group_id, user_id)
            await self._ledger.append(
                transaction,
                scope,
                _act("group.remove_member", group),
                _user_act("user.leave_group", member),
            )

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to a group; None when it is gone."""
        del scope  # the transaction's own
        group_id = parse_id(GROUP_PREFIX, reference)
        if group_id is None:
            return None
        group = await self._repository.find_group(transaction, group_id, None)
        return None if group is None else group.ledger_salt

    async def _find(self, transaction: Transaction, viewer: Viewer, group_id: UUID) -> Group:
        viewer_id = None if viewer.sees_every_group else viewer.user_id
        group = await self._repository.find_group(transaction, group_id, viewer_id)
        if group is None:
            raise _no_group(group_id)
        return group

    @asynccontextmanager
    async def _hold(
        self,
        scope: Scope,
        group_id: UUID,
        action: Action,
        expected: Revisions = None,
        lock: Callable[[Transaction, UUID], Awaitable[Group | None]] | None = None,
    ) -> AsyncGenerator[tuple[Transaction, Group]]:
        """A transaction that holds a group, by somebody who is an admin."""
        lock = lock or self._repository.lock_group
        async with self._refusing(scope, action, group_id) as transaction:
            await self._members.require_admin(transaction, scope)
            group = await lock(transaction, group_id)
            if group is None:
                raise _no_group(group_id)
            if expected is not None and group.revision not in expected:
                raise StaleGroupError
            yield transaction, group

    def _refusing(
        self, scope: Scope, action: Action, group_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        async def find(transaction: Transaction) -> Target | None:
            group = await self._repository.find_group(transaction, group_id, None)
            return None if group is None else Target(_subject(group), None)

        return recording_refusal(self._database, self._ledger, scope, action, find)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise InvalidRequestError("A group's name has 1 to 200 printable characters.", param="name")


def _no_group(group_id: UUID) -> NotFoundError:
    return NotFoundError("group", render_id(GROUP_PREFIX, group_id))


def _subject(group: Group) -> Subject:
    return Subject(render_id(GROUP_PREFIX, group.id), group.ledger_salt)


def _act(action: Action, group: Group) -> Act:
    """An act on a group, which is the tenant's."""
    return Act(action, _subject(group), None)


def _user_act(action: Action, member: GroupMember) -> Act:
    """The same act as the user sees it."""
    subject = Subject(user_reference(member.user_id), member.ledger_salt)
    return Act(action, subject, member.user_id)
