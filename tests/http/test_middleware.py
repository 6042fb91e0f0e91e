"""Every request has a number, a place and a line; none of them tells a private thing."""

import asyncio
import json
from typing import Final

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.http.asgi import Connection, scope
from undercroft.http.middleware import PLAIN_ERRORS, Admission, PlainErrors, RequestLog
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
    admission = Admission(inner, max_open=2)
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
    admission = Admission(broken, max_open=1)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await request(admission)

    inner = Waiting()
    admission = Admission(inner, max_open=1)
    task = asyncio.create_task(request(admission))
    await inner.arrived.acquire()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    inner.go_on.set()
    assert (await request(admission)).status == 200


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
