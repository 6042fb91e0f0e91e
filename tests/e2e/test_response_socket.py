"""Responses over a WebSocket: the unmodified SDK, and bare sockets for what no well-behaved client does."""

import asyncio
import json
import time
import uuid
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import httpx2 as httpx
import pytest
import websockets
from openai import AsyncOpenAI

from tests.e2e.api import connect, read_events
from tests.e2e.conftest import Service
from tests.e2e.sockets import DEADLINE, Event, open_socket
from tests.servers.model_server import ModelServer
from undercroft.http.openai.open_sockets import MOST_OPEN

HELD: Final = {"model": "held", "input": "Hello?"}
ECHO: Final = {"model": "echo", "input": "Hello there?"}


def error_of(event: Event) -> tuple[int, str, str | None]:
    """The status of an error, its code, and the field at fault."""
    assert event["type"] == "error", event
    return event["status"], event["error"]["code"], event["error"]["param"]


def keys_of(http: httpx.Client) -> str:
    """The path of somebody's own keys."""
    return f"/v1/users/{http.get('/v1/account').json()['user']}/keys"


def texts(events: list[Event]) -> str:
    """What was said."""
    return "".join(each["delta"] for each in events if each["type"].endswith("text.delta"))


async def test_the_sdk_gets_the_events_of_several_responses_on_one_socket(sdk: AsyncOpenAI) -> None:
    async with sdk.responses.connect() as connection:
        told: list[str] = []
        previous: dict[str, Any] = {}
        for question in ("How are you today?", "And tomorrow?"):
            await connection.response.create(model="echo", input=question, **previous)
            types: list[str] = []
            async for event in connection:
                types.append(event.type)
                if event.type == "response.completed":
                    told.append(event.response.output_text)
                    previous = {"previous_response_id": event.response.id}
                    break
            assert types[:2] == ["response.created", "response.in_progress"]
            assert "response.output_text.delta" in types
        kept = await sdk.responses.retrieve(previous["previous_response_id"])
    assert told == ["How are you today?", "And tomorrow?"]
    assert kept.output_text == "And tomorrow?"


async def test_the_sdk_tells_lanes_apart(sdk: AsyncOpenAI, model_server: ModelServer) -> None:
    async with sdk.responses.connect() as connection:
        await connection.response.create(model="held", input="Hello?", stream_id="slow")
        await connection.response.create(model="echo", input="I am quick.", stream_id="quick")
        done: list[str | None] = []
        async for event in connection:
            if event.type == "response.completed":
                done.append(event.stream_id)
                await model_server.release()
            if len(done) == 2:
                break
    assert done == ["quick", "slow"]


async def test_a_socket_tells_the_events_that_a_stream_tells(upstream_service: Service) -> None:
    async with open_socket(upstream_service.url, upstream_service.key) as socket:
        await socket.ask(**ECHO)
        told = await socket.until_end()
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    with (
        connect(upstream_service.url, upstream_service.key) as http,
        http.stream(
            "GET", f"/v1/responses/{told[0]['response']['id']}", params={"stream": "true"}
        ) as again,
    ):
        lines = [line.removeprefix("data: ") for line in again.iter_lines() if "{" in line]
    assert [json.loads(line) for line in lines] == told


async def test_in_one_lane_each_waits_for_the_one_before(
    upstream_service: Service, model_server: ModelServer
) -> None:
    async with open_socket(upstream_service.url, upstream_service.key) as socket:
        for lane in (None, "a"):
            named = {} if lane is None else {"stream_id": lane}
            await socket.ask(**HELD, **named)
            await socket.ask(**ECHO, **named)
        first = await socket.until(lambda event: "first" in event.get("delta", ""))
        await model_server.release()
        rest = [*first, *await socket.until_end(), *await socket.until_end()]
        while sum(event["type"] == "response.completed" for event in rest) < 4:
            rest.append(await socket.take())
    for lane in (None, "a"):
        told = [event for event in rest if event.get("stream_id") == lane]
        assert texts(told) == "first secondHello there?"
        numbers = [event["sequence_number"] for event in told]
        assert numbers.count(0) == 2
        assert numbers == [*range(numbers.index(0, 1)), *range(len(numbers) - numbers.index(0, 1))]


