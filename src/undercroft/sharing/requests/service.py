"""Asking the owner of a thing for a grant, and their answer."""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.clock import Clock
from undercroft.kit.crypto.aead import KEY_BYTES, bind, seal, unseal
from undercroft.kit.crypto.row_keys import RowKeys
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger
from undercroft.sharing.models import Grantee, GranteeKind, Resource, ResourceKind, Terms
from undercroft.sharing.policy import check_terms, find_widening
from undercroft.sharing.requests.errors import (
    RequestClosedError,
    TooManyRequestsError,
    WiderThanAskedError,
)
from undercroft.sharing.requests.models import (
    REQUEST_PREFIX,
    AccessRequest,
    RequestState,
    Wish,
    decode_wish,
    encode_wish,
)
from undercroft.sharing.requests.repository import RequestRepository
from undercroft.sharing.service import GrantService, inherit_terms, subject_of

MOST_A_DAY: Final = 100
"""The most that one person asks for; the database holds to it as well."""
_BATCH: Final = 1000


class AccessRequests:
    """Asks, lists and answers.

    That somebody asked is not in the ledger: it changes nothing of who may see what, and their own audit would tell
    them whether the thing is there. The answer is.

    Args:
        database: Where requests are.
        grants: Makes what is approved.
        keys: Open the things' keys, which seal what is asked.
        ledger: Where answers are put on record.
        ids: Makes their ids.
        clock: Says what is over.
        entropy: Makes keys for what is kept nowhere.
    """

    def __init__(
        self,
        database: Database,
        grants: GrantService,
        keys: RowKeys,
        ledger: Ledger,
        ids: IdSource,
        clock: Clock,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._grants = grants
        self._keys = keys
        self._ledger = ledger
        self._ids = ids
        self._clock = clock
        self._entropy = entropy
        self._repository = RequestRepository()

    async def ask(self, scope: Scope, resource: Resource, wish: Wish) -> UUID:
        """Ask for a grant. Of what is not there, the same is answered, and nothing is kept.

        Returns:
            The request's id. The asker sees it once it was answered.

        Raises:
            InvalidRequestError: When the terms make no sense for such a thing, or the thing is the asker's own.
            TooManyRequestsError: When the principal has asked too often today.
        """
        check_terms(resource.kind, wish.terms)
        self._check_time(wish.terms)
        async with self._database.transaction(scope) as transaction:
            is_counted = await self._repository.count_request(transaction, MOST_A_DAY)
        if not is_counted:
            raise TooManyRequestsError(MOST_A_DAY)
        request_id = self._ids.new()
        async with self._database.transaction(scope) as transaction:
            thing = await self._repository.find_thing(transaction, resource)
            if thing is None:
                material = self._entropy(KEY_BYTES)
            elif thing["owner_id"] == scope.principal_id:
                raise InvalidRequestError("This is yours: you need not ask.", param="resource")
            else:
                material = (await self._keys.open(thing)).material
            sealed = seal(material, encode_wish(wish), request_place(scope.tenant_id, request_id))
            await self._repository.hold_thing(transaction, resource)
            await self._repository.delete_pending(transaction, resource)
            await self._repository.insert_request(transaction, request_id, resource, sealed)
        return request_id

    async def get(self, scope: Scope, request_id: UUID) -> AccessRequest:
        """A request to the principal, or one of theirs that was answered.

        Raises:
            NotFoundError: When there is none.
        """
        async with self._database.transaction(scope) as transaction:
            return await self._find(transaction, scope, request_id)

    async def list_requests(
        self, scope: Scope, *, asked: bool = False, after: UUID | None = None, limit: int
    ) -> list[AccessRequest]:
        """What the principal is asked for, or what they asked for and was answered; the newest first."""
        async with self._database.transaction(scope) as transaction:
            rows = await self._repository.list_requests(
                transaction, asked=asked, after=after, limit=limit
            )
            return [await self._open(scope, row) for row in rows]

    async def approve(
        self, scope: Scope, request_id: UUID, narrowed: Terms | None = None
    ) -> AccessRequest:
        """Grant what is asked for, or less, to who asked, in one transaction with the answer.

        Args:
            scope: The owner's.
            request_id: Which request.
            narrowed: What is granted instead; what it does not say is as it was asked.

        Raises:
            NotFoundError: When the principal is asked no such thing.
            RequestClosedError: When it was answered before, or its time is over.
            WiderThanAskedError: When that would be more than was asked for.
            ConsentRequiredError: When it is personal, and whom it is about has not agreed.
        """
        async with self._answering(scope, request_id) as (transaction, found):
            wish = found.wish
            if wish is None:
                raise RequestClosedError
            terms = wish.terms if narrowed is None else inherit_terms(narrowed, wish.terms)
            wider = find_widening(terms, wish.terms)
            if wider is not None:
                raise WiderThanAskedError(wider)
            self._check_time(terms)
            grantee = Grantee(GranteeKind.USER, found.asker_id)
            grant = await self._grants.create_in(transaction, scope, found.resource, grantee, terms)
            await self._repository.approve_request(transaction, request_id, grant.id)
            await self._record(transaction, scope, "access_request.approve", found, grant.id)
            return await self._find(transaction, scope, request_id)

    async def deny(self, scope: Scope, request_id: UUID) -> AccessRequest:
        """Say no to who asked.

        Raises:
            NotFoundError: When the principal is asked no such thing.
            RequestClosedError: When it was answered before, or its time is over.
        """
        async with self._answering(scope, request_id) as (transaction, found):
            await self._repository.deny_request(transaction, request_id)
            await self._record(transaction, scope, "access_request.deny", found, None)
            return await self._find(transaction, scope, request_id)

    async def expire(self) -> int:
        """Close what nobody has answered in time, whoever's it is; how many there were."""
        async with self._database.transaction_without_scope() as transaction:
            return await self._repository.expire_requests(transaction)

    async def announce(self) -> int:
        """Have owners and webhooks told of what was asked since the last time, whoever's it is; how much that was.

        Not while it is asked: of what is not there nothing is told, and how long asking takes would show it.
        """
        async with self._database.transaction_without_scope() as transaction:
            return await self._repository.announce_requests(transaction, _BATCH)

    def _check_time(self, terms: Terms) -> None:
        if terms.expires_at is not None and terms.expires_at <= self._clock.now():
            raise InvalidRequestError("That time is over.", param="expires_at")

    @asynccontextmanager
    async def _answering(
        self, scope: Scope, request_id: UUID
    ) -> AsyncGenerator[tuple[Transaction, AccessRequest]]:
        """A transaction that holds a request to the principal which nobody has answered."""
        async with self._database.transaction(scope) as transaction:
            await self._repository.hold_asked_thing(transaction, request_id)
            # Locked by a statement of its own: the next one sees what the lock's former holder has made of it.
            if not await self._repository.lock_request(transaction, request_id):
                raise _no_request(request_id)
            found = await self._find(transaction, scope, request_id)
            if found.state is not RequestState.PENDING:
                raise RequestClosedError
            yield transaction, found

    async def _find(
        self, transaction: Transaction, scope: Scope, request_id: UUID
    ) -> AccessRequest:
        row = await self._repository.find_request(transaction, request_id)
        if row is None:
            raise _no_request(request_id)
        return await self._open(scope, row)

    async def _open(self, scope: Scope, row: Record) -> AccessRequest:
        wish: Wish | None = None
        if row["sealed_content"] is not None and row["owner_id"] == scope.principal_id:
            key = await self._keys.open(row)
            place = request_place(row["key_tenant_id"], row["id"])
            wish = decode_wish(unseal(key.material, row["sealed_content"], place))
        kind = next(kind for kind in ResourceKind if row[f"{kind.name.lower()}_id"] is not None)
        return AccessRequest(
            id=row["id"],
            resource=Resource(kind, row[f"{kind.name.lower()}_id"]),
            asker_id=row["asker_id"],
            owner_id=row["owner_id"],
            state=RequestState(row["state"]),
            wish=wish,
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            answered_at=row["answered_at"],
            grant_id=row["grant_id"],
        )

    async def _record(
        self,
        transaction: Transaction,
        scope: Scope,
        action: Action,
        request: AccessRequest,
        grant_id: UUID | None,
    ) -> None:
        shared = await self._grants.get_resource(transaction, request.resource)
        act = Act(action, subject_of(shared), shared.owner_id, grant_id=grant_id)
        await self._ledger.append(transaction, scope, act)


def request_place(tenant_id: UUID, request_id: UUID) -> bytes:
    """What the sealed content of a request is bound to."""
    return bind(tenant_id, "access_requests", request_id, "sealed_content")


def _no_request(request_id: UUID) -> NotFoundError:
    return NotFoundError("access request", render_id(REQUEST_PREFIX, request_id))
