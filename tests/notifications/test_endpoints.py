"""Endpoints: sealed, bounded, changed by one at a time, each act on record."""

import asyncio
from datetime import timedelta

import pytest

from tests.conftest import MakeScope
from tests.notifications.conftest import EVENT, Post
from tests.owner import past_policies
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.egress_policy import EgressRefusedError
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.notifications.endpoints import EndpointChange
from undercroft.notifications.errors import StaleEndpointError, TooManyEndpointsError
from undercroft.notifications.models import MOST_ENDPOINTS, EndpointState

URL = "http://127.0.0.1:9/take?key=canary"


async def test_what_is_done_with_one_is_on_record(post: Post, make_scope: MakeScope) -> None:
    scope = await make_scope()
    made = (await post.open(scope, URL)).endpoint
    change = EndpointChange(event_types=["consent.given", EVENT, EVENT], is_enabled=False)
    changed = await post.endpoints.update(scope, made.id, {1}, change)
    assert changed.event_types == ("consent.given", EVENT)
    assert (changed.url, changed.state, changed.revision) == (URL, EndpointState.DISABLED, 2)
    rotated = await post.endpoints.rotate_secret(scope, made.id, timedelta(hours=1))
    assert rotated.endpoint.revision == 3
    assert await post.endpoints.get(scope, made.id) == rotated.endpoint
    await post.endpoints.delete(scope, made.id)
    with pytest.raises(NotFoundError):
        await post.endpoints.get(scope, made.id)
    assert await post.actions(scope) == [
        ("webhook.create", "allowed", None),
        ("webhook.update", "allowed", None),
        ("webhook.rotate", "allowed", None),
        ("webhook.delete", "allowed", None),
    ]
    async with post.database.transaction(scope) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM data_keys") == 0


async def test_neither_url_nor_secret_can_be_read_in_the_database(
    post: Post, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    issued = await post.open(scope, URL)
    async with post.database.transaction(scope) as transaction:
        row = await transaction.fetchval("SELECT e::text FROM webhook_endpoints AS e")
    for text in ("canary", issued.secret.removeprefix("whsec_")):
        assert text not in row
        assert text.encode().hex() not in row
    assert "canary" not in repr(issued)
    assert issued.secret not in repr(issued)


async def test_a_target_in_another_row_opens_for_nobody(
    post: Post, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    scope = await make_scope()
    first, second = [(await post.open(scope, URL)).endpoint.id for _ in range(2)]
    async with past_policies(database_urls, "webhook_endpoints") as owner:
        await owner.execute(
            "UPDATE webhook_endpoints AS e SET (sealed_target, data_key_id) ="
            " (SELECT o.sealed_target, o.data_key_id FROM webhook_endpoints AS o WHERE o.id = $2)"
            " WHERE e.id = $1",
            first,
            second,
        )
    with pytest.raises(DecryptionError):
        await post.endpoints.get(scope, first)


async def test_a_change_of_something_else_than_was_read_is_refused_and_on_record(
    post: Post, make_scope: MakeScope
) -> None:
    scope = await make_scope()
    made = (await post.open(scope, URL)).endpoint
    await post.endpoints.update(scope, made.id, {1}, EndpointChange(is_enabled=False))
    with pytest.raises(StaleEndpointError):
        await post.endpoints.update(scope, made.id, {1}, EndpointChange(is_enabled=True))
    assert (await post.endpoints.get(scope, made.id)).state is EndpointState.DISABLED
    assert (await post.actions(scope))[-1] == ("webhook.update", "denied", None)


async def test_of_two_changes_at_once_one_is_stale(post: Post, make_scope: MakeScope) -> None:
    scope = await make_scope()
    made = (await post.open(scope, URL)).endpoint
    outcomes = await asyncio.gather(
        *(
            post.endpoints.update(scope, made.id, {1}, EndpointChange(is_enabled=False))
            for _ in range(4)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, StaleEndpointError) for outcome in outcomes) == 3
    assert (await post.endpoints.get(scope, made.id)).revision == 2


async def test_there_are_never_more_than_twenty(post: Post, make_scope: MakeScope) -> None:
    scope, other = await make_scope(), await make_scope()
    outcomes = await asyncio.gather(
        *(post.open(scope, URL) for _ in range(MOST_ENDPOINTS + 4)), return_exceptions=True
    )
    assert sum(isinstance(outcome, TooManyEndpointsError) for outcome in outcomes) == 4
    listed = await post.endpoints.list_endpoints(scope, after=None, limit=100)
    assert len(listed) == MOST_ENDPOINTS
    await post.open(other, URL)
    await post.endpoints.delete(scope, listed[3].id)
    await post.open(scope, URL)


async def test_they_are_listed_in_pages(post: Post, make_scope: MakeScope) -> None:
    scope = await make_scope()
    made = [(await post.open(scope, URL)).endpoint.id for _ in range(3)]
    first = await post.endpoints.list_endpoints(scope, after=None, limit=2)
    rest = await post.endpoints.list_endpoints(scope, after=first[-1].id, limit=2)
    assert [endpoint.id for endpoint in (*first, *rest)] == made


async def test_another_tenants_is_not_there(post: Post, make_scope: MakeScope) -> None:
    made = (await post.open(await make_scope(), URL)).endpoint.id
    stranger = await make_scope()
    assert await post.endpoints.list_endpoints(stranger, after=None, limit=10) == []
    for act in (
        post.endpoints.get(stranger, made),
        post.endpoints.update(stranger, made, None, EndpointChange(is_enabled=False)),
        post.endpoints.rotate_secret(stranger, made, timedelta(0)),
        post.endpoints.delete(stranger, made),
        post.notifications.list_deliveries(stranger, made, state=None, after=None, limit=1),
    ):
        with pytest.raises(NotFoundError):
            await act


async def test_a_url_that_leads_inside_is_refused(post: Post, make_scope: MakeScope) -> None:
    scope = await make_scope()
    with pytest.raises(EgressRefusedError):
        await post.open(scope, "http://10.0.0.1/x")
    made = (await post.open(scope, URL)).endpoint.id
    with pytest.raises(EgressRefusedError):
        await post.endpoints.update(scope, made, None, EndpointChange(url="http://10.0.0.1/x"))


@pytest.mark.parametrize("types", [[], ["grant.bought"], [EVENT, "grant.*"]])
async def test_only_events_that_there_are_can_be_taken(
    post: Post, make_scope: MakeScope, types: list[str]
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await post.endpoints.create(await make_scope(), URL, types)
    assert refused.value.param == "events"


async def test_the_auditor_can_open_what_the_ledger_says(post: Post, make_scope: MakeScope) -> None:
    scope = await make_scope()
    made = (await post.open(scope, URL)).endpoint
    async with post.database.transaction(scope) as transaction:
        found = await post.endpoints.find_salt(transaction, scope, f"webhook_{made.id.hex}")
        missing = await post.endpoints.find_salt(transaction, scope, "webhook_1")
    assert found is not None
    assert len(found) == 32
    assert missing is None
