"""What a connection may cost before anybody knows whose it is."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Receive, Scope, Send

from tests.http.server import Connect, serving
from undercroft.http import protocol
from undercroft.http.protocol import MAX_HEAD_BYTES

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was sent."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    length = str(len(body)).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    )
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def connect() -> AsyncGenerator[Connect]:
    """Opens connections to a server that speaks the protocol."""
    async with serving(echo) as open_connection:
        yield open_connection


async def _answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionResetError:  # it did not wait for the rest of what was sent
            return b""


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",  # an address
        HEAD + b"X: ",  # one header
        HEAD + b"Upgrade: ",
        CHUNKED + b"1;",  # a chunk's extension
        CHUNKED + b"1\r\na\r\n0\r\nX: ",  # a trailer
    ],
)
async def test_what_goes_on_and_on_is_cut_off(connect: Connect, start: bytes) -> None:
    reader, writer = await connect()
    answer = asyncio.ensure_future(_answer(reader))
    writer.write(start)
    sent = 0
    while not answer.done() and sent < 64 * MAX_HEAD_BYTES:
        try:
            writer.write(b"a" * 1024)
            await writer.drain()
        except ConnectionError:
            break
        sent += 1024
    await answer
    assert sent < 64 * MAX_HEAD_BYTES


async def test_many_small_headers_are_cut_off_too(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(HEAD + b"".join(b"X%d: a\r\n" % number for number in range(200_000)))
    assert b" 200 " not in await _answer(reader)


async def test_a_large_body_in_small_chunks_and_its_followers_are_served(connect: Connect) -> None:
    reader, writer = await connect()
    chunks = b"1\r\na\r\n" * 50_000
    last = HEAD + b"Connection: close\r\nContent-Length: 3\r\n\r\nend"
    writer.write(CHUNKED + chunks + b"0\r\n\r\n" + last)
    answer = await _answer(reader)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"a" * 50_000 in answer
    assert answer.endswith(b"end")


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST / HT",
        HEAD,
        HEAD + b"Content-Length: 5\r\n\r\nab",
        CHUNKED + b"2\r\nab\r\n",
        HEAD + b"Content-Length: 2\r\n\r\nab" + HEAD,  # the second request of a connection
    ],
)
async def test_a_client_that_stops_in_the_middle_is_let_go(
    connect: Connect, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough that what a busy machine sends late is no client that has stopped.
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.3)
    reader, writer = await connect()
    writer.write(start)
    answer = await _answer(reader)  # ends only when the server closes
    assert answer.count(b"HTTP/1.1 200") == start.endswith(b"ab" + HEAD)


async def test_a_client_that_does_not_read_its_answer_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "READ_SECONDS", 0.05)
    ended = asyncio.Event()

    async def pour(scope: Scope, receive: Receive, send: Send) -> None:
        """More than all buffers on the way hold."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
        ended.set()

    async with serving(pour) as connect:
        _, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(60):
            await ended.wait()


async def test_a_client_that_reads_slowly_gets_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "READ_SECONDS", 5.0)
    async with serving(echo) as connect:
        reader, writer = await connect()
        body = bytes(8 << 20)
        writer.write(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await _answer(reader)).endswith(body)


async def test_whoever_left_is_noticed_also_with_other_requests_behind_the_answered_one() -> None:
    begun, noticed = asyncio.Event(), asyncio.Event()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, send
        await receive()
        begun.set()
        if (await receive())["type"] == "http.disconnect":
            noticed.set()

    async with serving(answer) as connect:
        _, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        async with asyncio.timeout(60):
            await begun.wait()
        writer.transport.abort()
        async with asyncio.timeout(60):
            await noticed.wait()
