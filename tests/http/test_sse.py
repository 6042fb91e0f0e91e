"""A stream stays open while a model thinks, costs nothing once its reader left, and never ends silently."""

import asyncio
import json
import weakref
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder
from starlette.types import Message, Receive, Scope, Send

from tests.http.asgi import Connection, scope
from tests.stepping import PATIENCE
from undercroft.http.middleware import Admission, Places
from undercroft.http.sse import BELOW_ALL, DONE, EventStreamResponse, encode_event
from undercroft.kit.errors import UnavailableError, UndercroftError

HEARTBEAT = b": heartbeat\n\n"
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def render_failure(error: UndercroftError) -> bytes:
    return encode_event({"error": error.message, "code": error.kind.value}, "error")


class Source:
    """Events that come when the test lets them, and whether their generator was closed."""

    def __init__(self, *events: bytes, error: Exception | None = None) -> None:
        self._events = events
        self._error = error
        self.go_on = asyncio.Event()
        self.closed = False

    async def events(self) -> AsyncGenerator[bytes]:
        try:
            for event in self._events:
                yield event
            if self._error is not None:
                raise self._error
            await self.go_on.wait()
        finally:
            self.closed = True


async def respond(source: Source, connection: Connection) -> None:
    response = EventStreamResponse(source.events(), render_failure)
    await response(scope(), connection.receive, connection.send)


@given(data=st.dictionaries(_TEXT, _TEXT), event=st.none() | st.just("response.created"))
def test_any_text_survives_the_sdk_s_decoder(data: Mapping[str, Any], event: str | None) -> None:
    encoded = encode_event(data, event)
    (decoded,) = SSEDecoder().iter_bytes(iter([encoded]))
    assert decoded.json() == data
    assert decoded.event == event
    assert decoded.id is None


async def test_a_stream_ends_with_done() -> None:
    source, connection = Source(encode_event({"a": 1}, "first")), Connection()
    source.go_on.set()
    await respond(source, connection)
    assert connection.status == 200
    assert connection.headers["content-type"].startswith("text/event-stream")
    assert connection.headers["x-accel-buffering"] == "no"
    assert "no-transform" in connection.headers["cache-control"]
    assert connection.body == b'event: first\ndata: {"a":1}\n\n' + DONE
    assert connection.sent[-1]["more_body"] is False
    assert source.closed


async def test_middleware_sees_the_head_and_nothing_that_follows_it() -> None:
    source, seen, below = Source(b"data: 1\n\n"), Connection(), Connection()
    source.go_on.set()
    response = EventStreamResponse(source.events(), render_failure)
    await response({**scope(), BELOW_ALL: below.send}, seen.receive, seen.send)
    assert [message["type"] for message in seen.sent] == ["http.response.start"]
    assert below.body == b"data: 1\n\n" + DONE
    assert below.sent[-1]["more_body"] is False


class Parsed:
    """What a route made of its request."""