async def test_so_many_run_at_once_so_many_wait_and_no_more_are_taken(
    upstream_service: Service, model_server: ModelServer
) -> None:
    async with open_socket(upstream_service.url, upstream_service.key) as socket:
        for number in range(32):
            await socket.ask(**HELD, stream_id=f"lane.{number}")
        await model_server.until(lambda seen: seen.running == 16)
        await socket.ask(**HELD, stream_id="lane.0")
        refused = (await socket.until(lambda event: event["type"] == "error"))[-1]
        assert error_of(refused) == (429, "websocket_queue_full", None)
        assert refused["stream_id"] == "lane.0"
        assert refused["error"]["headers"] == {"Retry-After": "1"}
        await socket.ask(**HELD, stream_id="lane.32")
        refused = (await socket.until(lambda event: event["type"] == "error"))[-1]
        assert error_of(refused) == (400, "websocket_stream_limit_reached", "stream_id")
        assert (await model_server.seen()).running == 16
        await model_server.release()
        done: set[str] = set()
        while len(done) < 32:
            event = await socket.take()
            if event["type"] == "response.completed":
                done.add(event["stream_id"])
        await socket.ask(**ECHO)
        assert (await socket.until_end())[-1]["type"] == "response.completed"


WRONG: Final[list[tuple[Any, tuple[int, str, str | None]]]] = [
    ("{", (400, "invalid_json", None)),
    ("[]", (400, "invalid_request", None)),
    (b"{}", (400, "invalid_request", None)),
    ({"type": "response.steer"}, (400, "invalid_request", "type")),
    ({"stream_id": ""}, (400, "invalid_stream_id", "stream_id")),
    ({"stream_id": "a b"}, (400, "invalid_stream_id", "stream_id")),
    ({"stream_id": "a" * 257}, (400, "invalid_stream_id", "stream_id")),
    ({"background": True}, (400, "invalid_request", "background")),
    ({"stream": False}, (400, "invalid_request", "stream")),
    ({"generate": False}, (400, "invalid_request", "generate")),
    ({"generate": []}, (400, "invalid_request", "generate")),
    ({"generate": {}}, (400, "invalid_request", "generate")),
    ({"colour": "blue"}, (400, "invalid_request", "colour")),
    ({"input": None}, (400, "invalid_request", "input")),
    ({"idempotency_key": " "}, (400, "malformed_idempotency_key", "Idempotency-Key")),
    ({"idempotency_key": 1}, (400, "invalid_request", "idempotency_key")),
    (
        {"idempotency_key": "a", "store": False},
        (400, "idempotency_key_not_taken", "Idempotency-Key"),
    ),
    ({"model": "nothing-like-it"}, (404, "model_not_found", "model")),
    (
        {"previous_response_id": "resp_" + "0" * 32},
        (404, "previous_response_not_found", "previous_response_id"),
    ),
]


async def test_what_cannot_be_asked_is_an_event_that_names_it(upstream_service: Service) -> None:
    async with open_socket(upstream_service.url, upstream_service.key) as socket:
        for sent, expected in WRONG:
            if isinstance(sent, dict):
                await socket.ask(**{**ECHO, **sent})
            else:
                await socket.connection.send(sent)
            told = error_of(await socket.take())
            assert told == expected, sent
        await socket.ask(**ECHO, generate=True, background=False, stream=True)
        assert (await socket.until_end())[-1]["type"] == "response.completed"


async def test_a_message_that_is_too_long_closes_the_socket(upstream_service: Service) -> None:
    async with open_socket(upstream_service.url, upstream_service.key) as socket:
        with suppress(websockets.ConnectionClosed):  # before it has sent all of it
            await socket.connection.send("a" * (4 * 1024 * 1024 + 1))
        assert (await socket.closed())[0] == 1009


async def test_whoever_leaves_was_the_last_watcher_of_all_that_runs(
    upstream_service: Service, model_server: ModelServer
) -> None:
    ids: list[str] = []
    async with open_socket(upstream_service.url, upstream_service.key) as socket:
        for lane, store in (("a", True), ("b", False)):
            await socket.ask(model="stall", input="Hello?", stream_id=lane, store=store)
            events = await socket.until(lambda event: event["type"].endswith("text.delta"))
            ids.append(events[0]["response"]["id"])
    await model_server.until(lambda seen: seen.cancelled == 2 and seen.running == 0)
    with connect(upstream_service.url, upstream_service.key) as http:
        # To its end: the upstream is closed before that is kept.
        told = http.get(f"/v1/responses/{ids[0]}", params={"stream": "true"}).text
        assert list(read_events(told.splitlines()))[-1]["response"]["status"] == "cancelled"
        assert http.get(f"/v1/responses/{ids[1]}").status_code == 404


