"""A message arrives signed, at least once, and no receiver can make the service do anything but try again."""

import asyncio
import json
from datetime import timedelta
from typing import Final

import pytest
from standardwebhooks import Webhook

from tests.conftest import MakeScope
from tests.notifications.conftest import PAYLOAD, Post
from tests.servers.webhook_receiver import Receiver
from tests.stepping import PATIENCE
from undercroft.jobs.errors import FencedError
from undercroft.jobs.models import JobFailure
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.errors import NotFoundError
from undercroft.notifications.endpoints import EndpointChange
from undercroft.notifications.errors import DeliveryPendingError, EndpointDisabledError
from undercroft.notifications.models import Attempt, DeliveryState, EndpointState
from undercroft.notifications.schedule import MOST_ATTEMPTS
from undercroft.notifications.sender import WebhookSender
from undercroft.vault.keys.repository import RotationRepository

DAY: Final = timedelta(days=1)


async def test_it_arrives_signed(post: Post, receiver: Receiver, make_scope: MakeScope) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("take/here?key=1"))
    await post.publish(scope)
    assert await post.attempts.run_next(scope)
    received = receiver.next_message()
    read = Webhook(issued.secret).verify(received.body.encode(), received.headers)
    (delivery,) = await post.deliveries(scope, issued)
    assert (read["type"], read["data"]) == ("grant.created", PAYLOAD)
    assert received.headers["webhook-id"] == f"msg_{delivery.message_id.hex}"
    assert received.headers["Content-Type"] == "application/json"
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 1)
    assert (delivery.last_status, delivery.last_error) == (204, None)
    assert delivery.next_attempt_at is None
    assert not await post.attempts.run_next(scope)


async def test_every_attempt_has_its_own_time_and_the_same_id_and_bytes(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("fail"))
    await post.publish(scope)
    assert await post.attempts.run_next(scope)
    first = receiver.next_message()
    post.clock.offset = timedelta(seconds=200)
    assert await post.attempts.run_next(scope)
    second = receiver.next_message()
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    times = [int(message.headers["webhook-timestamp"]) for message in (first, second)]
    assert 195 <= times[1] - times[0] <= 230
    for message in (first, second):
        assert Webhook(issued.secret).verify(message.body.encode(), message.headers)


async def test_it_is_tried_again_later_and_not_for_ever(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("fail"))
    await post.publish(scope)
    waits: list[float] = []
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert await post.attempts.run_next(scope)
        receiver.next_message()
        waits += await post.waits(scope)
        (delivery,) = await post.deliveries(scope, issued)
        assert (delivery.attempts, delivery.last_status) == (attempt, 503)
    (delivery,) = await post.deliveries(scope, issued)
    assert (delivery.state, delivery.last_error) == (DeliveryState.FAILED, "refused")
    assert not await post.attempts.run_next(scope)
    assert waits == sorted(waits)
    assert len(waits) == MOST_ATTEMPTS - 1
    assert waits[0] == pytest.approx(3.75)


async def test_an_endpoint_that_is_gone_is_told_no_more(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("gone"))
    for _ in range(2):
        await post.publish(scope)
    assert await post.attempts.run_next(scope)
    receiver.next_message()
    # The second one was in line already: it is not sent.
    assert await post.attempts.run_next(scope)
    assert not await post.attempts.run_next(scope)
    newest, oldest = await post.deliveries(scope, issued)
    assert (oldest.state, oldest.last_status, oldest.last_error) == (
        DeliveryState.FAILED,
        410,
        "gone",
    )
    assert (newest.state, newest.attempts) == (DeliveryState.FAILED, 0)
    assert newest.last_error == "webhook_disabled"
    endpoint = await post.endpoints.get(scope, issued.endpoint.id)
    assert endpoint.state is EndpointState.GONE
    assert (await post.actions(scope))[-1] == ("webhook.update", "allowed", "gone")
    await post.publish(scope)
    assert len(await post.deliveries(scope, issued)) == 2


async def test_an_admin_may_have_it_told_again(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("gone"))
    await post.publish(scope)
    assert await post.attempts.run_next(scope)
    first = receiver.next_message()
    (delivery,) = await post.deliveries(scope, issued)
    with pytest.raises(EndpointDisabledError):
        await post.notifications.redeliver(scope, issued.endpoint.id, delivery.id)
    change = EndpointChange(url=receiver.url("take"), is_enabled=True)
    await post.endpoints.update(scope, issued.endpoint.id, None, change)
    reopened = await post.notifications.redeliver(scope, issued.endpoint.id, delivery.id)
    assert (reopened.state, reopened.attempts) == (DeliveryState.PENDING, 0)
    with pytest.raises(DeliveryPendingError):
        await post.notifications.redeliver(scope, issued.endpoint.id, delivery.id)
    assert await post.attempts.run_next(scope)
    assert receiver.next_message().headers["webhook-id"] == first.headers["webhook-id"]
    (delivery,) = await post.deliveries(scope, issued)
    assert delivery.state is DeliveryState.DELIVERED
    with pytest.raises(NotFoundError):
        await post.notifications.redeliver(await make_scope(), issued.endpoint.id, delivery.id)


async def test_two_who_send_it_again_at_once_send_it_once(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("take"))
    await post.publish(scope)
    assert await post.attempts.run_next(scope)
    receiver.next_message()
    (delivery,) = await post.deliveries(scope, issued)
    outcomes = await asyncio.gather(
        *(post.notifications.redeliver(scope, issued.endpoint.id, delivery.id) for _ in range(5)),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, DeliveryPendingError)]
    assert len(refused) == 4
    assert len(await post.waits(scope)) == 1


