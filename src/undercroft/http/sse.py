"""Server-sent events: encoding, heartbeats, and an end that is never silent."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, cast

import structlog
from pydantic_core import to_json
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from undercroft.http.disconnect import wait_for_disconnect
from undercroft.http.errors import as_undercroft_error
from undercroft.kit.errors import ErrorKind, UndercroftError

HEARTBEAT_SECONDS: Final = 15.0
STALLED_SECONDS: Final = 60.0
BELOW_ALL: Final = "undercroft.send_below_all"
"""In a request's scope: sends what no middleware looks at, once the answer has begun. Each is a call for each word."""
REMAINDER: Final = "undercroft.remainder"
"""In a request's scope: where a route leaves the stream that it answers with. See :class:`Remainder`."""
DONE: Final = b"data: [DONE]\n\n"
_HEARTBEAT: Final[Message] = {
    "type": "http.response.body",
    "body": b": heartbeat\n\n",
    "more_body": True,
}
_END: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}
_HEADERS: Final = {
    "Cache-Control": "no-cache, no-transform",
    # nginx buffers proxied responses unless told not to.
    "X-Accel-Buffering": "no",
}

_LEFT: Final = (
    *("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string"),
    *("root_path", "client", "server", "app", "route", BELOW_ALL),
)
"""Of a request's scope, what its server put there and what is logged."""

_log = structlog.stdlib.get_logger(__name__)


