"""Publishing an event in the transaction that causes it, and sending a delivery again."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from undercroft.jobs.service import JobQueue
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import ActorScope
from undercroft.notifications.errors import DeliveryPendingError, EndpointDisabledError
from undercroft.notifications.events import EVENT_TYPES, EventType, Payload
from undercroft.notifications.models import (
    DELIVER_JOB,
    DELIVERY_PREFIX,
    ENDPOINT_PREFIX,
    Delivery,
    DeliveryState,
    EndpointState,
)
from undercroft.notifications.repository import DeliveryRepository, EndpointRepository

_MOST_FIELDS: Final = 20
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CODE: Final = re.compile(r"[A-Za-z0-9_.:/+-]{1,100}")


class Notifications:
    """Tells a tenant's endpoints what happens.

    Args:
        database: For what is asked of deliveries by themselves.
        queue: Has them attempted.
        ids: Names messages and deliveries.
    """

    def __init__(self, database: Database, queue: JobQueue, ids: IdSource) -> None:
        self._database = database
        self._queue = queue
        self._ids = ids
        self._endpoints = EndpointRepository()
        self._deliveries = DeliveryRepository()

    async def publish(
        self,
        transaction: Transaction,
        scope: Scope,
        event_type: EventType,
        payload: Payload,
        happened_at: datetime | None = None,
    ) -> None:
        """Tell every endpoint that takes such events, if and only if the caller's transaction commits.

        Each is told at least once, and in no order that could be relied on.

        Args:
            transaction: Opened for the tenant.
            scope: The tenant's; whoever acts in it.
            event_type: What happened.
            payload: To what: ids, codes, numbers and times. Never content, a name or an address: receivers are no
                principals, and what they have is not erased.
            happened_at: When; None for now.

        Raises:
            ValueError: When the event is not one of ours, or the payload holds anything else.
        """
        _check(event_type, payload)
        subscribed = await self._endpoints.list_subscribed(transaction, event_type)
        if not subscribed:
            return
        message_id = self._ids.new()
        await self._deliveries.insert_message(
            transaction, message_id, event_type, payload, happened_at
        )
        for endpoint in subscribed:
            delivery_id, endpoint_id = self._ids.new(), endpoint["id"]
            if endpoint["is_full"]:
                await self._deliveries.insert_refused_delivery(
                    transaction, delivery_id, endpoint_id, message_id
                )
                continue
            await self._deliveries.insert_delivery(
                transaction, delivery_id, endpoint_id, message_id
            )
            owner = ActorScope(scope.tenant_id, endpoint["owner_id"])
            await self._enqueue(transaction, owner, delivery_id)

    async def list_deliveries(
        self,
        scope: Scope,
        endpoint_id: UUID,
        *,
        state: DeliveryState | None,
        after: UUID | None,
        limit: int,
    ) -> Sequence[Delivery]:
        """An endpoint's deliveries of the last thirty days, the newest first.

        Raises:
            NotFoundError: When the tenant has no such endpoint.
        """
        async with self._database.transaction(scope) as transaction:
            if await self._endpoints.find_endpoint(transaction, endpoint_id) is None:
                raise NotFoundError("webhook", render_id(ENDPOINT_PREFIX, endpoint_id))
            return await self._deliveries.list_deliveries(
                transaction, endpoint_id, state, after, limit
            )

    async def redeliver(self, scope: Scope, endpoint_id: UUID, delivery_id: UUID) -> Delivery:
        """Send a settled delivery again, with all its attempts. It keeps its message's id.

        Raises:
            NotFoundError: When the tenant has no such endpoint, or that no such delivery.
            DeliveryPendingError: When it is still being attempted.
            EndpointDisabledError: When the endpoint is not enabled.
        """
        async with self._database.transaction(scope) as transaction:
            endpoint = await self._endpoints.find_endpoint(transaction, endpoint_id)
            if endpoint is None:
                raise NotFoundError("webhook", render_id(ENDPOINT_PREFIX, endpoint_id))
            state = await self._deliveries.lock_delivery(transaction, endpoint_id, delivery_id)
            if state is None:
                raise NotFoundError("delivery", render_id(DELIVERY_PREFIX, delivery_id))
            if state is DeliveryState.PENDING:
                raise DeliveryPendingError
            if endpoint["state"] != EndpointState.ENABLED:
                raise EndpointDisabledError
            await self._deliveries.reopen_delivery(transaction, delivery_id)
            await self._enqueue(transaction, scope, delivery_id)
            return await self._deliveries.get_delivery(transaction, delivery_id)

    async def _enqueue(self, transaction: Transaction, scope: Scope, delivery_id: UUID) -> None:
        await self._queue.enqueue(transaction, scope, DELIVER_JOB, {"delivery": delivery_id.hex})


def _check(event_type: str, payload: Payload) -> None:
    if event_type not in EVENT_TYPES:
        raise ValueError(f"{event_type!r} is not the name of an event")
    if len(payload) > _MOST_FIELDS:
        raise ValueError(f"an event says at most {_MOST_FIELDS} things")
    for name, value in payload.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not the name of a field")
        if isinstance(value, str) and _CODE.fullmatch(value) is None:
            raise ValueError(f"{name} is neither an id nor a code: an event never holds content")
