"""Making, finding and revoking grants."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import Final
from uuid import UUID

from asyncpg import CheckViolationError

from undercroft.identity.service import IdentityService
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.denials import Target, recording_refusal
from undercroft.ledger.models import GRANT_PREFIX, USER_PREFIX, Act, Subject
from undercroft.ledger.service import MOST_ACTS, Ledger
from undercroft.sharing.errors import ConsentRequiredError, GrantEndedError, WideningError
from undercroft.sharing.models import (
    GROUP_PREFIX,
    Ending,
    Grant,
    Grantee,
    GranteeKind,
    Invitee,
    Resource,
    ResourceKind,
    SharedResource,
    Terms,
)
from undercroft.sharing.policy import check_terms, ends_too_early, find_widening
from undercroft.sharing.repository import GrantRepository

RESOURCE_NAMES: Final = {
    ResourceKind.DOCUMENT: "file",
    ResourceKind.COLLECTION: "vector store",
    ResourceKind.RECORD: "record",
    ResourceKind.RESPONSE: "response",
    ResourceKind.CONVERSATION: "conversation",
}
"""What errors call them."""


class GrantService:
    """What is shared with whom.

    Args:
        database: Where grants are.
        ledger: Where each grant and its end are put on record.
        ids: Makes their ids.
        people: Knows users by their address, and makes guests of strangers.
    """

    def __init__(
        self, database: Database, ledger: Ledger, ids: IdSource, people: IdentityService
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._ids = ids
        self._people = people
        self._repository = GrantRepository()

    async def create(
        self, scope: Scope, resource: Resource, grantee: Grantee | Invitee, terms: Terms
    ) -> Grant:
        """Share something: as its owner, or on, under a grant that allows that.

        What a re-share does not say it has from the grant that it is made under; what a grant of something personal
        does not say, from the consent that it rests on.

        Raises:
            NotFoundError: When the principal may see no such thing, or there is no such grantee.
            InvalidRequestError: When the terms make no sense for it.
            WideningError: When a re-share would give more than was given.
            GrantEndedError: When the grant to share it ended at the same time.
            ConsentRequiredError: When it is personal, and whom it is about has not agreed to that.
        """
        async with self.refusing(scope, "grant.create", resource) as transaction:
            return await self.create_in(transaction, scope, resource, grantee, terms)

    async def create_in(
        self,
        transaction: Transaction,
        scope: Scope,
        resource: Resource,
        grantee: Grantee | Invitee,
        terms: Terms,
    ) -> Grant:
        """As :meth:`create`, in the transaction of what the grant is a part of, whose refusal the caller records."""
        check_terms(resource.kind, terms)
        shared = await self._repository.find_resource(transaction, resource)
        parent: Grant | None = None
        # Of what is not there nobody has a grant: asked for all the same, so that it takes the same time.
        if shared is None or shared.owner_id != scope.principal_id:
            parent = await self._choose_parent(transaction, resource, terms)
            terms = inherit_terms(terms, parent.terms)
        if shared is None:
            raise no_resource(resource)
        # Before the grants that it derives from: see the order of locks at `lock_before_delete`.
        terms, consent_id = await self._rest_on_consent(transaction, resource, terms)
        if parent is not None and not await self._repository.hold_chain(transaction, parent.id):
            raise GrantEndedError
        known = await self._find_grantee(transaction, scope, grantee)
        grant_id = self._ids.new()
        parent_id = None if parent is None else parent.id
        try:
            await self._repository.insert_grant(
                transaction, grant_id, resource, parent_id, known, terms, consent_id
            )
        except CheckViolationError as error:
            # The beginning may be now, which is the database's to say.
            if error.constraint_name != "grants_end_after_they_begin":
                raise
            raise ends_too_early() from None
        await self._record(transaction, scope, "grant.create", shared, [grant_id])
        return await self.get_in(transaction, scope, grant_id)

    async def get(self, scope: Scope, grant_id: UUID) -> Grant:
        """A grant that the principal gave, holds, or gave the thing of.

        Raises:
            NotFoundError: When there is none that they may know of.
        """
        async with self._database.transaction(scope) as transaction:
            return await self.get_in(transaction, scope, grant_id)

    async def list_of(
        self, scope: Scope, resource: Resource, *, after: UUID | None = None, limit: int
    ) -> list[Grant]:
        """The grants of one thing, the oldest first: all for its owner, else those that the principal gave or holds.

        Raises:
            NotFoundError: When there is none that they may know of.
        """
        async with self._database.transaction(scope) as transaction:
            shared = await self._repository.find_resource(transaction, resource)
            is_owner = shared is not None and shared.owner_id == scope.principal_id
            # Of what is not there as well, so that both take the same time; and whatever page is asked for, as an empty
            # one would tell that the thing is there.
            grants = await self._repository.list_of(
                transaction, resource, everybodys=is_owner, after=after, limit=limit
            )
            if not grants and not is_owner:
                first = await self._repository.list_of(
                    transaction, resource, everybodys=False, after=None, limit=1
                )
                if not first:
                    raise no_resource(resource)
            return grants

    async def list_given(
        self, scope: Scope, *, after: UUID | None = None, limit: int
    ) -> list[Grant]:
        """The grants that the principal made, the oldest first."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.list_given(transaction, after=after, limit=limit)

    async def revoke(self, scope: Scope, grant_id: UUID) -> None:
        """End a grant and whatever was derived from it, from the next statement on. What is over stays as it is.

        Raises:
            NotFoundError: When the principal neither gave it, nor one that it derives from, nor owns the thing.
        """
        async with self._refusing_of(scope, "grant.revoke", grant_id) as transaction:
            grant = await self.get_in(transaction, scope, grant_id)
            is_owner = grant.owner_id == scope.principal_id
            if not is_owner and not await self._repository.has_given(transaction, grant_id):
                raise _no_grant(grant_id)
            await self.end(transaction, scope, grant, Ending.REVOKED)

    async def end(
        self, transaction: Transaction, scope: Scope, grant: Grant, reason: Ending
    ) -> None:
        """End a grant in the transaction of what ends it, and put it on record with whatever derived from it."""
        ended = await self._repository.end_grants(transaction, [grant.id], reason)
        shared = await self.get_resource(transaction, grant.resource)
        await self.record_ended(transaction, scope, shared, ended)

    async def end_under_consent(
        self, transaction: Transaction, scope: Scope, consent_id: UUID
    ) -> None:
        """End whatever rests on a consent, in the transaction that takes it back, which holds the consent locked."""
        grant_ids = await self._repository.list_under_consent(transaction, consent_id)
        if not grant_ids:
            return
        grant = await self._repository.find_grant(transaction, grant_ids[0])
        if grant is None:
            return  # erased, and all grants of it with it
        ended = await self._repository.end_grants(transaction, grant_ids, Ending.WITHDRAWN)
        shared = await self.get_resource(transaction, grant.resource)
        await self.record_ended(transaction, scope, shared, ended)

    async def list_running(self, transaction: Transaction, resource: Resource) -> list[UUID]:
        """The grants of a thing that have not ended, or are being used for the last time."""
        return await self._repository.list_running(transaction, resource.id)

    async def record_ended(
        self,
        transaction: Transaction,
        scope: Scope,
        shared: SharedResource,
        grant_ids: Sequence[UUID],
    ) -> None:
        """Put on record that grants have ended in this transaction."""
        await self._record(transaction, scope, "grant.revoke", shared, grant_ids)

    async def get_resource(self, transaction: Transaction, resource: Resource) -> SharedResource:
        """Whose a thing of the tenant's is. That the principal may know of it is the caller's to decide.

        Raises:
            NotFoundError: When it is not there.
        """
        shared = await self._repository.find_resource(transaction, resource)
        if shared is None:
            raise no_resource(resource)
        return shared

    async def _rest_on_consent(
        self, transaction: Transaction, resource: Resource, terms: Terms
    ) -> tuple[Terms, UUID | None]:
        """The consent that a grant rests on, None where it takes none; and its terms, completed from there."""
        basis = await self._repository.choose_consent(transaction, resource.id, terms)
        if basis is None:
            return terms, None
        if basis.consent_id is None:
            raise ConsentRequiredError("purpose" if terms.purpose is not None else None)
        if terms.expires_at is not None and terms.expires_at > basis.valid_until:
            raise ConsentRequiredError("expires_at")
        expires_at = basis.valid_until if terms.expires_at is None else terms.expires_at
        return replace(terms, purpose=basis.purpose, expires_at=expires_at), basis.consent_id

    async def _find_grantee(
        self, transaction: Transaction, scope: Scope, grantee: Grantee | Invitee
    ) -> Grantee:
        if isinstance(grantee, Invitee):
            user_id = await self._people.find_or_invite(transaction, scope, grantee.email)
            return Grantee(GranteeKind.USER, user_id)
        if not await self._repository.has_grantee(transaction, grantee):
            prefix = USER_PREFIX if grantee.kind is GranteeKind.USER else GROUP_PREFIX
            raise NotFoundError(grantee.kind, render_id(prefix, grantee.id), param="grantee")
        return grantee

    async def _choose_parent(
        self, transaction: Transaction, resource: Resource, terms: Terms
    ) -> Grant:
        """The oldest of the caller's grants under which this can be shared on."""
        widened: str | None = None
        async with aclosing(self._repository.list_for_sharing(transaction, resource.id)) as own:
            async for grant in own:
                widened = find_widening(inherit_terms(terms, grant.terms), grant.terms)
                if widened is None:
                    return grant
        if widened is None:
            raise no_resource(resource)
        raise WideningError(widened)

    async def get_in(self, transaction: Transaction, scope: Scope, grant_id: UUID) -> Grant:
        """As :meth:`get`, in a transaction that does something with it."""
        grant = await self._repository.find_grant(transaction, grant_id)
        concerns = (
            (grant is not None and scope.principal_id == grant.owner_id)
            or await self._repository.is_held(transaction, grant_id)
            or await self._repository.has_given(transaction, grant_id)
        )
        if grant is None or not concerns:
            raise _no_grant(grant_id)
        return grant

    async def _record(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        shared: SharedResource,
        grant_ids: Sequence[UUID],
    ) -> None:
        subject = subject_of(shared)
        acts = [Act(action, subject, shared.owner_id, grant_id=grant_id) for grant_id in grant_ids]
        for start in range(0, len(acts), MOST_ACTS):
            await self._ledger.append(transaction, scope, *acts[start : start + MOST_ACTS])

    def refusing(
        self, scope: Scope, action: Action, resource: Resource
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction on something, whose refusal is put on record."""

        async def find(transaction: Transaction) -> Target | None:
            shared = await self._repository.find_resource(transaction, resource)
            return None if shared is None else Target(subject_of(shared), shared.owner_id)

        return recording_refusal(self._database, self._ledger, scope, action, find)

    def _refusing_of(
        self, scope: Scope, action: Action, grant_id: UUID
    ) -> AbstractAsyncContextManager[Transaction]:
        """As :meth:`refusing`, on what a grant is of."""

        async def find(transaction: Transaction) -> Target | None:
            grant = await self._repository.find_grant(transaction, grant_id)
            # Something is looked for also where there is no grant: no time tells it from one that is hidden.
            nothing = Resource(ResourceKind.DOCUMENT, grant_id)
            resource = nothing if grant is None else grant.resource
            shared = await self._repository.find_resource(transaction, resource)
            return None if shared is None else Target(subject_of(shared), shared.owner_id)

        return recording_refusal(self._database, self._ledger, scope, action, find)


def inherit_terms(terms: Terms, parent: Terms) -> Terms:
    """Terms with the parent's wherever they say nothing."""
    return replace(
        terms,
        fields=terms.fields if terms.fields is not None else parent.fields,
        parts=terms.parts if terms.parts is not None else parent.parts,
        purpose=terms.purpose if terms.purpose is not None else parent.purpose,
        not_before=terms.not_before if terms.not_before is not None else parent.not_before,
        expires_at=terms.expires_at if terms.expires_at is not None else parent.expires_at,
        max_uses=terms.max_uses if terms.max_uses is not None else parent.max_uses,
        model_use=terms.model_use if terms.model_use is not None else parent.model_use,
    )


def no_resource(resource: Resource) -> NotFoundError:
    """The error for a thing that the principal may not know of."""
    return NotFoundError(RESOURCE_NAMES[resource.kind], render_id(resource.kind, resource.id))


def _no_grant(grant_id: UUID) -> NotFoundError:
    return NotFoundError("grant", render_id(GRANT_PREFIX, grant_id))


def subject_of(shared: SharedResource) -> Subject:
    """How the ledger names a thing that is shared."""
    return Subject(render_id(shared.resource.kind, shared.resource.id), shared.salt)
