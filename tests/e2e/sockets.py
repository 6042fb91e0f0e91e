"""The official clients' WebSockets, and bare ones."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import websockets

DEADLINE: Final = 60
"""Seconds within which whatever is waited for comes, however busy the machine is."""

Event = dict[str, Any]


class Socket:
    """A bare socket at ``/v1/responses``."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection

    async def ask(self, **fields: object) -> None:
        """Ask for a response."""
        await self.connection.send(json.dumps({"type": "response.create", **fields}))

    async def take(self) -> Event:
        """The next event."""
        async with asyncio.timeout(DEADLINE):
            event: Event = json.loads(await self.connection.recv())
        return event

    async def until(self, is_it: Callable[[Event], bool]) -> list[Event]:
        """All events up to the first one that is it."""
        events = [await self.take()]
        while not is_it(events[-1]):
            events.append(await self.take())
        return events

    async def until_end(self, lane: str | None = None) -> list[Event]:
        """All events up to the end of a response."""
        return await self.until(lambda event: is_end(event) and event.get("stream_id") == lane)

    async def closed(self) -> tuple[int | None, str | None]:
        """How the service has closed it, whatever else comes before."""
        async with asyncio.timeout(DEADLINE):
            with suppress(websockets.ConnectionClosed):
                while True:
                    await self.connection.recv()
        return self.connection.close_code, self.connection.close_reason


def is_end(event: Mapping[str, Any]) -> bool:
    """Whether nothing follows of the response."""
    ends = {"response.completed", "response.failed", "response.incomplete"}
    return event["type"] in ends or (event["type"] == "error" and "status" in event)


@asynccontextmanager
async def open_socket(url: str, key: str | None, **options: Any) -> AsyncGenerator[Socket]:  # noqa: ANN401 - the library's own
    """A socket at a service, closed at the end."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    headers |= options.pop("headers", {})
    async with websockets.connect(
        url.replace("http", "ws", 1) + "/v1/responses",
        additional_headers=headers,
        proxy=None,
        compression=None,
        **options,
    ) as connection:
        yield Socket(connection)
