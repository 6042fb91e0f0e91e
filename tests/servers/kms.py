"""KMS for tests: moto's, behind a server of ours that counts what it is asked and misbehaves on request.

Run ``python -m tests.servers.kms MOTO``; it prints its port and ends when its input does. In a test, use
:func:`running_kms`.
"""

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final
from urllib.request import Request, urlopen

import aiohttp
from aiohttp import web

from tests.servers.program import running_server, serve

TYPE: Final = "application/x-amz-json-1.1"
TARGET: Final = "TrentService."


def refuse(kind: str, status: int = 400) -> Callable[[bytes], web.Response]:
    """KMS's own way; the text repeats what was sent, as a false server could."""

    def answer(sent: bytes) -> web.Response:
        body = {"__type": kind, "message": sent.decode()}
        headers = {"x-amzn-RequestId": "6f7c0d1e-1111"}
        return web.json_response(body, status=status, headers=headers)

    return answer


def say(text: str, status: int = 200) -> Callable[[bytes], web.Response]:
    return lambda _: web.Response(text=text, status=status)


ANSWERS: Final[dict[str, Callable[[bytes], web.Response]]] = {
    "denied": refuse("AccessDeniedException"),
    "disabled": refuse("com.amazonaws.kms#DisabledException"),
    "throttled": refuse("ThrottlingException"),
    "failing": refuse("KMSInternalException", 500),
    "damaged": refuse("InvalidCiphertextException"),
    "expired": refuse("ExpiredTokenException"),
    "odd word": refuse("<script>" * 40),
    "forbidden by another": say("<html>secret of the proxy</html>", 403),
    "no json": say("<html>secret of the proxy</html>"),
    "deep json": say("[" * 30_000),
    "other shape": say('{"KeyId": 1}'),
    "empty": say(""),
    "redirect": lambda _: web.Response(status=307, headers={"Location": "/elsewhere"}),
}


def change(**fields: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda answer: {**answer, **{name: fields[name] for name in fields if name in answer}}


CHANGES: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "as it is": lambda answer: answer,
    "another key's": change(KeyId="arn:aws:kms:us-east-1:123456789012:key/of-somebody-else"),
    "no base64": change(Plaintext="é", CiphertextBlob="é"),
    "nothing in it": change(Plaintext="", CiphertextBlob=""),
    "short": change(Plaintext="AAAA"),
    "another plaintext": change(Plaintext="A" * 43 + "="),
    "another ciphertext": change(CiphertextBlob="A" * 200),
    "long ciphertext": change(CiphertextBlob="A" * 4000),
    "huge": lambda answer: {**answer, "padding": "x" * 4_000_000},
}


class Server:
    """Hands on to moto, or does as it was told."""

    def __init__(self, moto: str, session: aiohttp.ClientSession) -> None:
        self._moto = moto
        self._session = session
        self._calls: Counter[str] = Counter()
        self._connections: set[int] = set()
        self._headers: dict[str, str] = {}
        self._behaviour = "as it is"
        self._after = self._times = 0

    async def control(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            told = await request.json()
            self._behaviour, self._after, self._times = (
                told["behaviour"],
                told["after"],
                told["times"],
            )
            self._calls.clear()
            self._connections.clear()
        seen = {
            "calls": dict(self._calls),
            "connections": len(self._connections),
            "headers": self._headers,
        }
        return web.json_response(seen)

    async def call(self, request: web.Request) -> web.StreamResponse:
        sent = await request.read()
        self._calls[request.headers["X-Amz-Target"].removeprefix(TARGET)] += 1
        assert request.transport is not None
        self._connections.add(request.transport.get_extra_info("peername")[1])
        self._headers = dict(request.headers)
        behaviour = self._next()
        if behaviour == "hang":
            await asyncio.Event().wait()
        if behaviour == "drop":
            request.transport.abort()
            return web.Response()
        if behaviour in ANSWERS:
            return ANSWERS[behaviour](sent)
        headers = {name: request.headers[name] for name in ("X-Amz-Target", "Authorization")}
        async with self._session.post(
            self._moto, data=sent, headers={**headers, "Content-Type": TYPE}
        ) as answer:
            body = json.loads(await answer.read())
            if answer.status == 200:
                body = CHANGES[behaviour](body)
            return web.Response(text=json.dumps(body), status=answer.status, content_type=TYPE)

    def _next(self) -> str:
        if self._after > 0:
            self._after -= 1
            return "as it is"
        if self._times == 0:
            return "as it is"
        self._times -= 1
        return self._behaviour


async def serve_before(moto: str) -> None:
    async with aiohttp.ClientSession() as session:
        server = Server(moto, session)
        application = web.Application()
        application.router.add_route("*", "/control", server.control)
        application.router.add_post("/", server.call)
        application.router.add_post("/elsewhere", server.call)
        await serve(application)


@dataclass(frozen=True)
class Kms:
    """A running server."""

    url: str

    def create_key(self) -> str:
        """A new key's ARN. What its request is signed with is not checked, and says where it goes."""
        signature = "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0"
        request = Request(  # noqa: S310 - this machine's
            self.url,
            b"{}",
            {
                "X-Amz-Target": f"{TARGET}CreateKey",
                "Content-Type": TYPE,
                "Authorization": signature,
            },
        )
        with urlopen(request, timeout=60) as answer:  # noqa: S310 - this machine's
            return str(json.load(answer)["KeyMetadata"]["Arn"])

    def behave(
        self, behaviour: str = "as it is", *, after: int = 0, times: int = 1_000_000
    ) -> None:
        """Misbehave in so many calls after so many good ones, and count from nothing."""
        told = {"behaviour": behaviour, "after": after, "times": times}
        body = json.dumps(told).encode()
        with urlopen(Request(f"{self.url}/control", body), timeout=60):  # noqa: S310 - this machine's
            pass

    def calls(self) -> dict[str, int]:
        """How often which operation was asked for since."""
        calls: dict[str, int] = self.seen()["calls"]
        return calls

    def seen(self) -> dict[str, Any]:
        """What it has observed since."""
        with urlopen(f"{self.url}/control", timeout=60) as answer:  # noqa: S310 - this machine's
            seen: dict[str, Any] = json.load(answer)
        return seen

    async def until(self, condition: Callable[[dict[str, int]], bool]) -> None:
        """Waits until something was asked for; the test's own time limit bounds it."""
        while not condition(await asyncio.to_thread(self.calls)):
            pass


@contextlib.contextmanager
def running_kms(moto: str) -> Generator[Kms]:
    """Starts a server before moto's in a process of its own, and ends it."""
    with running_server("tests.servers.kms", moto) as port:
        yield Kms(f"http://127.0.0.1:{port}")


if __name__ == "__main__":
    asyncio.run(serve_before(sys.argv[1]))