async def test_a_lost_socket_is_made_up_for_by_the_key(
    upstream_service: Service, model_server: ModelServer
) -> None:
    key = str(uuid.uuid4())
    async with open_socket(upstream_service.url, upstream_service.key) as socket:
        await socket.ask(**ECHO, idempotency_key=key)
        told = await socket.until_end()
    async with open_socket(upstream_service.url, upstream_service.key) as socket:
        await socket.ask(**ECHO, idempotency_key=key, stream_id="again")
        again = await socket.until_end("again")
        assert [{**event, "stream_id": "again"} for event in told] == again
        await socket.ask(model="echo", input="Another one?", idempotency_key=key)
        assert error_of(await socket.take())[:2] == (422, "idempotency_key_reused")
    with connect(upstream_service.url, upstream_service.key) as http:
        # Over HTTP the same is the same.
        headers = {"Idempotency-Key": key}
        answer = http.post("/v1/responses", json={**ECHO, "stream": True}, headers=headers)
        assert answer.headers["Idempotency-Replayed"] == "true"
        assert told[0]["response"]["id"] in answer.text
    assert (await model_server.seen()).requests == 1


async def test_a_socket_whose_key_is_revoked_is_closed_and_what_runs_on_it_ends(
    upstream_service: Service, model_server: ModelServer
) -> None:
    with connect(upstream_service.url, upstream_service.key) as http:
        path = keys_of(http)
        made = http.post(path, json={"scopes": ["responses:write"]}).json()
        async with (
            open_socket(upstream_service.url, made["secret"]) as socket,
            open_socket(upstream_service.url, upstream_service.key) as other,
        ):
            await socket.ask(model="stall", input="Hello?")
            await socket.until(lambda event: event["type"].endswith("text.delta"))
            assert http.delete(f"{path}/{made['id']}").is_success
            told = await socket.take()
            assert error_of(told)[:2] == (401, "invalid_api_key")
            assert await socket.closed() == (1008, "invalid_api_key")
            await model_server.until(lambda seen: seen.running == 0)
            await other.ask(**ECHO)
            assert (await other.until_end())[-1]["type"] == "response.completed"


async def test_what_a_key_may_not_do_it_may_not_do_here(upstream_service: Service) -> None:
    with connect(upstream_service.url, upstream_service.key) as http:
        path = keys_of(http)
        unable = http.post(path, json={"scopes": ["models"]}).json()["secret"]
        writing = http.post(path, json={"scopes": ["responses:write"]}).json()["secret"]
        kept = http.post("/v1/responses", json=ECHO).json()["id"]
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with open_socket(upstream_service.url, unable):
            pass
    assert refused.value.response.status_code == 403
    async with open_socket(upstream_service.url, writing) as socket:
        await socket.ask(**ECHO, previous_response_id=kept)
        assert error_of(await socket.take())[:2] == (403, "forbidden")


async def test_an_answer_is_cut_when_the_grant_ends_that_it_rests_on(
    upstream_service: Service,
) -> None:
    key = upstream_service.make_key("lock", "ann@lock.example", "admin")
    reading = upstream_service.make_key("lock", "bob@lock.example")
    text = b"The lock gate is opened with the brass wheel at the weir."
    with upstream_service.client(key) as sdk:
        store = sdk.vector_stores.create(name="Lock").id
        sdk.vector_stores.files.upload_and_poll(vector_store_id=store, file=("lock.txt", text))
    with connect(upstream_service.url, key) as ann:
        body = {"resource": store, "grantee": {"user": "bob@lock.example"}, "actions": ["search"]}
        grant = ann.post("/v1/grants", json=body).json()["id"]
        async with open_socket(upstream_service.url, reading) as socket:
            await socket.ask(
                model="stall",
                input="With which wheel is the lock gate opened?",
                tools=[{"type": "file_search", "vector_store_ids": [store]}],
            )
            await socket.until(lambda event: event["type"].endswith("text.delta"))
            assert ann.delete(f"/v1/grants/{grant}").is_success
            *_, error, last = await socket.until(lambda event: event["type"] == "response.failed")
            assert (error["type"], error["code"]) == ("error", "access_revoked")
            assert last["response"]["status"] == "failed"
            await socket.ask(**ECHO)
            assert (await socket.until_end())[-1]["type"] == "response.completed"


