"""Every request has a number, a place and a line; none of them tells a private thing."""

import asyncio
import json
from datetime import datetime
from typing import Final

import httpx2 as httpx
import pytest
from fastapi import FastAPI, Request
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.http.asgi import Connection, scope
from undercroft.http.errors import install_error_handlers
from undercroft.http.middleware import (
    PLAIN_ERRORS,
    Admission,
    BodyPace,
    NoStore,
    Places,
    PlainErrors,
    RequestLog,
)
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.telemetry import Telemetry

PATHS: Final = ("/healthz", "/readyz", "/metrics")


class Waiting:
    """An application that answers when the test lets it."""

    def __init__(self) -> None:
        self.arrived = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in PATHS:
            self.arrived.release()
            await self.go_on.wait()
        await PlainTextResponse("done")(scope, receive, send)


async def broken(*_: object) -> None:
    """An application with a defect."""
    raise RuntimeError


async def request(application: ASGIApp, path: str = "/v1/things") -> Connection:
    connection = Connection()
    await application(scope(path), connection.receive, connection.send)
    return connection


async def test_what_there_is_no_room_for_is_503_before_it_costs_anything() -> None:
    inner = Waiting()
    admission = Admission(inner, Places(2), Places(1))
    async with asyncio.TaskGroup() as group:
        served = [group.create_task(request(admission)) for _ in range(2)]
        for _ in served:
            await inner.arrived.acquire()
        refused = await request(admission)
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert json.loads(refused.body)["error"]["code"] == "unavailable"
        assert inner.arrived.locked()
        for path in PATHS:
            assert (await request(admission, path)).status == 200
        inner.go_on.set()
    assert [connection.result().status for connection in served] == [200, 200]
    assert (await request(admission)).status == 200


async def test_a_request_that_fails_or_is_cancelled_gives_its_place_back() -> None:
    admission = Admission(broken, Places(1), Places(1))
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await request(admission)

    inner = Waiting()
    admission = Admission(inner, Places(1), Places(1))
    task = asyncio.create_task(request(admission))
    await inner.arrived.acquire()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    inner.go_on.set()
    assert (await request(admission)).status == 200


async def test_sockets_are_in_nobodys_way_and_have_places_of_their_own() -> None:
    inner = Waiting()
    admission = Admission(inner, Places(1), Places(1, "sockets"))
    async with asyncio.TaskGroup() as group:
        opened, refused = Connection(), Connection()
        socket = scope(
            "/v1/responses", type="websocket", extensions={"websocket.http.response": {}}
        )
        held = group.create_task(admission(socket, opened.receive, opened.send))
        await inner.arrived.acquire()
        await admission(socket, refused.receive, refused.send)
        assert refused.status == 503
        assert b"as many sockets as it takes" in refused.body
        served = group.create_task(request(admission))
        await inner.arrived.acquire()
        inner.go_on.set()
        assert (await served).status == 200
        await held
    assert opened.sent


def make_application(telemetry: Telemetry) -> FastAPI:
    application = FastAPI()

    @application.get("/v1/files/{file_id}")
    async def get_file(file_id: str) -> str:
        return file_id

    @application.get("/v1/stream")
    async def get_stream() -> StreamingResponse:
        return StreamingResponse(
            (telemetry.render() for _ in range(1)), media_type="text/event-stream"
        )

    application.add_middleware(RequestLog, telemetry=telemetry, clock=SystemClock(), ids=IdSource())
    return application


async def test_metrics_know_templates_and_no_ids() -> None:
    telemetry = Telemetry()
    transport = httpx.ASGITransport(make_application(telemetry))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answers = [
            await client.get(path)
            for path in ("/v1/files/file-one", "/v1/files/file-two", "/secret/path", "/v1/stream")
        ]
    numbers = {answer.headers["X-Request-Id"] for answer in answers}
    assert len(numbers) == 4
    text = telemetry.render().decode()
    assert "secret" not in text
    assert "file-" not in text
    counted = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "undercroft_requests_total"
    }
    assert counted == {
        ("/v1/files/{file_id}", "200"): 2,
        ("(no route)", "404"): 1,
        ("/v1/stream", "200"): 1,
    }
    assert "undercroft_open_streams 1.0" in answers[3].text
    assert "undercroft_open_streams 0.0" in text
    assert "undercroft_open_requests 0.0" in text


async def test_an_application_that_raises_is_counted_as_500_and_forgotten() -> None:
    telemetry = Telemetry()
    log = RequestLog(broken, telemetry, SystemClock(), IdSource())
    with pytest.raises(RuntimeError):
        await request(log)
    text = telemetry.render().decode()
    assert 'method="GET",route="(no route)",status="500"' in text
    assert "undercroft_open_requests 0.0" in text