async def test_what_two_workers_attempt_is_noted_by_the_one_that_has_the_job(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("fail"))
    await post.publish(scope)
    stalled = await post.attempts.claim(scope)
    assert stalled is not None
    # It has posted, and stops before it notes how that went. Meanwhile another worker takes the job over.
    gate = post.stepped.step(2)
    async with asyncio.timeout(PATIENCE):
        running = asyncio.create_task(post.attempts.run(stalled))
        await gate.reached.wait()
        receiver.next_message()
        takeover = await post.attempts.claim(scope, "running")
        assert takeover is not None
        post.stepped.gate = None
        await post.attempts.run(takeover)
        receiver.next_message()
        gate.open()
        with pytest.raises(FencedError):
            await running
    (delivery,) = await post.deliveries(scope, issued)
    assert delivery.attempts == 1
    assert len(await post.waits(scope)) == 1


async def test_an_endpoint_deleted_while_it_is_told_leaves_nothing(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("fail"))
    await post.publish(scope)
    claim = await post.attempts.claim(scope)
    assert claim is not None
    gate = post.stepped.step(2)
    async with asyncio.timeout(PATIENCE):
        running = asyncio.create_task(post.attempts.run(claim))
        await gate.reached.wait()
        receiver.next_message()
        await post.endpoints.delete(scope, issued.endpoint.id)
        gate.open()
        await running
    async with post.database.transaction(scope) as transaction:
        left = await transaction.fetchval("SELECT count(*) FROM webhook_deliveries")
    assert left == 0
    assert await post.waits(scope) == []


async def test_an_endpoint_deleted_before_is_told_nothing(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("take"))
    await post.publish(scope)
    await post.endpoints.delete(scope, issued.endpoint.id)
    assert await post.attempts.run_next(scope)
    assert not await post.attempts.run_next(scope)


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        ("redirect", 307, "redirected"),
        ("stall", None, "timed_out"),
        ("dribble", None, "timed_out"),
        ("flood", 200, None),
        ("flood-headers", None, "bad_answer"),
        ("babble", None, "bad_answer"),
        ("hang-up", None, "unreachable"),
    ],
)
async def test_a_hostile_receiver_gains_nothing(
    post: Post, receiver: Receiver, make_scope: MakeScope, behaviour: str,
    status: int | None, error: str | None,
) -> None:  # fmt: skip
    scope = await make_scope()
    issued = await post.open(scope, receiver.url(behaviour))
    await post.publish(scope)
    assert await post.attempts.run_next(scope)
    # Only once, and nothing at the place that it was redirected to.
    assert receiver.next_message().path == f"/{behaviour}"
    (delivery,) = await post.deliveries(scope, issued)
    assert (delivery.last_status, delivery.last_error) == (status, error)
    await post.publish(scope)
    await post.endpoints.update(
        scope, issued.endpoint.id, None, EndpointChange(url=receiver.url("take"))
    )
    while await post.attempts.run_next(scope):
        assert receiver.next_message().path == "/take"


async def test_what_leads_inside_is_not_called(receiver: Receiver) -> None:
    async with open_guarded_client(EgressPolicy(allow_http=True)) as client:
        for host in ("localhost", "127.0.0.1"):
            attempt = await WebhookSender(client).post(receiver.url("take", host), {}, b"{}")
            assert attempt == Attempt(None, "address_refused")


async def test_while_a_secret_rotates_both_sign(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    old = await post.open(scope, receiver.url("take"))
    new = await post.endpoints.rotate_secret(scope, old.endpoint.id, DAY)
    assert new.secret != old.secret
    await post.publish(scope)
    assert await post.attempts.run_next(scope)
    received = receiver.next_message()
    for secret in (old.secret, new.secret):
        assert Webhook(secret).verify(received.body.encode(), received.headers)


async def test_once_the_overlap_is_over_the_former_secret_signs_no_more(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    old = await post.open(scope, receiver.url("take"))
    new = await post.endpoints.rotate_secret(scope, old.endpoint.id, timedelta(0))
    await post.publish(scope)
    assert await post.attempts.run_next(scope)
    received = receiver.next_message()
    assert received.headers["webhook-signature"].count("v1,") == 1
    assert Webhook(new.secret).verify(received.body.encode(), received.headers)


async def test_a_job_that_could_not_even_try_has_the_delivery_failed(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, receiver.url("take"))
    await post.publish(scope)
    (delivery,) = await post.deliveries(scope, issued)
    async with post.database.transaction(scope) as transaction:
        payload = {"delivery": delivery.id.hex}
        await post.tasks.give_up(transaction, scope, payload, JobFailure("internal", "No."))
    (delivery,) = await post.deliveries(scope, issued)
    assert (delivery.state, delivery.last_error) == (DeliveryState.FAILED, "not_attempted")


async def test_a_tenant_whose_key_was_destroyed_is_told_nothing(
    post: Post, receiver: Receiver, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    await post.open(scope, receiver.url("take"))
    await post.publish(scope)
    async with post.database.transaction(scope) as transaction:
        assert await RotationRepository().destroy_tenant_keys(transaction) == 1
    assert await post.attempts.run_next(scope)
    assert not await post.attempts.run_next(scope)


async def test_jobs_hold_ids_alone(post: Post, receiver: Receiver, make_scope: MakeScope) -> None:
    scope = await make_scope()
    await post.open(scope, receiver.url("take"))
    await post.publish(scope)
    async with post.database.transaction(scope) as transaction:
        payload = await transaction.fetchval("SELECT payload FROM jobs")
    assert list(payload) == ["delivery"]
    assert json.dumps(payload).count(str(receiver.port)) == 0
