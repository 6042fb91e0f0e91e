"""A model server for tests: a process of its own that speaks Anthropic's API and misbehaves on request.

The model's name chooses the behaviour, as with :mod:`tests.servers.model_server`, which it shares its controls with.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

from aiohttp import web

from tests.servers.model_script import KEY, Script, Stream
from tests.servers.model_server import ModelServer
from tests.servers.program import running_server, serve

_CUT_AT: Final = 3


class Message(Stream):
    """A streamed message in events."""

    async def event(self, name: str, **payload: Any) -> None:  # noqa: ANN401 - JSON
        data = json.dumps({"type": name, **payload}, ensure_ascii=False)
        await self.raw(f"event: {name}\ndata: {data}\n\n".encode())

    async def begin(self, prompt: int = 1) -> None:
        await self.response.prepare(self.request)
        usage = {"input_tokens": prompt - 1, "cache_read_input_tokens": 1, "output_tokens": 1}
        await self.event("message_start", message={"id": "msg_1", "usage": usage})
        await self.event("ping")

    async def start(self, index: int, **block: Any) -> None:  # noqa: ANN401 - JSON
        await self.event("content_block_start", index=index, content_block=block)

    async def delta(self, index: int, **delta: Any) -> None:  # noqa: ANN401 - JSON
        await self.event("content_block_delta", index=index, delta=delta)

    async def stop(self, index: int) -> None:
        await self.event("content_block_stop", index=index)

    async def text(self, *pieces: str, index: int = 0) -> None:
        await self.start(index, type="text", text="")
        for piece in pieces:
            await self.delta(index, type="text_delta", text=piece)
        await self.stop(index)

    async def end(self, reason: str, tokens: int) -> None:
        delta = {"stop_reason": reason, "stop_sequence": None}
        await self.event("message_delta", delta=delta, usage={"output_tokens": tokens})
        await self.event("message_stop")


def said(content: str | list[dict[str, Any]]) -> str:
    """The text of a turn."""
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)


async def echo(message: Message) -> None:
    body = message.body
    text = said(body["messages"][-1]["content"])
    reason = "end_turn"
    for stop in body.get("stop_sequences") or []:
        if stop in text:
            text, reason = text[: text.index(stop)], "stop_sequence"
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1].removesuffix(" ")
    limit = body["max_tokens"]
    if limit < len(words):
        words, reason = words[:limit], "max_tokens"
    await message.begin(sum(len(said(turn["content"]).split()) for turn in body["messages"]))
    await message.text(*(word for word in words if word))
    await message.end(reason, len(words))


async def thinking(message: Message) -> None:
    """Thoughts, some of them for nobody to read, then a call of the first function, or the echo."""
    await message.begin()
    await message.start(0, type="thinking", thinking="", signature="")
    await message.delta(0, type="thinking_delta", thinking="First I ")
    await message.delta(0, type="thinking_delta", thinking="think.")
    await message.delta(0, type="signature_delta", signature="c2ln")
    await message.stop(0)
    await message.start(1, type="redacted_thinking", data="aGlkZGVu")
    await message.stop(1)
    await message.text(said(message.body["messages"][-1]["content"]), index=2)
    await message.end("end_turn", 5)


async def bytewise(message: Message) -> None:
    """The echo, one byte to a packet."""
    text = said(message.body["messages"][-1]["content"])
    await message.begin()
    delta = {"type": "text_delta", "text": text}
    payload = {"type": "content_block_delta", "index": 0, "delta": delta}
    data = json.dumps(payload, ensure_ascii=False)
    for byte in f"event: content_block_delta\r\ndata: {data}\r\n\r\n".encode():
        await message.raw(bytes([byte]))
    await message.end("end_turn", 1)


async def endless(message: Message) -> None:
    await message.begin()
    await message.start(0, type="text", text="")
    while True:
        await message.delta(0, type="text_delta", text="on and ")
        await asyncio.sleep(0.001)


async def cut_midway(message: Message) -> None:
    await begin_half(message)
    message.cut()


async def begin_half(message: Message) -> None:
    """A clean end of the response without an end of the message."""
    await message.begin()
    await message.start(0, type="text", text="")
    await message.delta(0, type="text_delta", text="half an")


async def failing_midway(message: Message) -> None:
    await begin_half(message)
    await message.event("error", error={"type": "api_error", "message": f"/srv/{KEY}"})


async def overloaded_midway(message: Message) -> None:
    await begin_half(message)
    await message.event("error", error={"type": "overloaded_error", "message": "Overloaded"})


async def overloaded_first(message: Message) -> None:
    """The stream has begun when it turns out that there is no room."""
    await message.begin()
    await message.event("error", error={"type": "overloaded_error", "message": "Overloaded"})


async def never(message: Message) -> None:
    await message.begin()
    while True:
        await message.raw(b": still here\n\n")
        await asyncio.sleep(0.005)


async def garbage(message: Message) -> None:
    await message.begin()
    await message.raw(b"data: <html>\xff\xfe\n\n")


async def filtered(message: Message) -> None:
    await message.begin()
    await message.end("refusal", 0)


async def thoughtful(message: Message) -> None:
    """Blocks and events of kinds that are not asked for, and one that there is not yet."""
    await message.begin()
    await message.start(0, type="thinking", thinking="", signature="")
    await message.delta(0, type="thinking_delta", thinking="hm")
    await message.delta(0, type="signature_delta", signature="c2ln")
    await message.stop(0)
    await message.event("something_new", colour="blue")
    await message.text("thought", index=1)
    await message.end("end_turn", 3)


async def functions(message: Message) -> None:
    """Calls what it is offered, its arguments in pieces; then says what came of it."""
    body = message.body
    await message.begin(9)
    last = body["messages"][-1]["content"]
    results = [block["content"] for block in last if block["type"] == "tool_result"]
    choice = body["tool_choice"]
    if results or choice["type"] == "none":
        await message.text("It said: " + ", ".join(results))
        await message.end("end_turn", 2)
        return
    names = [tool["name"] for tool in body["tools"]]
    if choice["type"] == "tool":
        names = [choice["name"]]
    if choice.get("disable_parallel_tool_use"):
        names = names[:1]
    await message.text("Let me look.")
    for index, name in enumerate(names, 1):
        await message.start(index, type="tool_use", id=f"toolu_{index}", name=name, input={})
        await message.delta(index, type="input_json_delta", partial_json="")
        arguments = json.dumps({"asked": said(last)})
        for start in range(0, len(arguments), _CUT_AT):
            piece = arguments[start : start + _CUT_AT]
            await message.delta(index, type="input_json_delta", partial_json=piece)
        await message.stop(index)
    await message.end("tool_use", 7)


async def call_bare(message: Message) -> None:
    """A call without any arguments."""
    await message.begin()
    await message.start(0, type="tool_use", id="toolu_1", name="now", input={})
    await message.stop(0)
    await message.end("tool_use", 1)


async def formed(message: Message) -> None:
    await message.begin()
    await message.text('{"colour"', ': "blue"}')
    await message.end("end_turn", 5)


async def cut_object(message: Message) -> None:
    await message.begin()
    await message.text('{"colour"')
    await message.end("max_tokens", 5)


BEHAVIOURS: Final[dict[str, Callable[[Message], Awaitable[None]]]] = {
    "echo": echo,
    "thinking": thinking,
    "bytewise": bytewise,
    "endless": endless,
    "cut": cut_midway,
    "end-early": begin_half,
    "error-midway": failing_midway,
    "overloaded-midway": overloaded_midway,
    "overloaded-first": overloaded_first,
    "never": never,
    "garbage": garbage,
    "filtered": filtered,
    "thoughtful": thoughtful,
    "functions": functions,
    "call-bare": call_bare,
    "formed": formed,
    "cut-object": cut_object,
}
STATUSES: Final = {
    "400": (400, "invalid_request_error"),
    "403": (403, "permission_error"),
    "404": (404, "not_found_error"),
    "429": (429, "rate_limit_error"),
    "500": (500, "api_error"),
    "529": (529, "overloaded_error"),
    "529-once": (529, "overloaded_error"),
}


class AnthropicScript(Script):
    """Anthropic's API."""

    path = "/v1/messages"

    def check(self, request: web.Request) -> web.Response | None:
        if "anthropic-version" not in request.headers:
            return refuse(400, "invalid_request_error", "anthropic-version: header is required")
        if request.headers.get("x-api-key") != KEY:
            return refuse(401, "authentication_error", "invalid x-api-key")
        return None

    async def models(self, request: web.Request) -> web.Response:
        self.seen.listings += 1
        assert request.query["limit"] == "1000"
        names = [*BEHAVIOURS, *STATUSES]
        data = [
            {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2025-02-19T00:00:00Z",
            }
            for name in names
        ]
        return web.json_response({"data": data, "has_more": False})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await self.read(request)
        model: str = body["model"]
        if model in STATUSES and (model != "529-once" or self.first_time(model)):
            return refuse(*STATUSES[model], f"refused by the script, key {KEY}")
        return await self.run(BEHAVIOURS.get(model, echo), Message(request, body))


def refuse(status: int, kind: str, message: str) -> web.Response:
    """An error as Anthropic writes it."""
    headers = {"Retry-After": "1"} if status in {429, 529} else {}
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return web.json_response(body, status=status, headers=headers)


@contextlib.contextmanager
def running_anthropic_server() -> Generator[ModelServer]:
    """Starts a server in a process of its own, and ends it."""
    with running_server("tests.servers.anthropic_server") as port:
        yield ModelServer(port)


if __name__ == "__main__":
    asyncio.run(serve(AnthropicScript().app()))
