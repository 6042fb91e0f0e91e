"""WebSocket with the bounds that the server's own protocol lacks, and an end that answers may still come to.

Memory is bounded both ways: what is sent waits while the client does not read, and what comes is one message at a time,
of bounded size, within bounded time. A connection that is given up is cut, not flushed: whoever reads nothing would
keep it for ever.
"""

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame

MESSAGE_SECONDS: Final = 60.0
READ_SECONDS: Final = 120.0
CLOSE_SECONDS: Final = 10.0
PING_SECONDS: Final = 20.0
PONG_SECONDS: Final = 60.0
MAX_FRAGMENTS: Final = 4096
DRAINING: Final = "draining"
"""In the state of a socket's scope: the event that is set once the server is to stop."""

_REFUSAL: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedSocket(WebSocketsSansIOProtocol):
    """Cuts a socket whose client reads nothing, sends too slowly or in too many pieces, or does not answer pings."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._draining = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        super().__init__(config, server_state, {**app_state, DRAINING: self._draining}, _loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        for name in list(self._timers):
            self._stop_waiting(name)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The buffers are full: expect the client to read."""
        super().pause_writing()
        self._allow("read", READ_SECONDS)

    def resume_writing(self) -> None:
        """It has read."""
        self._stop_waiting("read")
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take what has come, and expect the rest of a message that is not whole."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self.handshake_initiated:
            # What cannot be read as a handshake would be left open, unanswered.
            self.transport.write(b"".join(self.conn.data_to_send()) or _REFUSAL)
            self.transport.close()
        elif not (self.frames or self.conn.reader.buffer):
            self._stop_waiting("message")
        elif "message" not in self._timers:
            self._allow("message", MESSAGE_SECONDS)

    def send_receive_event_to_app(self) -> None:
        """A message is whole: what has come of the next one with it has a time of its own."""
        self._stop_waiting("message")
        super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        """Take the next piece of a message, unless there are too many: empty ones are in no limit of its size."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(CloseCode.POLICY_VIOLATION, "Send a message in fewer pieces.")
            self.handle_parser_exception()
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, but not whoever reads no answers: they would pile up."""
        answer = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(answer)

    def handle_parser_exception(self) -> None:
        """Close what broke the protocol; before the handshake there is nothing to close it with."""
        if self.conn.close_sent is None:
            self.transport.abort()
        else:
            super().handle_parser_exception()
            self._allow("close", CLOSE_SECONDS)

    def keepalive_timeout(self) -> None:
        """The client is gone, whatever its connection says."""
        self.pong_timer = None
        self.transport.abort()

    def shutdown(self) -> None:
        """The server is to stop: the application ends the socket when its answers have ended."""
        if self.handshake_complete and not self.close_sent:
            self._draining.set()
        else:
            super().shutdown()

    async def run_asgi(self) -> None:
        """Run the application; what it has sent has a while to get there."""
        try:
            await super().run_asgi()
        finally:
            if not self.disconnected:
                self._allow("close", CLOSE_SECONDS)

    def _allow(self, name: str, seconds: float) -> None:
        self._stop_waiting(name)
        self._timers[name] = self.loop.call_later(seconds, self._give_up, name, seconds)

    def _stop_waiting(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self, name: str, seconds: float) -> None:
        if name == "message" and self.read_paused:  # it is we who do not read
            self._allow(name, seconds)
        else:
            self.transport.abort()
