"""What model servers for tests have in common, whatever API they speak.

They misbehave on request: the model's name chooses how. ``GET /control`` tells what they have seen.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final, TypeVar

from aiohttp import web

KEY: Final = "sk-test-0123456789"
RELEASED: Final = web.AppKey("released", asyncio.Event)


@dataclass
class Seen:
    """What the server has observed since it started."""

    connections: int = 0
    requests: int = 0
    listings: int = 0
    running: int = 0
    cancelled: int = 0
    authorizations: list[str] = field(default_factory=list)
    last_body: dict[str, Any] = field(default_factory=dict)


class Stream:
    """One streamed answer, as a scripted behaviour writes it."""

    def __init__(self, request: web.Request, body: dict[str, Any]) -> None:
        self.body = body
        self.request = request
        self.response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})

    async def raw(self, data: bytes) -> None:
        await self.response.write(data)

    def cut(self) -> None:
        assert self.request.transport is not None
        self.request.transport.abort()


_Stream = TypeVar("_Stream", bound=Stream)


class Script(ABC):
    """The server's handlers, and what they have seen."""

    path: ClassVar[str]
    """Where answers are asked for."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._transports: list[object] = []
        self._failed_once: set[str] = set()
        self._released = asyncio.Event()

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[self.observe])
        app[RELEASED] = self._released
        app.router.add_get("/v1/models", self.models)
        app.router.add_post(self.path, self.answer)
        app.router.add_get("/control", self.control)
        app.router.add_post("/control/reset", self.reset)
        app.router.add_post("/control/release", self.release)
        return app

    @web.middleware
    async def observe(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            if request.transport not in self._transports:
                self._transports.append(request.transport)
                self.seen.connections += 1
            if (refusal := self.check(request)) is not None:
                return refusal
        return await handler(request)

    @abstractmethod
    def check(self, request: web.Request) -> web.Response | None:
        """The refusal of a request without the key."""

    @abstractmethod
    async def models(self, request: web.Request) -> web.Response:
        """Lists the models."""

    @abstractmethod
    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Does as the model of the request is called."""

    async def read(self, request: web.Request) -> dict[str, Any]:
        """The body of a request for an answer, which is seen."""
        body: dict[str, Any] = await request.json()
        self.seen.requests += 1
        self.seen.last_body = body
        return body

    async def run(
        self, behaviour: Callable[[_Stream], Awaitable[None]], stream: _Stream
    ) -> web.StreamResponse:
        """An answer that behaves in this way."""
        self.seen.running += 1
        try:
            await behaviour(stream)
        except (asyncio.CancelledError, ConnectionError):
            self.seen.cancelled += 1
            raise
        finally:
            self.seen.running -= 1
        return stream.response

    def first_time(self, model: str) -> bool:
        """Whether the model has not yet failed as it does once."""
        first = model not in self._failed_once
        self._failed_once.add(model)
        return first

    async def control(self, _: web.Request) -> web.Response:
        return web.json_response(asdict(self.seen))

    async def reset(self, _: web.Request) -> web.Response:
        self.seen = Seen(running=self.seen.running)
        self._transports.clear()
        self._failed_once.clear()
        self._released.clear()
        return web.json_response({})

    async def release(self, _: web.Request) -> web.Response:
        self._released.set()
        return web.json_response({})