def encode_event(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """One event. No ``id:`` line: the OpenAI SDK dies on the heartbeat that would follow it."""
    head = b"" if event is None else f"event: {event}\n".encode()
    return b"%bdata: %b\n\n" % (head, to_json(data))


class Remainder:
    """A stream that is sent once all that led to it has returned.

    It may be open for hours, and thousands are. Sent by its route, each would hold all that long what is of use only
    until there is an answer: two dozen frames, the request, and what was read of it.
    """

    __slots__ = ("_send",)

    def __init__(self) -> None:
        self._send: Callable[[Receive, Send, Send], Awaitable[None]] | None = None

    def leave(self, send: Callable[[Receive, Send, Send], Awaitable[None]]) -> None:
        """Have it sent later: see :meth:`EventStreamResponse.send`."""
        self._send = send

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what was left, if something was. Of the scope no more is kept than what it has to be logged."""
        left, self._send = self._send, None
        if left is None:
            return
        kept = {name: scope[name] for name in _LEFT if name in scope}
        # In place: the server holds it for as long as the stream is open. The caller's key is in the headers.
        scope.clear()
        scope.update(kept, headers=[])
        del kept
        await left(receive, send, scope.get(BELOW_ALL, send))


class EventStreamResponse(StreamingResponse):
    """A response that sends events as they are made.

    The generator is closed as soon as the client is gone, so that a reader who left costs nothing; a heartbeat comment
    keeps proxies from closing a stream that is silent while a model thinks.

    Args:
        events: Encoded events; closed when the client leaves.
        render_failure: What is sent when ``events`` raises: the stream ends with it, not silently.
        headers: What the stream says of itself beside the usual.
        heartbeat_seconds: After how long without an event a heartbeat is sent.
        stalled_seconds: A client that has read nothing for so long has left, whatever its connection says.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        render_failure: Callable[[UndercroftError], bytes],
        *,
        headers: Mapping[str, str] | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        super().__init__(
            events, headers={**_HEADERS, **(headers or {})}, media_type="text/event-stream"
        )
        self._events = events
        self._render_failure = render_failure
        self._heartbeat_seconds = heartbeat_seconds
        self._stalled_seconds = stalled_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, or leave it to whoever is there to do so."""
        remainder = cast("Remainder | None", scope.get(REMAINDER))
        if remainder is None:
            await self.send(receive, send, scope.get(BELOW_ALL, send))
        else:
            remainder.leave(self.send)

    async def send(self, receive: Receive, send: Send, send_below: Send) -> None:
        """Send the stream; returns when it ended or the client left.

        Args:
            receive: Tells when the client leaves.
            send: Sends the head, by way of all middleware.
            send_below: Sends what follows it, by way of none.
        """
        outlet = _Outlet(send)
        # A task of its own: what it waits for wakes it alone, and not all that waits for it, a hundred times a second.
        sender = asyncio.ensure_future(self._send(outlet, send_below))
        reader = _Reader(receive, sender, outlet, self._heartbeat_seconds, self._stalled_seconds)
        try:
            await sender
        except OSError:
            pass  # it cannot be written to
        except asyncio.CancelledError:
            own = cast("asyncio.Task[None]", asyncio.current_task())
            if own.cancelling() or not reader.has_left:
                raise
        finally:
            await reader.close()

    async def _send(self, outlet: "_Outlet", send_below: Send) -> None:
        async with aclosing(self._events) as events:
            await outlet.put(
                {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            )
            del self.raw_headers
            outlet.send = send_below
            is_over = False
            while not is_over:
                # By hand: what fails here is the client's connection or the events, and those are told.
                try:
                    block = await anext(events)
                except StopAsyncIteration:
                    break
                except Exception as exception:  # noqa: BLE001 - the status is sent: whatever failed can only be told in the stream
                    block, is_over = self._tell(exception), True
                await outlet.put({"type": "http.response.body", "body": block, "more_body": True})
        await outlet.put({"type": "http.response.body", "body": DONE, "more_body": True})
        await outlet.put(_END)

    def _tell(self, exception: Exception) -> bytes:
        error = as_undercroft_error(exception)
        if error is None:
            _log.error("stream_failed", exc_info=exception)
            error = UndercroftError(
                "The service failed in mid-stream; try again.", kind=ErrorKind.INTERNAL
            )
        return self._render_failure(error)


class _Outlet:
    """Where a stream goes, a message at a time.

    Attributes:
        send: Sends a message; waits while the client does not read.
    """

    __slots__ = ("_beat", "_is_putting", "_moved_at", "_time", "send")

    def __init__(self, send: Send) -> None:
        self.send = send
        self._time = asyncio.get_running_loop().time
        self._is_putting = False
        self._moved_at = self._time()
        self._beat: asyncio.Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is being sent."""
        return self._is_putting or self._beat is not None

    @property
    def quiet_seconds(self) -> float:
        """How long ago something began to be sent, or was sent."""
        return self._time() - self._moved_at

    async def put(self, message: Message) -> None:
        """Send a message."""
        self._is_putting = True
        try:
            if self._beat is not None:
                # A heartbeat must not get between a message and the end of the stream.
                await asyncio.wait({self._beat})
            await self._pass(message)
        finally:
            self._is_putting = False

    def beat(self) -> None:
        """Begin to send a heartbeat, while nothing is being sent."""
        self._beat = asyncio.ensure_future(self._pass(_HEARTBEAT))
        self._beat.add_done_callback(self._forget_beat)

    async def close(self) -> None:
        """Send no more of a heartbeat."""
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.wait({self._beat})

    async def _pass(self, message: Message) -> None:
        self._moved_at = self._time()
        await self.send(message)
        self._moved_at = self._time()

    def _forget_beat(self, beat: asyncio.Future[None]) -> None:
        self._beat = None
        if not beat.cancelled():
            # Looked at, so that it is not told as never retrieved: what is sent next meets the same.
            beat.exception()


class _Reader:
    """Who reads a stream. Whatever sends it is cancelled once they have left, or read nothing for too long.

    One timer for the stream, and none for each event: those come a hundred times in a second.

    Attributes:
        has_left: Whether that is so.
    """

    __slots__ = (
        "_heartbeat_seconds",
        "_leaving",
        "_outlet",
        "_sender",
        "_stalled_seconds",
        "_timer",
        "has_left",
    )

    def __init__(
        self,
        receive: Receive,
        sender: asyncio.Future[None],
        outlet: _Outlet,
        heartbeat_seconds: float,
        stalled_seconds: float,
    ) -> None:
        self._sender = sender
        self._outlet = outlet
        self._heartbeat_seconds = heartbeat_seconds
        self._stalled_seconds = stalled_seconds
        self.has_left = False
        self._leaving = asyncio.ensure_future(wait_for_disconnect(receive))
        self._leaving.add_done_callback(self._leave)
        self._timer = self._look_in(heartbeat_seconds)

    async def close(self) -> None:
        """The stream is over."""
        self._timer.cancel()
        self._leaving.cancel()
        await asyncio.wait({self._leaving})
        await self._outlet.close()

    def _look_in(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Whether it is time for a heartbeat, or for giving up."""
        if self._sender.done():
            # Nothing goes behind the end.
            return
        is_busy = self._outlet.is_busy
        longest = self._stalled_seconds if is_busy else self._heartbeat_seconds
        left = longest - self._outlet.quiet_seconds
        if left <= 0 and is_busy:
            self._leave()
            return
        if left <= 0:
            self._outlet.beat()
            left = self._heartbeat_seconds
        # What is busy now is not for long, and then quiet again.
        self._timer = self._look_in(min(left, self._heartbeat_seconds))

    def _leave(self, leaving: asyncio.Future[None] | None = None) -> None:
        if leaving is not None and not leaving.cancelled():
            # Looked at: whatever it met, nobody is there.
            leaving.exception()
        if not self.has_left:
            self.has_left = True
            self._sender.cancel()