async def test_a_socket_without_a_good_key_is_refused(upstream_service: Service) -> None:
    for key in (None, "uk_" + "a" * 43):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with open_socket(upstream_service.url, key):
                pass
        assert refused.value.response.status_code == 401
        assert b"invalid_api_key" in refused.value.response.body


async def test_nobody_has_more_sockets_than_one_may(upstream_service: Service) -> None:
    key = upstream_service.make_key("many", "ann@many.example")
    other = upstream_service.make_key("many", "bob@many.example")
    async with AsyncExitStack() as opened:
        first = await opened.enter_async_context(open_socket(upstream_service.url, key))
        for _ in range(MOST_OPEN - 1):
            await opened.enter_async_context(open_socket(upstream_service.url, key))
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with open_socket(upstream_service.url, key):
                pass
        assert refused.value.response.status_code == 429
        assert b"too_many_sockets" in refused.value.response.body
        async with open_socket(upstream_service.url, other) as theirs:
            await theirs.ask(**ECHO)
            assert (await theirs.until_end())[-1]["type"] == "response.completed"
        await first.connection.close()
        async with asyncio.timeout(DEADLINE):
            while not await has_room(upstream_service, key):
                pass


async def has_room(service: Service, key: str) -> bool:
    """Whether they may open one more: the service sees a moment later that one has closed."""
    try:
        async with open_socket(service.url, key):
            return True
    except websockets.InvalidStatus:
        return False


async def test_pages_of_other_origins_and_other_hosts_are_refused(
    configured_service: Service, upstream_service: Service
) -> None:
    url, key = configured_service.url, configured_service.key
    async with open_socket(url, key, headers={"Origin": "https://app.example.org"}) as socket:
        await socket.ask(model="extractive", input="Hello?")
        assert (await socket.until_end())[-1]["type"] == "response.completed"
    for service, headers, status, code in (
        (configured_service, {"Origin": "https://evil.example.org"}, 403, b"unknown_origin"),
        (upstream_service, {"Origin": "https://app.example.org"}, 403, b"unknown_origin"),
        (upstream_service, {"Undercroft-Purpose": "NO CODE"}, 400, b"Undercroft-Purpose"),
    ):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with open_socket(service.url, service.key, headers=headers):
                pass
        assert refused.value.response.status_code == status, headers
        assert code in refused.value.response.body
    address = httpx.URL(url)
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with open_socket(
            "http://evil.example.com", key, host=address.host, port=address.port
        ):
            pass
    assert refused.value.response.status_code == 400
    assert b"allowed_hosts" in refused.value.response.body


async def test_who_reads_nothing_holds_up_nobody_and_is_read_no_more_than_fits(
    upstream_service: Service, model_server: ModelServer
) -> None:
    async with (
        open_socket(
            upstream_service.url, upstream_service.key, max_queue=1, close_timeout=1
        ) as deaf,
        open_socket(upstream_service.url, upstream_service.key) as other,
    ):
        for lane in range(4):
            await deaf.ask(model="endless", input="Hello?", store=False, stream_id=str(lane))
        await model_server.until(lambda seen: seen.running == 4)
        for _ in range(20):
            await other.ask(**ECHO)
            assert (await other.until_end())[-1]["type"] == "response.completed"
    await model_server.until(lambda seen: seen.running == 0)


async def test_the_service_measures_and_logs_sockets(upstream_service: Service) -> None:
    async with open_socket(upstream_service.url, upstream_service.key) as socket:
        await socket.ask(**ECHO)
        await socket.until_end()
    line = 'undercroft_requests_total{method="GET",route="/v1/responses",status="101"}'
    await asyncio.to_thread(await_metric, upstream_service, line)
    assert upstream_service.key not in upstream_service.log()


def await_metric(service: Service, line: str) -> None:
    """Wait until another process has counted something."""
    deadline = time.monotonic() + DEADLINE
    with connect(service.url, service.key) as http:
        while line not in http.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