class Streaming:
    """An application that answers with a stream."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.has_returned = asyncio.Event()
        self.parsed: weakref.ref[Parsed] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parsed = Parsed()
        self.parsed = weakref.ref(parsed)
        await EventStreamResponse(self._source.events(), render_failure)(scope, receive, send)
        self.has_returned.set()


async def test_an_open_stream_holds_nothing_of_its_route_but_keeps_its_place() -> None:
    source, connection, below = Source(b"data: 1\n\n"), Connection(), Connection()
    streaming, places = Streaming(source), Places(1)
    admission = Admission(streaming, places, Places(1))
    async with asyncio.TaskGroup() as group:
        asked = {**scope(), BELOW_ALL: below.send}
        group.create_task(admission(asked, connection.receive, connection.send))
        await below.until_sent(b"data: 1\n\n")
        assert streaming.has_returned.is_set()
        assert streaming.parsed is not None
        assert streaming.parsed() is None
        assert places.refusal() is not None
        source.go_on.set()
    # What is before the place sees the head, and nothing that follows it.
    assert [message["type"] for message in connection.sent] == ["http.response.start"]
    assert below.body == b"data: 1\n\n" + DONE
    assert source.closed
    assert places.refusal() is None


async def test_leaving_a_stream_gives_its_place_back() -> None:
    source, connection, places = Source(b"data: 1\n\n"), Connection(), Places(1)
    admission = Admission(Streaming(source), places, Places(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(admission(scope(), connection.receive, connection.send))
        await connection.until_sent(b"data: 1\n\n")
        connection.left.set()
    assert source.closed
    assert places.refusal() is None


async def test_a_failure_is_told_before_the_end() -> None:
    source = Source(b"data: 1\n\n", error=UnavailableError("The model is gone."))
    connection = Connection()
    await respond(source, connection)
    assert connection.body.endswith(DONE)
    told = connection.body.removesuffix(DONE).removeprefix(b"data: 1\n\n")
    assert b"The model is gone." in told
    assert told.startswith(b"event: error\n")


async def test_a_defect_is_told_without_its_cause() -> None:
    source, connection = Source(error=RuntimeError("password=hunter2")), Connection()
    await respond(source, connection)
    assert b"internal" in connection.body
    assert b"hunter2" not in connection.body
    assert connection.body.endswith(DONE)


@pytest.mark.parametrize("events", [(), (b"data: 1\n\n",)])
async def test_whoever_leaves_ends_the_work(events: tuple[bytes, ...]) -> None:
    source, connection = Source(*events), Connection()
    async with asyncio.TaskGroup() as group:
        group.create_task(respond(source, connection))
        await connection.until_sent(b"".join(events))
        # Two turns of the loop: the generator has begun to wait for what will never come.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        connection.left.set()
    assert source.closed
    assert DONE not in connection.body


async def test_a_client_that_cannot_be_written_to_ends_the_work_quietly() -> None:
    source, connection = Source(b"data: 1\n\n"), Connection()

    async def send(_: object) -> None:
        raise ConnectionResetError

    await EventStreamResponse(source.events(), render_failure)(scope(), connection.receive, send)
    assert connection.sent == []


async def test_whoever_stopped_reading_ends_the_work() -> None:
    source, connection = Source(b"data: 1\n\n"), Connection()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    response = EventStreamResponse(
        source.events(), render_failure, heartbeat_seconds=0, stalled_seconds=0
    )
    await response(scope(), connection.receive, send)
    assert source.closed


async def test_a_server_that_stops_ends_the_work_as_stopped() -> None:
    """Nobody left: the task is cancelled, and stays so."""
    source, connection = Source(b"data: 1\n\n"), Connection()
    task = asyncio.create_task(respond(source, connection))
    await connection.until_sent(b"data: 1\n\n")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed


async def test_leaving_does_not_hide_that_the_server_stops() -> None:
    source, connection = Source(b"data: 1\n\n"), Connection()
    task = asyncio.create_task(respond(source, connection))
    await connection.until_sent(b"data: 1\n\n")
    connection.left.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed


async def test_a_client_that_sends_without_end_while_it_reads_has_left() -> None:
    source, connection, received = Source(b"data: 1\n\n"), Connection(), 0

    async def receive() -> Message:
        nonlocal received
        await connection.until_sent(b"data: 1\n\n")
        received += 1
        return {"type": "http.request", "body": bytes(256 * 1024), "more_body": True}

    response = EventStreamResponse(source.events(), render_failure)
    await response(scope(), receive, connection.send)
    assert source.closed
    assert received == 5


async def test_what_breaks_while_it_is_sent_is_raised() -> None:
    source, connection = Source(b"data: 1\n\n"), Connection()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise ValueError("a message it does not know")

    with pytest.raises(ValueError, match="does not know"):
        await EventStreamResponse(source.events(), render_failure)(
            scope(), connection.receive, send
        )
    assert source.closed


async def test_leaving_while_a_heartbeat_cannot_be_sent_ends_the_work() -> None:
    source, connection = Source(), Connection()
    stuck = asyncio.Event()

    async def send(message: Message) -> None:
        if message.get("body") == HEARTBEAT:
            stuck.set()
            await asyncio.Event().wait()

    response = EventStreamResponse(source.events(), render_failure, heartbeat_seconds=0)
    async with asyncio.TaskGroup() as group:
        group.create_task(response(scope(), connection.receive, send))
        await stuck.wait()
        connection.left.set()
    assert source.closed


async def test_heartbeats_are_comments_between_events() -> None:
    connection, go_on = Connection(), asyncio.Event()

    async def slow() -> AsyncGenerator[bytes]:
        yield encode_event({"number": 1}, "first")
        await go_on.wait()
        yield encode_event({"number": 2}, "second")

    response = EventStreamResponse(slow(), render_failure, heartbeat_seconds=0)
    async with asyncio.TaskGroup() as group:
        group.create_task(response(scope(), connection.receive, connection.send))
        # Though one is being sent whenever the next one is due.
        async with asyncio.timeout(PATIENCE):
            await connection.until_sent(HEARTBEAT * 3)
        go_on.set()
    decoded = list(SSEDecoder().iter_bytes(iter([connection.body.removesuffix(DONE)])))
    assert [json.loads(event.data)["number"] for event in decoded] == [1, 2]
    # The SDK takes a comment after an `id:` line for an event without data, and dies of it.
    assert not any(line.startswith(b"id:") for line in connection.body.splitlines())


async def test_no_heartbeat_gets_before_what_is_being_sent_or_behind_the_end() -> None:
    """A slow client takes the last block, while it is time for heartbeats all along."""
    connection, is_sending, may_send = Connection(), asyncio.Event(), asyncio.Event()
    source = Source()
    source.go_on.set()

    async def send(message: Message) -> None:
        if message.get("body") == DONE:
            is_sending.set()
            await may_send.wait()
        await connection.send(message)

    response = EventStreamResponse(source.events(), render_failure, heartbeat_seconds=0)
    async with asyncio.TaskGroup() as group:
        group.create_task(response(scope(), connection.receive, send))
        await is_sending.wait()
        sent = len(connection.sent)
        for _ in range(10):
            await asyncio.sleep(0)
        may_send.set()
    assert connection.sent[sent]["body"] == DONE
    assert connection.sent[-1]["more_body"] is False


async def test_a_message_waits_for_the_heartbeat_that_is_being_sent() -> None:
    connection, is_beating, may_send = Connection(), asyncio.Event(), asyncio.Event()
    source = Source()

    async def send(message: Message) -> None:
        if message.get("body") == HEARTBEAT and not may_send.is_set():
            is_beating.set()
            await may_send.wait()
        await connection.send(message)

    response = EventStreamResponse(source.events(), render_failure, heartbeat_seconds=0)
    async with asyncio.TaskGroup() as group:
        group.create_task(response(scope(), connection.receive, send))
        await is_beating.wait()
        source.go_on.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert connection.body == b""
        may_send.set()
    assert connection.body.startswith(HEARTBEAT)
    assert connection.body.endswith(DONE)


async def test_leaving_between_heartbeats_closes_what_is_waited_for() -> None:
    source, connection = Source(), Connection()
    response = EventStreamResponse(source.events(), render_failure, heartbeat_seconds=0)
    async with asyncio.TaskGroup() as group:
        group.create_task(response(scope(), connection.receive, connection.send))
        await connection.until_sent(HEARTBEAT)
        connection.left.set()
    assert source.closed
