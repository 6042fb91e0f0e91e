"""Streams whose beginning decides whether there is one."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request

from undercroft.chat.responses.watching import NOTHING_YET
from undercroft.http.disconnect import unless_disconnected
from undercroft.http.wire import JsonObject


async def once_begun(
    request: Request, events: AsyncGenerator[JsonObject]
) -> AsyncGenerator[JsonObject]:
    """The same events, once the first of them is there, or it is certain that they may be waited for.

    What goes wrong before that is an HTTP error and no stream.

    Raises:
        UndercroftError: When there is no first event.
    """
    try:
        first = await unless_disconnected(request, _first(events))
    # Also when it is cancelled: nobody else would close them.
    except BaseException:
        await events.aclose()
        raise
    return _all(first, events)


async def _first(events: AsyncGenerator[JsonObject]) -> JsonObject | None:
    return await anext(events, None)


async def _all(
    first: JsonObject | None, events: AsyncGenerator[JsonObject]
) -> AsyncGenerator[JsonObject]:
    async with aclosing(events):
        if first is not None and first is not NOTHING_YET:
            yield first
        # What follows may be waited for as long as anybody likes.
        del first
        async for event in events:
            yield event
