"""The endpoints of a tenant, as its admins manage them."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.kit.crypto.row_keys import RowKey, RowKeys
from undercroft.kit.database import Database, Transaction
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource, parse_id, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Outcome, Subject
from undercroft.ledger.service import Ledger
from undercroft.notifications.errors import StaleEndpointError, TooManyEndpointsError
from undercroft.notifications.events import EVENT_TYPES
from undercroft.notifications.models import (
    ENDPOINT_PREFIX,
    Endpoint,
    EndpointState,
    Target,
    open_target,
)
from undercroft.notifications.repository import EndpointRepository
from undercroft.notifications.signing import make_secret, render_secret

LONGEST_OVERLAP: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class IssuedSecret:
    """An endpoint with a new secret, which is shown only here."""

    endpoint: Endpoint
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class EndpointChange:
    """What is to be changed; None leaves it as it is.

    Attributes:
        is_enabled: True enables an endpoint again that is gone, too.
    """

    url: str | None = None
    event_types: Sequence[str] | None = None
    is_enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class _Opened:
    """An endpoint as it is stored, opened."""

    endpoint: Endpoint
    target: Target
    key: RowKey


class EndpointService:
    """Makes, changes and deletes endpoints; each act is in the ledger, as it decides who learns what happens.

    Args:
        database: Where they are.
        keys: Seal where they are and what they are signed with.
        ledger: Keeps what is done with them on record.
        policy: Where they may be.
        ids: Names them.
        entropy: Returns that many random bytes.
    """

    def __init__(
        self,
        database: Database,
        keys: RowKeys,
        ledger: Ledger,
        policy: EgressPolicy,
        ids: IdSource,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._policy = policy
        self._ids = ids
        self._entropy = entropy
        self._repository = EndpointRepository()

    async def create(self, scope: Scope, url: str, event_types: Sequence[str]) -> IssuedSecret:
        """Make an endpoint, with its first secret.

        Raises:
            EgressRefusedError: When nothing may be sent to that URL.
            InvalidRequestError: When one of the events is not one of ours.
            TooManyEndpointsError: When the tenant has all it may have.
            KeyDestroyedError: When the tenant's key was destroyed.
        """
        self._policy.check_url(url)
        event_types = _check_types(event_types)
        endpoint_id, secret = self._ids.new(), make_secret(self._entropy)
        async with self._database.transaction(scope) as transaction:
            key = await self._keys.create(transaction, scope)
            sealed = Target(url, secret).seal(key.material, scope.tenant_id, endpoint_id)
            created_at = None
            while created_at is None:
                slot = await self._repository.find_free_slot(transaction)
                if slot is None:
                    raise TooManyEndpointsError
                created_at = await self._repository.insert_endpoint(
                    transaction, endpoint_id, slot, key.id, sealed, event_types
                )
            await self._ledger.append(
                transaction, scope, _act("webhook.create", endpoint_id, key.salt)
            )
        made = Endpoint(
            endpoint_id, url, tuple(event_types), EndpointState.ENABLED, None, 1, created_at
        )
        return IssuedSecret(made, render_secret(secret))

    async def get(self, scope: Scope, endpoint_id: UUID) -> Endpoint:
        """One endpoint of the tenant.

        Raises:
            NotFoundError: When there is none.
            KeyDestroyedError: When the tenant's key was destroyed.
        """
        async with self._database.transaction(scope) as transaction:
            return (await self._open(transaction, endpoint_id)).endpoint

    async def list_endpoints(
        self, scope: Scope, *, after: UUID | None, limit: int
    ) -> Sequence[Endpoint]:
        """The tenant's endpoints, oldest first, from behind the given one.

        Raises:
            KeyDestroyedError: When the tenant's key was destroyed.
        """
        async with self._database.transaction(scope) as transaction:
            rows = await self._repository.list_endpoints(transaction, after, limit)
            return [(await self._open_row(row)).endpoint for row in rows]

    async def update(
        self,
        scope: Scope,
        endpoint_id: UUID,
        expected: Collection[int] | None,
        change: EndpointChange,
    ) -> Endpoint:
        """Change an endpoint.

        Raises:
            NotFoundError: When there is none.
            StaleEndpointError: When it is at none of the expected revisions.
            EgressRefusedError: When nothing may be sent to that URL.
            InvalidRequestError: When one of the events is not one of ours.
            KeyDestroyedError: When the tenant's key was destroyed.
        """
        if change.url is not None:
            self._policy.check_url(change.url)
        types = None if change.event_types is None else _check_types(change.event_types)
        try:
            async with self._database.transaction(scope) as transaction:
                opened = await self._lock(transaction, endpoint_id, expected)
                made = _changed(opened.endpoint, change, types)
                target = replace(opened.target, url=made.url)
                sealed = target.seal(opened.key.material, scope.tenant_id, endpoint_id)
                await self._repository.update_endpoint(
                    transaction, endpoint_id, sealed, made.event_types, made.state
                )
                act = _act("webhook.update", endpoint_id, opened.key.salt)
                await self._ledger.append(transaction, scope, act)
        except StaleEndpointError as error:
            act = _act("webhook.update", endpoint_id, error.salt)
            await self._ledger.append_denial(scope, replace(act, outcome=Outcome.DENIED))
            raise
        return made

    async def rotate_secret(
        self, scope: Scope, endpoint_id: UUID, overlap: timedelta
    ) -> IssuedSecret:
        """Give an endpoint another secret. The one before signs as well until the overlap is over.

        Raises:
            NotFoundError: When there is none.
            KeyDestroyedError: When the tenant's key was destroyed.
        """
        secret = make_secret(self._entropy)
        async with self._database.transaction(scope) as transaction:
            opened = await self._lock(transaction, endpoint_id, None)
            target = replace(opened.target, secret=secret, former_secret=opened.target.secret)
            sealed = target.seal(opened.key.material, scope.tenant_id, endpoint_id)
            until = await self._repository.rotate_secret(transaction, endpoint_id, sealed, overlap)
            await self._ledger.append(
                transaction, scope, _act("webhook.rotate", endpoint_id, opened.key.salt)
            )
        made = replace(
            opened.endpoint, former_secret_until=until, revision=opened.endpoint.revision + 1
        )
        return IssuedSecret(made, render_secret(secret))

    async def delete(self, scope: Scope, endpoint_id: UUID) -> None:
        """Forget an endpoint, its secrets and its deliveries. One that is under way may still arrive.

        Raises:
            NotFoundError: When there is none.
        """
        async with self._database.transaction(scope) as transaction:
            salt = await self._repository.find_endpoint_salt(transaction, endpoint_id)
            if salt is None or not await self._repository.delete_endpoint(transaction, endpoint_id):
                raise NotFoundError("webhook", render_id(ENDPOINT_PREFIX, endpoint_id))
            await self._ledger.append(transaction, scope, _act("webhook.delete", endpoint_id, salt))

    async def find_salt(
        self, transaction: Transaction, scope: Scope, reference: str
    ) -> bytes | None:
        """What opens the ledger's commitments to an endpoint."""
        del scope  # the transaction's own
        endpoint_id = parse_id(ENDPOINT_PREFIX, reference)
        if endpoint_id is None:
            return None
        return await self._repository.find_endpoint_salt(transaction, endpoint_id)

    async def _lock(
        self, transaction: Transaction, endpoint_id: UUID, expected: Collection[int] | None
    ) -> _Opened:
        await self._repository.lock_endpoint(transaction, endpoint_id)
        opened = await self._open(transaction, endpoint_id)
        if expected is not None and opened.endpoint.revision not in expected:
            raise StaleEndpointError(opened.key.salt)
        return opened

    async def _open(self, transaction: Transaction, endpoint_id: UUID) -> _Opened:
        row = await self._repository.find_endpoint(transaction, endpoint_id)
        if row is None:
            raise NotFoundError("webhook", render_id(ENDPOINT_PREFIX, endpoint_id))
        return await self._open_row(row)

    async def _open_row(self, row: Record) -> _Opened:
        key = await self._keys.open(row)
        target = open_target(key.material, row["sealed_target"], row["tenant_id"], row["id"])
        endpoint = Endpoint(
            row["id"],
            target.url,
            tuple(row["event_types"]),
            EndpointState(row["state"]),
            row["former_secret_until"],
            row["revision"],
            row["created_at"],
        )
        return _Opened(endpoint, target, key)


def _changed(old: Endpoint, change: EndpointChange, event_types: Sequence[str] | None) -> Endpoint:
    """The endpoint as it is to be."""
    state = old.state
    if change.is_enabled is not None:
        state = EndpointState.ENABLED if change.is_enabled else EndpointState.DISABLED
    return replace(
        old,
        url=change.url or old.url,
        event_types=old.event_types if event_types is None else tuple(event_types),
        state=state,
        revision=old.revision + 1,
    )


def _act(action: Action, endpoint_id: UUID, salt: bytes) -> Act:
    return Act(action, Subject(render_id(ENDPOINT_PREFIX, endpoint_id), salt), None)


def _check_types(event_types: Sequence[str]) -> list[str]:
    unknown = sorted(set(event_types) - EVENT_TYPES)
    if unknown:
        raise InvalidRequestError(
            f"There is no event of the type '{unknown[0][:100]}'. There are: {', '.join(sorted(EVENT_TYPES))}.",
            param="events",
        )
    if not event_types:
        raise InvalidRequestError("Name at least one type of event.", param="events")
    return sorted(set(event_types))
