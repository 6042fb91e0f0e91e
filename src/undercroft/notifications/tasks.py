"""The job that makes one attempt at a delivery, and queues the next one; and the chore that forgets old messages."""

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from asyncpg import Record

from undercroft.jobs.handler import JobContext, JobHandler
from undercroft.jobs.models import JobFailure, Payload
from undercroft.jobs.service import JobQueue
from undercroft.kit.clock import Clock
from undercroft.kit.crypto.row_keys import RowKeys
from undercroft.kit.database import Database, Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.models import Act, Subject
from undercroft.ledger.service import Ledger
from undercroft.notifications.models import (
    DELIVER_JOB,
    ENDPOINT_PREFIX,
    Attempt,
    DeliveryState,
    EndpointState,
    open_target,
)
from undercroft.notifications.repository import DeliveryRepository, EndpointRepository
from undercroft.notifications.schedule import next_wait
from undercroft.notifications.sender import GONE, WebhookSender
from undercroft.notifications.signing import render_body, sign

_ATTEMPT_SECONDS: Final = 60.0
_AT_ONCE: Final = 8
_BATCH: Final = 1000


class WebhookTasks:
    """Delivers messages.

    Args:
        database: Where they are.
        keys: Open where they go and what they are signed with.
        sender: Posts them.
        queue: Has the next attempt made.
        ledger: Keeps on record which endpoint is not told any more.
        clock: Dates the attempts.
        random: Draws from [0, 1), for spreading attempts.
    """

    def __init__(
        self,
        database: Database,
        keys: RowKeys,
        sender: WebhookSender,
        queue: JobQueue,
        ledger: Ledger,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._database = database
        self._keys = keys
        self._sender = sender
        self._queue = queue
        self._ledger = ledger
        self._clock = clock
        self._random = random
        self._endpoints = EndpointRepository()
        self._deliveries = DeliveryRepository()

    def handlers(self) -> Mapping[str, JobHandler]:
        """What a worker registers."""
        return {DELIVER_JOB: JobHandler(self.deliver, _ATTEMPT_SECONDS, _AT_ONCE, self.give_up)}

    async def deliver(self, context: JobContext) -> None:
        """Make one attempt.

        It may be made twice, when a worker dies or stalls after it: the message's id is the same. Its outcome is noted
        once, by whoever holds the job.

        Raises:
            FencedError: When the job was taken over.
        """
        delivery_id, scope = _delivery_id(context.payload), context.scope
        async with self._database.transaction(scope) as transaction:
            row = await self._deliveries.find_pending_delivery(transaction, delivery_id)
            if row is None:
                return
            if row["endpoint_state"] != EndpointState.ENABLED:
                await self._deliveries.fail_delivery(transaction, delivery_id, "webhook_disabled")
                return
            key = await self._keys.open(row)
        attempt = await self._attempt(row, key.material)
        async with self._database.transaction(scope) as transaction:
            await context.still_mine(transaction)
            await self._note(transaction, scope, row, attempt)

    async def give_up(
        self, transaction: Transaction, scope: Scope, payload: Payload, failure: JobFailure
    ) -> None:
        """Have a delivery failed whose job could not even attempt it."""
        del scope, failure
        await self._deliveries.fail_delivery(transaction, _delivery_id(payload), "not_attempted")

    async def forget_old(self) -> int:
        """Delete what happened more than thirty days ago; how many messages there were."""
        async with self._database.statement_without_scope() as connection:
            return await self._deliveries.prune_messages(connection, _BATCH)

    async def _attempt(self, row: Record, key: bytes) -> Attempt:
        target = open_target(key, row["sealed_target"], row["tenant_id"], row["endpoint_id"])
        secrets = [target.secret]
        if target.former_secret is not None and row["is_rotating"]:
            secrets.append(target.former_secret)
        body = render_body(row["event_type"], row["created_at"], row["payload"])
        headers = sign(row["message_id"], self._clock.now(), body, secrets)
        return await self._sender.post(target.url, headers, body)

    async def _note(
        self, transaction: Transaction, scope: Scope, row: Record, attempt: Attempt
    ) -> None:
        """Record an attempt, and queue the next one if there is to be one.

        Whoever locks an endpoint and its deliveries takes the endpoint first, as its deletion does.
        """
        delivery_id, attempts = row["id"], row["attempts"] + 1
        if attempt.status == GONE:
            await self._mark_gone(transaction, scope, row)
        if attempt.error is None:
            await self._deliveries.settle_delivery(
                transaction, delivery_id, DeliveryState.DELIVERED, attempts, attempt
            )
            return
        wait = None if attempt.status == GONE else next_wait(attempts, self._random())
        if wait is None:
            await self._deliveries.settle_delivery(
                transaction, delivery_id, DeliveryState.FAILED, attempts, attempt
            )
            return
        if await self._deliveries.postpone_delivery(
            transaction, delivery_id, attempts, attempt, wait
        ):
            payload = {"delivery": delivery_id.hex}
            await self._queue.enqueue(transaction, scope, DELIVER_JOB, payload, delay=wait)

    async def _mark_gone(self, transaction: Transaction, scope: Scope, row: Record) -> None:
        if await self._endpoints.mark_endpoint_gone(transaction, row["endpoint_id"]):
            subject = Subject(render_id(ENDPOINT_PREFIX, row["endpoint_id"]), row["salt"])
            act = Act("webhook.update", subject, None, purpose="gone")
            await self._ledger.append(transaction, scope, act)


def _delivery_id(payload: Payload) -> UUID:
    return UUID(hex=str(payload["delivery"]))
