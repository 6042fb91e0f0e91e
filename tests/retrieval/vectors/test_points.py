"""A server of Qdrant's that does not answer, or not as it should."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

import numpy as np
import pytest
from aiohttp import web
from pydantic import AnyHttpUrl, SecretStr

from tests.clocks import SetClock
from undercroft.kit.circuit import FAILURES, REST_SECONDS
from undercroft.kit.settings import Settings
from undercroft.retrieval.vectors.configured import open_points
from undercroft.retrieval.vectors.errors import RestingIndexError, VectorIndexError
from undercroft.retrieval.vectors.models import Space
from undercroft.retrieval.vectors.points import Points

SPACE = Space(uuid4(), 1)
VECTOR = np.full(4, 0.5, dtype=np.float32)
PATIENT = 60.0
FOUND = {"result": {"points": [{"id": 7, "version": 1, "score": 0.5}]}, "status": "ok", "time": 0.0}


class Server:
    """Answers what a test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.bodies: list[dict[str, object]] = []
        self.answer: web.Response | None = None
        self.stopping = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.json())
        if self.answer is None:
            await self.stopping.wait()
            return web.Response(status=503)
        return web.Response(
            body=self.answer.body, status=self.answer.status, headers=self.answer.headers
        )


@pytest.fixture
async def server() -> AsyncGenerator[Server]:
    served = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", served.handle)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}/behind"
    yield served
    served.stopping.set()
    await runner.cleanup()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@asynccontextmanager
async def asking(server: Server, clock: SetClock, seconds: float) -> AsyncGenerator[Points]:
    """What asks the server, and waits that long for an answer."""
    url, key = AnyHttpUrl(server.url), SecretStr("hush")
    opened = open_points(Settings(qdrant_url=url, qdrant_key=key, qdrant_seconds=seconds), clock)
    assert opened is not None
    yield opened
    await opened.close()


@pytest.fixture
async def points(server: Server, clock: SetClock) -> AsyncGenerator[Points]:
    """Patient, so that no busy machine is taken for a silent server."""
    async with asking(server, clock, PATIENT) as opened:
        yield opened


async def near(points: Points) -> list[int]:
    return await points.near(SPACE, uuid4(), VECTOR, 3)


async def test_it_is_asked_with_its_key_for_one_tenant_and_for_ids_alone(
    points: Points, server: Server
) -> None:
    server.answer = web.json_response(FOUND)
    assert await near(points) == [7]
    (request,), (body,) = server.asked, server.bodies
    assert request.path == f"/behind/collections/{SPACE.name}/points/query"
    assert request.headers["api-key"] == "hush"
    assert body["with_payload"] is False
    assert "tenant" in str(body["filter"])


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500),
        web.Response(status=401, text="hush"),
        web.Response(status=404),
        web.Response(status=429, headers={"Retry-After": "5"}),
        web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        web.Response(text="no JSON"),
        web.json_response({"result": {"points": "none"}}),
        web.json_response(None),
    ],
    ids=str,
)
async def test_whatever_it_answers_is_one_kind_of_error(
    points: Points, server: Server, answer: web.Response
) -> None:
    server.answer = answer
    with pytest.raises(VectorIndexError) as error:
        await near(points)
    assert "hush" not in str(error.value)
    assert len(server.asked) == 1


async def test_ids_that_are_none_of_ours_are_left_out(points: Points, server: Server) -> None:
    ids = [str(uuid4()), 2**63, 5, 6, 8, 9]
    found = [{"id": each, "version": 1, "score": 0.5} for each in ids]
    server.answer = web.json_response({"result": {"points": found}, "status": "ok", "time": 0.0})
    assert await near(points) == [5, 6, 8]


async def test_a_silent_one_is_waited_for_no_longer_than_said_and_then_left_alone(
    server: Server, clock: SetClock
) -> None:
    async with asking(server, clock, 1.0) as points:
        for _ in range(FAILURES):
            with pytest.raises(VectorIndexError):
                await near(points)
        assert len(server.asked) == FAILURES
        server.answer = web.json_response(FOUND)
        with pytest.raises(RestingIndexError):
            await near(points)
        assert len(server.asked) == FAILURES
        clock.seconds += REST_SECONDS
        assert await near(points) == [7]


async def test_one_that_is_not_there_is_told_like_one_that_is_silent(clock: SetClock) -> None:
    absent = open_points(Settings(qdrant_url=AnyHttpUrl("http://127.0.0.1:1")), clock)
    assert absent is not None
    with pytest.raises(VectorIndexError):
        await near(absent)
    await absent.close()


def test_none_is_opened_where_none_is_configured(clock: SetClock) -> None:
    assert open_points(Settings(), clock) is None
