"""Server-sent events: encoding, heartbeats, and an end that is never silent."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from undercroft.http.disconnect import wait_for_disconnect
from undercroft.http.errors import as_undercroft_error
from undercroft.kit.errors import ErrorKind, UndercroftError

HEARTBEAT_SECONDS: Final = 15.0
STALLED_SECONDS: Final = 60.0
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
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = "" if event is None else f"event: {event}\n"
    return f"{head}data: {body}\n\n".encode()


class EventStreamResponse(StreamingResponse):
    """A response that sends events as they are made.

    The generator is closed as soon as the client is gone, so that a reader who left costs nothing; a heartbeat comment
    keeps proxies from closing a stream that is silent while a model thinks.

    Args:
        events: Encoded events; closed when the client leaves.
        render_failure: What is sent when ``events`` raises: the stream ends with it, not silently.
        heartbeat_seconds: After how long without an event a heartbeat is sent.
        stalled_seconds: A client that has read nothing for so long has left, whatever its connection says.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        render_failure: Callable[[UndercroftError], bytes],
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        super().__init__(events, headers=_HEADERS, media_type="text/event-stream")
        self._events = events
        self._render_failure = render_failure
        self._heartbeat_seconds = heartbeat_seconds
        self._stalled_seconds = stalled_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; returns when it ended or the client left."""
        del scope
        sender = asyncio.ensure_future(self._send(send))
        watcher = asyncio.ensure_future(wait_for_disconnect(receive))
        try:
            await asyncio.wait({sender, watcher}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sender, watcher):
                task.cancel()
            outcomes = await asyncio.gather(sender, watcher, return_exceptions=True)
        if isinstance(outcomes[0], Exception) and not isinstance(outcomes[0], OSError):
            raise outcomes[0]

    async def _send(self, send: Send) -> None:
        async with (
            aclosing(self._guarded()) as blocks,
            # Closed as well, and first: between heartbeats it waits for the next block.
            aclosing(_with_heartbeats(blocks, self._heartbeat_seconds)) as beating,
        ):
            await self._pass_on(
                send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            )
            async for block in beating:
                await self._pass_on(
                    send, {"type": "http.response.body", "body": block, "more_body": True}
                )
            await self._pass_on(
                send, {"type": "http.response.body", "body": b"", "more_body": False}
            )

    async def _pass_on(self, send: Send, message: Message) -> None:
        async with asyncio.timeout(self._stalled_seconds):
            await send(message)

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


async def _with_heartbeats(
    blocks: AsyncIterator[bytes], seconds: float
) -> AsyncGenerator[bytes, None]:
    pending: asyncio.Task[bytes] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(_next(blocks))
            done, _ = await asyncio.wait({pending}, timeout=seconds)
            if not done:
                yield _HEARTBEAT
                continue
            finished, pending = pending, None
            try:
                yield finished.result()
            except StopAsyncIteration:
                return
    finally:
        if pending is not None:
            pending.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending


async def _next(blocks: AsyncIterator[bytes]) -> bytes:
    return await anext(blocks)
