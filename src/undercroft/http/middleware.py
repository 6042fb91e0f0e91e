"""What happens to every request before its route: a place, a number, a line in the log."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from undercroft.http.errors import BODY_TOO_LARGE, render_error
from undercroft.http.sse import BELOW_ALL, REMAINDER, Remainder
from undercroft.kit.clock import Clock
from undercroft.kit.errors import (
    STATUS,
    ErrorKind,
    InvalidRequestError,
    UnavailableError,
    UndercroftError,
)
from undercroft.kit.ids import IdSource
from undercroft.kit.telemetry import Telemetry

PLAIN_ERRORS: Final = {
    400: InvalidRequestError(
        "This host name is not served here; the operator lists those that are in allowed_hosts."
    ),
    413: UndercroftError(BODY_TOO_LARGE, kind=ErrorKind.TOO_LARGE),
}
BODY_SECONDS: Final = 20.0
BODY_BYTES: Final = 256 * 1024
"""At this pace, 13 KB/s, the largest upload takes hours and passes, and an ordinary JSON body has one deadline."""
_SWITCHED: Final = 101
_PRIVATE: Final = ("/v1/", "/mcp")
_UNMATCHED: Final = "(no route)"
_SERVED: Final = frozenset({"http", "websocket"})
_START: Final = "http.response.start"
"""How an answer begins; with a word before it where it refuses a WebSocket."""
_ALWAYS_ADMITTED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""A busy process must look busy, not dead: what watches it would end it, and every stream with it."""

_log = structlog.stdlib.get_logger(__name__)


class RequestLog:
    """Numbers requests, counts them and writes one line for each: method, route, status, time, nothing private.

    A WebSocket is one request, as long as it is open.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, clock: Clock, ids: IdSource) -> None:
        self._app = app
        self._telemetry = telemetry
        self._clock = clock
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in _SERVED:
            await self._app(scope, receive, send)
            return
        started, request_id = self._clock.monotonic(), f"req_{self._ids.new().hex}"
        status, is_stream, method = 500, False, scope.get("method", "GET")

        async def send_numbered(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "websocket.accept" or message["type"].endswith(_START):
                status = message.get("status", _SWITCHED)
                headers = list(message.get("headers", []))
                is_stream = any(
                    name == b"content-type" and value.startswith(b"text/event-stream")
                    for name, value in headers
                )
                message = {**message, "headers": [*headers, (b"x-request-id", request_id.encode())]}
                self._observe(scope, started)
                if is_stream:
                    self._telemetry.open_streams.inc()
            await send(message)

        scope[BELOW_ALL] = send
        structlog.contextvars.bind_contextvars(request_id=request_id)
        self._telemetry.open_requests.inc()
        try:
            await self._app(scope, receive, send_numbered)
        finally:
            self._telemetry.open_requests.dec()
            if is_stream:
                self._telemetry.open_streams.dec()
            route = _route(scope)
            self._telemetry.requests.labels(method, route, str(status)).inc()
            _log.info(
                "request",
                method=method,
                route=route,
                status=status,
                milliseconds=round((self._clock.monotonic() - started) * 1000, 1),
            )
            structlog.contextvars.unbind_contextvars("request_id")

    def _observe(self, scope: Scope, started: float) -> None:
        seconds = self._clock.monotonic() - started
        self._telemetry.request_seconds.labels(scope.get("method", "GET"), _route(scope)).observe(
            seconds
        )


class PlainErrors:
    """Renders the errors that the framework answers as plain text (host, body size) like all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in _SERVED:
            await self._app(scope, receive, send)
            return
        error: UndercroftError | None = None

        async def send_rendered(message: Message) -> None:
            nonlocal error
            is_start = message["type"].endswith(_START)
            if is_start and _is_plain_text(message):
                error = PLAIN_ERRORS.get(message["status"])
            if error is None:
                await send(message)
            elif is_start:
                await render_error(scope["path"], error)(scope, receive, send)

        await self._app(scope, receive, send_rendered)


class NoStore:
    """Keeps answers below ``/v1/`` and at ``/mcp`` out of every cache, unless they say themselves what may keep them.

    What somebody may see now they may not see later, and another may use the same browser.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not scope["path"].startswith(_PRIVATE):
            await self._app(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_marked)


def _is_plain_text(start: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/plain")
        for name, value in start.get("headers", [])
    )


class Places:
    """How much a process serves at once.

    Args:
        most: How many there are.
        of: What takes them, in the words of a refusal.
    """

    def __init__(self, most: int, of: str = "requests") -> None:
        self._most = most
        self._of = of
        self._taken = 0

    def refusal(self) -> UnavailableError | None:
        """What is answered while all are taken; None where there is one."""
        if self._taken < self._most:
            return None
        return UnavailableError(f"The service has as many {self._of} as it takes; try again.")

    @contextmanager
    def take(self) -> Generator[None]:
        """Take one while this is open.

        Raises:
            UnavailableError: When all are taken.
        """
        busy = self.refusal()
        if busy is not None:
            raise busy
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class Admission:
    """Refuses what the process has no room for, before it takes memory.

    Args:
        app: Serves what there is room for.
        places: Of requests. What is answered on a socket takes its own.
        sockets: Of WebSockets. Most of them wait for their clients: they must not be in the way of requests.
    """

    def __init__(self, app: ASGIApp, places: Places, sockets: Places) -> None:
        self._app = app
        self._places = {"http": places, "websocket": sockets}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, if there is room."""
        if scope["type"] not in _SERVED or scope["path"] in _ALWAYS_ADMITTED:
            await self._app(scope, receive, send)
            return
        places = self._places[scope["type"]]
        busy = places.refusal()
        if busy is not None:
            await render_error(scope["path"], busy)(scope, receive, send)
            return
        with places.take():
            remainder = scope[REMAINDER] = Remainder()
            await self._app(scope, receive, send)
            await remainder.send(scope, receive, send)


class BodyPace:
    """Refuses a body that comes too slowly: whoever sends it would hold a place for as long as they like.

    Args:
        app: What reads bodies.
        clock: Measures the waiting.
        seconds: How long the application waits for the next ``least_bytes`` of a body, or for its end. Only waiting
            counts: what the application does between two reads is not the client's fault.
        least_bytes: How much has to come within ``seconds``.
    """

    def __init__(
        self,
        app: ASGIApp,
        clock: Clock,
        seconds: float = BODY_SECONDS,
        least_bytes: int = BODY_BYTES,
    ) -> None:
        self._app = app
        self._clock = clock
        self._seconds = seconds
        self._least_bytes = least_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        waited, received, is_complete = 0.0, 0, False

        async def receive_in_time() -> Message:
            nonlocal waited, received, is_complete
            if is_complete:  # what is waited for now is the client's leaving
                return await receive()
            started = self._clock.monotonic()
            try:
                async with asyncio.timeout(self._seconds - waited):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    STATUS[ErrorKind.REQUEST_TIMEOUT],
                    "The body came too slowly; send it again over a faster connection.",
                ) from None
            waited += self._clock.monotonic() - started
            received += len(message.get("body", b""))
            if received >= self._least_bytes:
                waited, received = 0.0, 0
            is_complete = not message.get("more_body", False)
            return message

        await self._app(scope, receive_in_time, send)


def _route(scope: Scope) -> str:
    """The route's template, so that ids are neither in metrics nor in the log."""
    route = scope.get("route")
    return getattr(route, "path", _UNMATCHED)
