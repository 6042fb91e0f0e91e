"""What a WebSocket may cost, whatever its client does or leaves undone."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.http.server import Connect, serving
from undercroft.http import socket_protocol
from undercroft.http.protocol import SOCKET_PATHS
from undercroft.http.socket_protocol import DRAINING, MAX_FRAGMENTS, BoundedSocket

DEADLINE = 60
UPGRADE = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HANDSHAKE = b"GET /v1/responses?a=b HTTP/1.1\r\n" + UPGRADE
TEXT, CONTINUATION, PING, FINAL = 0x01, 0x00, 0x09, 0x80


def frame(kind: int, content: bytes = b"", length: int | None = None) -> bytes:
    """A client's frame, masked with nothing; its length may be another one."""
    size = len(content) if length is None else length
    head = bytes([kind, 0x80 | size]) if size < 126 else bytes([kind, 0xFE]) + size.to_bytes(2)
    return head + bytes(4) + content


class Application:
    """Serves one socket as a test has it, and keeps what becomes of it."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.sent = 0
        self.protocol: BoundedSocket | None = None
        self.accepted = asyncio.Event()
        self.ended = asyncio.Event()
        self.says: bytes | None = None
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 426, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        self.protocol = getattr(receive, "__self__", None)
        try:
            await send({"type": "websocket.accept"})
            self.accepted.set()
            while self.says is not None:
                await send({"type": "websocket.send", "bytes": self.says})
                self.sent += 1
            while not self.received or self.received[-1]["type"] != "websocket.disconnect":
                self.received.append(await receive())
        finally:
            self.ended.set()


@asynccontextmanager
async def opened(
    application: Application, handshake: bytes = HANDSHAKE
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Connect]]:
    """A server of the application, and a connection on which the handshake was sent."""
    async with serving(application) as connect:
        reader, writer = await connect()
        writer.write(handshake)
        yield reader, writer, connect


async def head(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(DEADLINE):
        return await reader.readuntil(b"\r\n\r\n")


async def end(reader: asyncio.StreamReader) -> bytes:
    """All until the connection ends."""
    async with asyncio.timeout(DEADLINE):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_message_arrives_whole_and_the_socket_knows_that_the_server_stops() -> None:
    application = Application()
    async with opened(application) as (reader, writer, _):
        assert (await head(reader)).startswith(b"HTTP/1.1 101")
        writer.write(frame(TEXT, b"one ") + frame(CONTINUATION | FINAL, b"message"))
        draining: asyncio.Event = application.scope["state"][DRAINING]
        assert not draining.is_set()
        assert application.protocol is not None
        application.protocol.shutdown()
        assert draining.is_set()
        assert not application.ended.is_set()
        writer.write_eof()
        await asyncio.wait_for(application.ended.wait(), DEADLINE)
    assert [message.get("text") for message in application.received[1:-1]] == ["one message"]


@pytest.mark.parametrize(
    "request_line",
    [b"GET /v1/files HTTP/1.1\r\n", b"POST /v1/responses HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n"],
)
async def test_only_a_get_of_a_socket_s_path_becomes_one(request_line: bytes) -> None:
    application = Application()
    async with opened(application, request_line + UPGRADE) as (reader, *_):
        assert (await head(reader)).startswith(b"HTTP/1.1 426")
    assert application.scope["type"] == "http"
    assert b"/v1/responses" in SOCKET_PATHS


@pytest.mark.parametrize(
    "handshake",
    [
        b"GET /v1/responses HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        HANDSHAKE.replace(b"13", b"12"),
        HANDSHAKE.replace(b"Host", b"X: " + b"a" * 20_000 + b"\r\nHost"),
        HANDSHAKE.replace(b"Host", b"X: 1\r\n" * 200 + b"Host"),
        HANDSHAKE.replace(b"GET /v1/responses?a=b", b"GET /v1/responses?\xff\xfe"),
    ],
    ids=["no version", "another version", "a long header", "many headers", "not ASCII"],
)
async def test_what_is_no_handshake_is_refused(handshake: bytes) -> None:
    application = Application()
    async with opened(application, handshake) as (reader, *_):
        assert (await end(reader)).startswith(b"HTTP/1.1 4")
    assert not application.accepted.is_set()


async def test_what_comes_too_slowly_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_protocol, "MESSAGE_SECONDS", 0.01)
    for start in (frame(TEXT | FINAL, b"a", length=100), frame(TEXT, b"a"), b"\x81"):
        application = Application()
        async with opened(application) as (reader, writer, _):
            await head(reader)
            writer.write(start)
            assert await end(reader) == b""
            await asyncio.wait_for(application.ended.wait(), DEADLINE)


async def test_what_has_come_whole_leaves_nothing_waiting() -> None:
    application = Application()
    async with opened(application) as (reader, writer, _):
        await head(reader)
        protocol = application.protocol
        assert protocol is not None
        message = frame(TEXT | FINAL, b"one message")
        protocol.data_received(message[:8])
        assert list(protocol._timers) == ["message"]
        protocol.data_received(message[8:])
        assert not protocol._timers
        writer.write(frame(PING | FINAL, b"are you there?"))
        async with asyncio.timeout(DEADLINE):
            assert (await reader.readexactly(16)).endswith(b"are you there?")


async def test_a_message_in_too_many_pieces_closes_it() -> None:
    application = Application()
    async with opened(application) as (reader, writer, _):
        await head(reader)
        writer.write(frame(TEXT) + frame(CONTINUATION) * (MAX_FRAGMENTS + 1))
        assert (await end(reader))[2:4] == (1008).to_bytes(2)
        await asyncio.wait_for(application.ended.wait(), DEADLINE)


async def test_whoever_reads_nothing_gets_no_more_than_fits_and_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket_protocol, "READ_SECONDS", 0.2)
    application = Application()
    application.says = os.urandom(64 * 1024)
    async with opened(application):
        await asyncio.wait_for(application.ended.wait(), DEADLINE)
        # What the buffers on the way hold, of an answer without an end.
        assert application.sent * len(application.says) < 64 * 1024 * 1024


async def test_whoever_sends_pings_and_reads_nothing_grows_no_answers() -> None:
    application = Application()
    async with opened(application) as (reader, writer, _):
        await head(reader)
        for _ in range(400):
            writer.write(frame(PING | FINAL, b"a" * 125) * 1000)
            await writer.drain()
        assert application.protocol is not None
        transport = application.protocol.transport
        assert transport.get_write_buffer_size() < 256 * 1024


async def test_whoever_answers_no_ping_is_cut() -> None:
    application = Application()
    async with opened(application) as (reader, *_):
        await head(reader)
        assert application.protocol is not None
        application.protocol.keepalive_timeout()
        assert await end(reader) == b""
        await asyncio.wait_for(application.ended.wait(), DEADLINE)
    assert application.received[-1]["type"] == "websocket.disconnect"
