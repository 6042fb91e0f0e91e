"""A stream begins with what decided that there is one, and holds it no longer."""

import asyncio
import weakref
from collections.abc import AsyncGenerator

from fastapi import Request

from tests.http.asgi import Connection, scope
from undercroft.chat.responses.watching import NOTHING_YET
from undercroft.http.begun import once_begun
from undercroft.http.wire import JsonObject


class Event(dict[str, object]):
    """One that can be looked at without holding it."""


def new_request() -> Request:
    connection = Connection()
    return Request(scope(), connection.receive, connection.send)


async def test_the_first_event_is_not_held_while_the_next_is_waited_for() -> None:
    made: list[weakref.ref[Event]] = []

    async def events() -> AsyncGenerator[JsonObject]:
        first = Event(number=0)
        made.append(weakref.ref(first))
        yield first
        del first
        waiting.set()
        await go_on.wait()
        yield Event(number=1)

    waiting, go_on = asyncio.Event(), asyncio.Event()
    begun = await once_begun(new_request(), events())
    assert (await anext(begun))["number"] == 0
    following = asyncio.ensure_future(anext(begun))
    await waiting.wait()
    assert made[0]() is None
    go_on.set()
    assert (await following)["number"] == 1


async def test_that_there_is_nothing_yet_is_no_event() -> None:
    async def events() -> AsyncGenerator[JsonObject]:
        yield NOTHING_YET
        yield Event(number=0)

    begun = await once_begun(new_request(), events())
    assert [event["number"] async for event in begun] == [0]