@pytest.mark.parametrize("status", sorted(PLAIN_ERRORS))
async def test_the_framework_s_plain_errors_look_like_all_others(status: int) -> None:
    for path, body in (("/v1/files", "error"), ("/healthz", "detail")):
        connection = await request(PlainErrors(PlainTextResponse("no", status)), path)
        assert connection.status == status
        assert body in json.loads(connection.body)
        assert int(connection.headers["content-length"]) == len(connection.body)


async def test_plain_text_that_is_no_error_is_left_alone() -> None:
    connection = await request(PlainErrors(PlainTextResponse("metrics")))
    assert connection.body == b"metrics"
    connection = await request(PlainErrors(PlainTextResponse("teapot", 418)))
    assert connection.body == b"teapot"


class SlowClient:
    """Sends one piece of a body in each second of its own clock, and after the last nothing."""

    def __init__(self, pieces: list[bytes], *, is_complete: bool) -> None:
        self._pieces = list(pieces)
        self._is_complete = is_complete
        self._clock = SystemClock()
        self._seconds = 0.0

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._seconds

    async def receive(self) -> Message:
        if not self._pieces:
            await asyncio.Event().wait()
        await asyncio.sleep(0)  # as a socket that has nothing yet
        self._seconds += 1
        body, more = self._pieces.pop(0), bool(self._pieces) or not self._is_complete
        return {"type": "http.request", "body": body, "more_body": more}


async def send_slowly(
    pieces: list[bytes], *, is_complete: bool = True, seconds: float = 5.0
) -> Connection:
    """Post the pieces to a route that takes JSON, at 10 bytes in ``seconds`` at least, with one place to wait in."""
    application = FastAPI()

    @application.post("/v1/things")
    async def count(values: list[int], request: Request) -> int:
        assert await request.body()
        return len(values)

    install_error_handlers(application)
    client, connection = SlowClient(pieces, is_complete=is_complete), Connection()
    application.add_middleware(BodyPace, clock=client, seconds=seconds, least_bytes=10)
    application.add_middleware(Admission, places=Places(1), sockets=Places(1))
    headers = [(b"content-type", b"application/json")]
    async with asyncio.timeout(60):
        await application(scope(method="POST", headers=headers), client.receive, connection.send)
        assert (await request(application, "/v1/others")).status == 404  # its place is free
    return connection


@pytest.mark.parametrize(
    ("pieces", "seconds"),
    [([], 0.05), ([b"[1,"], 0.05), ([b"[", *[b" "] * 100], 8.0)],
    ids=["nothing", "half", "drops"],
)
async def test_a_body_that_does_not_come_is_408_and_gives_its_place_back(
    pieces: list[bytes], seconds: float
) -> None:
    connection = await send_slowly(pieces, is_complete=False, seconds=seconds)
    assert connection.status == 408
    assert connection.headers["connection"] == "close"
    assert json.loads(connection.body)["error"]["code"] == "request_timeout"


async def test_a_long_body_at_the_least_pace_is_taken() -> None:
    connection = await send_slowly([b"[", *[b"1,1,1,"] * 40, b"1]"])
    assert (connection.status, connection.body) == (200, b"121")


async def test_after_the_body_a_client_may_be_silent_for_as_long_as_it_likes() -> None:
    left = asyncio.Event()

    async def wait_for_the_end(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        assert (await receive())["type"] == "http.request"
        left.set()
        assert (await receive())["type"] == "http.disconnect"
        await PlainTextResponse("gone")({"type": "http", "method": "GET"}, receive, send)

    connection = Connection()
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await connection.receive()

    paced = BodyPace(wait_for_the_end, SystemClock(), seconds=0.01)
    served = asyncio.create_task(paced(scope(), receive, connection.send))
    await left.wait()
    asyncio.get_running_loop().call_later(0.1, connection.left.set)
    await served
    assert connection.body == b"gone"


@pytest.mark.parametrize(
    ("path", "own", "answered"),
    [
        ("/v1/things", None, "no-store"),
        ("/v1/things", "private, no-cache", "private, no-cache"),
        ("/healthz", None, None),
    ],
)
async def test_no_cache_keeps_what_says_nothing_of_it(
    path: str, own: str | None, answered: str | None
) -> None:
    headers = {} if own is None else {"Cache-Control": own}
    answer = await request(NoStore(PlainTextResponse("mine", headers=headers)), path)
    assert answer.headers.get("cache-control") == answered
