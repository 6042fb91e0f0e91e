"""Server-sent events: encoding, heartbeats, and an end that is never silent."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

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
DONE: Final = b"data: [DONE]\n\n"
_HEARTBEAT: Final = b": heartbeat\n\n"
_HEADERS: Final = {
    "Cache-Control": "no-cache, no-transform",
    # nginx buffers proxied responses unless told not to.
    "X-Accel-Buffering": "no",
}

_log = structlog.stdlib.get_logger(__name__)


def encode_event(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """One event. No ``id:`` line: the OpenAI SDK dies on the heartbeat that would follow it."""
    head = b"" if event is None else f"event: {event}\n".encode()
    return b"%bdata: %b\n\n" % (head, to_json(data))


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
        """Send the stream; returns when it ended or the client left."""
        outlet = _Outlet(send, scope.get(BELOW_ALL, send))
        sender = asyncio.ensure_future(self._send(outlet))
        watcher = asyncio.ensure_future(wait_for_disconnect(receive))
        beating: list[asyncio.Task[None]] = []
        try:
            while not await self._wait({sender, watcher}, outlet):
                if outlet.is_busy:
                    break  # it has read nothing for too long
                if not beating or beating[-1].done():
                    beating = [asyncio.ensure_future(outlet.beat())]
        finally:
            for task in (sender, watcher, *beating):
                task.cancel()
            outcomes = await asyncio.gather(sender, watcher, *beating, return_exceptions=True)
        if isinstance(outcomes[0], Exception) and not isinstance(outcomes[0], OSError):
            raise outcomes[0]

    async def _wait(self, tasks: set[asyncio.Future[None]], outlet: "_Outlet") -> bool:
        """Whether one of the tasks is done, once that is so or it is time for a heartbeat, or for giving up.

        One timer for the stream, and none for each event: those come a hundred times in a second.
        """
        while True:
            longest = self._stalled_seconds if outlet.is_busy else self._heartbeat_seconds
            rest = max(0.0, longest - outlet.quiet_seconds)
            done, _ = await asyncio.wait(tasks, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return True
            longest = self._stalled_seconds if outlet.is_busy else self._heartbeat_seconds
            if outlet.quiet_seconds >= longest:
                return False

    async def _send(self, outlet: "_Outlet") -> None:
        async with aclosing(self._guarded()) as blocks:
            await outlet.begin(
                {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            )
            async for block in blocks:
                await outlet.put({"type": "http.response.body", "body": block, "more_body": True})
            await outlet.end()

    async def _guarded(self) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    yield event
        except Exception as exception:  # noqa: BLE001 - the status is sent: whatever failed can only be told in the stream
            error = as_undercroft_error(exception)
            if error is None:
                _log.error("stream_failed", exc_info=exception)
                error = UndercroftError(
                    "The service failed in mid-stream; try again.", kind=ErrorKind.INTERNAL
                )
            yield self._render_failure(error)
        yield DONE


class _Outlet:
    """Where a stream goes, a message at a time.

    Args:
        send: Sends its head by way of all middleware; waits while the client does not read.
        send_below: Sends what follows it, by way of none.
    """

    def __init__(self, send: Send, send_below: Send) -> None:
        self._send = send
        self._send_below = send_below
        self._time = asyncio.get_running_loop().time
        # A heartbeat must not get between a message and the end of the stream.
        self._turn = asyncio.Lock()
        self._is_ended = False
        self._moved_at = self._time()

    @property
    def is_busy(self) -> bool:
        """Whether something is being sent."""
        return self._turn.locked()

    @property
    def quiet_seconds(self) -> float:
        """How long ago something began to be sent, or was sent."""
        return self._time() - self._moved_at

    async def begin(self, head: Message) -> None:
        """Send the head."""
        await self.put(head)
        self._send = self._send_below

    async def put(self, message: Message) -> None:
        """Send a message."""
        async with self._turn:
            self._moved_at = self._time()
            await self._send(message)
            self._moved_at = self._time()

    async def beat(self) -> None:
        """Send a heartbeat, unless the stream has ended."""
        async with self._turn:
            if not self._is_ended:
                self._moved_at = self._time()
                await self._send(
                    {"type": "http.response.body", "body": _HEARTBEAT, "more_body": True}
                )

    async def end(self) -> None:
        """Send the end."""
        async with self._turn:
            self._is_ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
