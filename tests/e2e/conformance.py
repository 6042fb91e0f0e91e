"""Holds every response and every event that a test is sent, by whichever client, against the specification."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing, contextmanager, suppress
from typing import Any, Final, cast

import httpx2 as httpx
import pytest
from websockets.asyncio.client import ClientConnection

from tests.openresponses import find_faults, find_faults_in

_PATH: Final = "/v1/responses"
_STREAM: Final = "text/event-stream"


class Conformance:
    """What was found wrong, and how much was looked at."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.seen = 0

    def examine(self, response: httpx.Response, body: bytes) -> None:
        """Look at what an answer came to; of one that was left, at what had come whole."""
        if not response.is_success or "content-encoding" in response.headers:
            return
        if response.headers.get("content-type", "").startswith(_STREAM):
            whole = body.rpartition(b"\n\n")[0].decode()
            self.seen += whole.count("data: {")
            self.faults += find_faults_in(whole.splitlines())
            return
        with suppress(ValueError):
            self.examine_message(body)

    def examine_message(self, text: str | bytes) -> None:
        """Look at one object."""
        self.seen += 1
        self.faults += find_faults(json.loads(text))


@contextmanager
def examining(patch: pytest.MonkeyPatch) -> Generator[Conformance]:
    """Look at all that clients are sent while this is open."""
    conformance = Conformance()
    iter_raw, aiter_raw, recv = (
        httpx.Response.iter_raw,
        httpx.Response.aiter_raw,
        ClientConnection.recv,
    )

    def read(response: httpx.Response, *given: Any) -> Iterator[bytes]:  # noqa: ANN401 - as the client's own
        raw = iter_raw(response, *given)
        return _read(response, raw) if response.url.path.startswith(_PATH) else raw

    def _read(response: httpx.Response, raw: Iterator[bytes]) -> Iterator[bytes]:
        kept: list[bytes] = []
        try:
            with closing(cast("Generator[bytes]", raw)):
                for piece in raw:
                    kept.append(piece)
                    yield piece
        finally:
            conformance.examine(response, b"".join(kept))

    def read_later(response: httpx.Response, *given: Any) -> AsyncIterator[bytes]:  # noqa: ANN401 - as the client's own
        raw = aiter_raw(response, *given)
        return _read_later(response, raw) if response.url.path.startswith(_PATH) else raw

    async def _read_later(
        response: httpx.Response, raw: AsyncGenerator[bytes]
    ) -> AsyncGenerator[bytes]:
        kept: list[bytes] = []
        try:
            async with aclosing(raw):
                async for piece in raw:
                    kept.append(piece)
                    yield piece
        finally:
            conformance.examine(response, b"".join(kept))

    async def receive(connection: ClientConnection, *given: Any, **named: Any) -> str | bytes:  # noqa: ANN401 - as the client's own
        message = await recv(connection, *given, **named)
        conformance.examine_message(message)
        return message

    patch.setattr(httpx.Response, "iter_raw", read)
    patch.setattr(httpx.Response, "aiter_raw", read_later)
    patch.setattr(ClientConnection, "recv", receive)
    yield conformance
