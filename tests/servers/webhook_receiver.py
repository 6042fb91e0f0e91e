"""A receiver of webhooks for tests, in a process of its own, that misbehaves on request.

The path's first part chooses the behaviour: see :data:`BEHAVIOURS`. Run ``python -m tests.servers.webhook_receiver``:
it prints its port, then each message that it was posted, one JSON object a line, and ends when its input does. In a
test, use :func:`running_receiver`.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from tests.servers.program import Program, running_program, serve


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came."""

    path: str
    headers: dict[str, str]
    body: str


class Receiver:
    """A running receiver."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.port = int(program.read_line())

    def url(self, behaviour: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{behaviour}"

    def next_message(self) -> Received:
        """The next message that was posted; waits for it."""
        return Received(**json.loads(self._program.read_line()))


@contextlib.contextmanager
def running_receiver() -> Generator[Receiver]:
    """Runs the receiver while the context is open."""
    with running_program(sys.executable, "-m", "tests.servers.webhook_receiver") as program:
        yield Receiver(program)


async def _take(request: web.Request) -> web.StreamResponse:
    del request
    return web.Response(status=204)


async def _fail(request: web.Request) -> web.StreamResponse:
    del request
    return web.Response(status=503)


async def _be_gone(request: web.Request) -> web.StreamResponse:
    del request
    return web.Response(status=410)


async def _redirect(request: web.Request) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": f"http://{request.host}/take"})


async def _stall(request: web.Request) -> web.StreamResponse:
    del request
    await asyncio.Event().wait()
    raise AssertionError


async def _dribble(request: web.Request) -> web.StreamResponse:
    """The start of an answer, without an end."""
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nX-A: ")
    await asyncio.Event().wait()
    raise AssertionError


async def _flood(request: web.Request) -> web.StreamResponse:
    """A good status, and a body without an end."""
    response = web.StreamResponse(status=200)
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b"x" * 65_536)
    return response


async def _flood_headers(request: web.Request) -> web.StreamResponse:
    return await _raw(request, b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 1_000_000 + b"\r\n\r\n")


async def _babble(request: web.Request) -> web.StreamResponse:
    return await _raw(request, b"220 mail.test ESMTP\r\n\r\n")


async def _hang_up(request: web.Request) -> web.StreamResponse:
    return await _raw(request, b"")


async def _raw(request: web.Request, answer: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(answer)
    request.transport.close()
    return web.Response()


BEHAVIOURS: Final[dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = {
    "take": _take,
    "fail": _fail,
    "gone": _be_gone,
    "redirect": _redirect,
    "stall": _stall,
    "dribble": _dribble,
    "flood": _flood,
    "flood-headers": _flood_headers,
    "babble": _babble,
    "hang-up": _hang_up,
}


async def _receive(request: web.Request) -> web.StreamResponse:
    body = await request.text()
    message = {"path": request.path, "headers": dict(request.headers), "body": body}
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
    return await BEHAVIOURS[request.path.split("/")[1]](request)


def _make_application() -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", _receive)
    return application


if __name__ == "__main__":
    asyncio.run(serve(_make_application()))
