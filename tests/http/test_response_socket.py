"""A socket on which nothing is asked ends; time passes when the test says so."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from tests.http.asgi import scope
from undercroft.http.middleware import Places
from undercroft.http.openai.response_socket import ResponseSocket
from undercroft.http.openai.socket_messages import IDLE_MINUTES
from undercroft.identity.errors import ForbiddenError
from undercroft.identity.watching import WatchedCredentials

ASKED = json.dumps({"type": "response.create", "model": "echo", "input": "Hello?"})


@dataclass
class Timer:
    """Something that is called later, when the test says so."""

    seconds: float
    call: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass
class Bench:
    """One socket, whose client, caller and time are the test's."""

    inbox: asyncio.Queue[Message] = field(default_factory=asyncio.Queue[Message])
    outbox: asyncio.Queue[Message] = field(default_factory=asyncio.Queue[Message])
    timers: list[Timer] = field(default_factory=list[Timer])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    rested: asyncio.Event = field(default_factory=asyncio.Event)
    secret: str = "secret"

    async def authenticate(self) -> NoReturn:
        """What is asked is being answered until the test lets it go on."""
        self.asked.set()
        await self.may_go_on.wait()
        raise ForbiddenError("responses:write")

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(seconds, call))
        self.rested.set()
        return self.timers[-1]

    def idling(self) -> list[Timer]:
        """What would end the socket for idleness."""
        return [
            each
            for each in self.timers
            if each.seconds == IDLE_MINUTES * 60 and not each.is_cancelled
        ]

    async def take(self) -> Message:
        async with asyncio.timeout(30):
            return await self.outbox.get()


@pytest.fixture
async def bench() -> AsyncGenerator[Bench]:
    bench = Bench()
    application = SimpleNamespace(state=SimpleNamespace(places=Places(1)))
    services = SimpleNamespace(
        people=SimpleNamespace(watched_credentials=WatchedCredentials(cast("Any", None))),
        settings=SimpleNamespace(max_body_bytes=1_000_000),
    )
    bench.inbox.put_nowait({"type": "websocket.connect"})
    websocket = WebSocket(
        scope("/v1/responses", type="websocket", app=application),
        bench.inbox.get,
        bench.outbox.put,
    )
    socket = ResponseSocket(
        websocket, cast("Any", services), cast("Any", bench), cast("Any", bench.call_later)
    )
    serving = asyncio.create_task(socket.serve())
    try:
        assert (await bench.take())["type"] == "websocket.accept"
        yield bench
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def expect_idle_end(bench: Bench) -> None:
    """The client is told why, and the socket is closed."""
    told = json.loads((await bench.take())["text"])
    assert (told["type"], told["error"]["code"]) == ("error", "websocket_idle")
    closed = await bench.take()
    assert (closed["type"], closed["code"]) == ("websocket.close", 1001)
    assert closed["reason"] == "websocket_idle"


async def test_a_socket_on_which_nothing_was_asked_is_closed(bench: Bench) -> None:
    bench.inbox.put_nowait({"type": "websocket.receive", "text": "what asks for nothing"})
    refused = json.loads((await bench.take())["text"])
    assert refused["error"]["code"] == "invalid_json"
    (idling,) = bench.idling()
    idling.call()
    await expect_idle_end(bench)


async def test_a_socket_that_answers_is_not_idle_until_it_has_answered(bench: Bench) -> None:
    bench.inbox.put_nowait({"type": "websocket.receive", "text": ASKED})
    async with asyncio.timeout(30):
        await bench.asked.wait()
    assert bench.idling() == []
    bench.rested.clear()
    bench.may_go_on.set()
    refused = json.loads((await bench.take())["text"])
    assert refused["error"]["code"] == "forbidden"
    async with asyncio.timeout(30):
        await bench.rested.wait()
    (idling,) = bench.idling()
    idling.call()
    await expect_idle_end(bench)
