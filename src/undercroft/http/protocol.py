"""HTTP/1.1 with the bounds that the server's own protocol lacks: how long and how large what precedes a request may be.

A request takes memory and a place from its first byte, long before anything can ask for a key.
"""

import asyncio
import socket
import struct
from typing import Any, Final, cast

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_SECONDS: Final = 30.0
BODY_SECONDS: Final = 60.0
READ_SECONDS: Final = 120.0
ABORT: Final = "undercroft.abort"
"""The extension of a request's scope that ends its connection and has nothing sent any more of what waits for it."""
SOCKET_PATHS: Final = frozenset({b"/v1/responses"})
"""Where a connection can become a WebSocket. Elsewhere who asks for one is answered over HTTP."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection that sends too much besides bodies, or too slowly.

    A request's line and headers take at most :data:`MAX_HEAD_BYTES`, beyond what one read brings, and come within
    :data:`HEAD_SECONDS`. So do chunk extensions and trailers: they count between two pieces of a body, which follow
    each other within :data:`BODY_SECONDS`.

    Whoever reads nothing for :data:`READ_SECONDS` of an answer that the buffers on the way do not hold gets no more of
    it: it keeps its place until it is sent.
    """

    _unread = 0
    _deadline: asyncio.TimerHandle | None = None
    _unread_answer: asyncio.TimerHandle | None = None
    _answered: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] - as the base class has it
        """Wait for a request."""
        super().connection_made(transport)
        self._allow(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)
        # The server tells only the last request that came, which may wait behind the one that is being answered.
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def pause_writing(self) -> None:
        """The buffers are full: expect the client to read."""
        super().pause_writing()
        self._unread_answer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        if self._unread_answer is not None:
            self._unread_answer.cancel()
            self._unread_answer = None
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless it leads nowhere."""
        self._unread += len(data)
        super().data_received(data)
        if self._unread > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The headers are too large.")

    def on_message_begin(self) -> None:
        """Expect the rest of the headers."""
        super().on_message_begin()
        cast("Any", self.scope)["extensions"] = {ABORT: self._abort}
        self._allow(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """Expect a body."""
        self._unread = 0
        super().on_headers_complete()
        self._allow(BODY_SECONDS)

    def on_body(self, body: bytes) -> None:
        """Expect more of it."""
        self._unread = 0
        super().on_body(body)
        self._allow(BODY_SECONDS)

    def on_message_complete(self) -> None:
        """Expect nothing until the answer is sent; then the server's own timer runs, unless the answer came first."""
        self._unread = 0
        super().on_message_complete()
        self._stop_waiting()
        if cast("Any", self.parser).should_upgrade() and self._should_upgrade():
            return  # no cycle is begun: the socket's own protocol answers
        # The request's scope has them for as long as it needs them.
        self.headers = []
        if self.cycle.response_complete:
            self._allow(HEAD_SECONDS)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override] - as the base class has it
        self._answered = cycle
        super()._start_asgi_task(cycle, cast("Any", app))

    def _abort(self) -> None:
        peer = self.transport.get_extra_info("socket")
        # Without it the system goes on with what it holds: some MiB, for minutes to a client that reads slowly.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _should_upgrade(self) -> bool:
        method = cast("Any", self.parser).get_method()
        is_socket = method == b"GET" and self.url.partition(b"?")[0] in SOCKET_PATHS
        return is_socket and super()._should_upgrade()

    def _allow(self, seconds: float) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(seconds, self._give_up, seconds)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self, seconds: float) -> None:
        if self.flow.read_paused:  # it is we who do not read
            self._allow(seconds)
        else:
            self.transport.close()
