"""An ASGI server's side of one request, driven step by step."""

import asyncio
from typing import Any

from starlette.types import Message, Scope


class Connection:
    """What the application receives and sends.

    Attributes:
        sent: Every message of the application.
        left: Set it, and the client is gone.
    """

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self._changed = asyncio.Condition()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        async with self._changed:
            self.sent.append(message)
            self._changed.notify_all()

    async def until_sent(self, part: bytes) -> None:
        """Wait for a piece of the body."""
        async with self._changed:
            await self._changed.wait_for(lambda: part in self.body)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def scope(path: str = "/v1/things", method: str = "GET", **more: Any) -> Scope:  # noqa: ANN401 - ASGI's own type
    """A request's scope."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [],
        "query_string": b"",
        **more,
    }
