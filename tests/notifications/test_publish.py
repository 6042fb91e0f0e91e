"""An event is told if and only if what causes it commits, to whoever takes such events in that tenant, in ids alone."""

from typing import Any

import pytest

from tests.conftest import MakeScope, Member
from tests.notifications.conftest import EVENT, PAYLOAD, Post
from undercroft.notifications import repository
from undercroft.notifications.endpoints import EndpointChange
from undercroft.notifications.models import DeliveryState

URL = "http://127.0.0.1:9/take"


async def count_messages(post: Post, scope: Member) -> int:
    async with post.database.transaction(scope) as transaction:
        return await transaction.fetchval("SELECT count(*) FROM webhook_messages")


async def test_every_endpoint_that_takes_it_has_a_delivery(
    post: Post, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    taking = [await post.open(scope, URL) for _ in range(2)]
    other = await post.endpoints.create(scope, URL, ["consent.given"])
    disabled = await post.open(scope, URL)
    await post.endpoints.update(scope, disabled.endpoint.id, None, EndpointChange(is_enabled=False))
    await post.publish(scope)
    deliveries = [(await post.deliveries(scope, issued))[0] for issued in taking]
    assert {delivery.state for delivery in deliveries} == {DeliveryState.PENDING}
    assert deliveries[0].message_id == deliveries[1].message_id
    assert await post.deliveries(scope, other) == []
    assert await post.deliveries(scope, disabled) == []
    assert len(await post.waits(scope)) == 2


async def test_nobody_who_takes_it_means_nothing_is_kept(post: Post, make_scope: MakeScope) -> None:
    scope = await make_scope()
    await post.publish(scope)
    assert await count_messages(post, scope) == 0


async def test_another_tenant_is_told_nothing(post: Post, make_scope: MakeScope) -> None:
    ours, theirs = await make_scope(), await make_scope()
    issued = await post.open(theirs, URL)
    await post.publish(ours)
    assert await post.deliveries(theirs, issued) == []


async def test_what_did_not_happen_is_not_told(post: Post, make_scope: MakeScope) -> None:
    scope = await make_scope()
    issued = await post.open(scope, URL)

    async def fail() -> None:
        async with post.database.transaction(scope) as transaction:
            await post.notifications.publish(transaction, scope, EVENT, PAYLOAD)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await post.deliveries(scope, issued) == []
    assert await post.waits(scope) == []
    assert await count_messages(post, scope) == 0


@pytest.mark.parametrize(
    "payload",
    [
        {"email": "ada@example.org"},
        {"name": "Ada Lovelace"},
        {"note": ""},
        {"grant": "x" * 101},
        {"grant": "grant_1\n"},
        {"Grant": "grant_1"},
        {"a b": 1},
        {f"field_{number}": 1 for number in range(21)},
    ],
)
async def test_content_is_refused(
    post: Post, make_scope: MakeScope, payload: dict[str, Any]
) -> None:
    scope = await make_scope()
    await post.open(scope, URL)
    with pytest.raises(ValueError, match=r"content|name of a field|at most 20"):
        await post.publish(scope, payload)


async def test_an_unknown_event_is_refused(post: Post, make_scope: MakeScope) -> None:
    scope = await make_scope()
    async with post.database.transaction(scope) as transaction:
        with pytest.raises(ValueError, match="name of an event"):
            await post.notifications.publish(transaction, scope, "grant.bought", {})  # pyright: ignore[reportArgumentType]


async def test_what_an_endpoint_has_waiting_is_bounded(
    post: Post, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "MOST_WAITING", 2)
    scope = await make_scope()
    issued = await post.open(scope, URL)
    for _ in range(3):
        await post.publish(scope)
    newest, *others = await post.deliveries(scope, issued)
    assert (newest.state, newest.last_error) == (DeliveryState.FAILED, "too_many_waiting")
    assert [delivery.state for delivery in others] == [DeliveryState.PENDING] * 2
    assert len(await post.waits(scope)) == 2
