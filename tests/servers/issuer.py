"""An issuer for tests: serves what it is told to, counts what it is asked, and misbehaves on request.

Run ``python -m tests.servers.issuer``; it prints its port and ends when its input does. In a test, use
:func:`running_issuer`.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

from aiohttp import web

from tests.servers.program import running_server, serve


class Server:
    """Discovery, keys, and how it was told to behave."""

    def __init__(self) -> None:
        self._keys: Any = {"keys": []}
        self._behaviour = "good"
        self._calls: Counter[str] = Counter()

    async def control(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            told = await request.json()
            self._keys, self._behaviour = told["keys"], told["behaviour"]
            self._calls.clear()
        return web.json_response(dict(self._calls))

    async def discover(self, request: web.Request) -> web.StreamResponse:
        self._calls["discovery"] += 1
        url = f"http://{request.host}"
        issuer = "https://another.example" if self._behaviour == "another's" else url
        return web.json_response({"issuer": issuer, "jwks_uri": f"{url}/keys"})

    async def list_keys(self, request: web.Request) -> web.StreamResponse:
        del request
        self._calls["keys"] += 1
        match self._behaviour:
            case "hang":
                await asyncio.Event().wait()
            case "failing":
                return web.Response(status=500)
            case "redirect":
                return web.Response(status=302, headers={"Location": "/keys"})
            case "garbage":
                return web.Response(text="[" * 100_000)
            case "huge":
                return web.Response(text=json.dumps(self._keys) + " " * 1_000_000)
            case _:
                pass
        return web.json_response(self._keys)


def make_application() -> web.Application:
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/control", server.control)
    application.router.add_get("/.well-known/openid-configuration", server.discover)
    application.router.add_get("/keys", server.list_keys)
    return application


@dataclass(frozen=True)
class IssuerServer:
    """A running issuer."""

    url: str

    def publish(self, *keys: dict[str, Any], behaviour: str = "good") -> None:
        """Serve these keys, in this way, and count from nothing."""
        body = json.dumps({"keys": {"keys": keys}, "behaviour": behaviour}).encode()
        with urlopen(Request(f"{self.url}/control", body), timeout=60):  # noqa: S310 - this machine's
            pass

    def calls(self) -> dict[str, int]:
        """How often which document was asked for since."""
        with urlopen(f"{self.url}/control", timeout=60) as answer:  # noqa: S310 - this machine's
            counted: dict[str, int] = json.load(answer)
        return counted


@contextlib.contextmanager
def running_issuer() -> Generator[IssuerServer]:
    """An issuer in a process of its own."""
    with running_server("tests.servers.issuer") as port:
        yield IssuerServer(f"http://127.0.0.1:{port}")


if __name__ == "__main__":
    asyncio.run(serve(make_application()))
