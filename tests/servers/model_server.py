"""A model server for tests: a process of its own that speaks OpenAI's API and misbehaves on request.

The model's name chooses the behaviour: see :data:`BEHAVIOURS`. ``GET /control`` tells what was seen.

Run ``python -m tests.servers.model_server ok``; it prints its port and ends when its input does. In a test, use
:func:`running_model_server`.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp import web

from tests.servers.model_script import KEY, RELEASED, Script, Seen, Stream
from tests.servers.program import running_server, serve

HUGE: Final = 4 * 1024 * 1024


class Answer(Stream):
    """A streamed answer in pieces."""

    async def begin(self) -> None:
        await self.response.prepare(self.request)

    async def event(self, payload: dict[str, Any]) -> None:
        data = json.dumps(payload, ensure_ascii=False)
        await self.raw(f"data: {data}\n\n".encode())

    async def text(self, text: str) -> None:
        await self.event({"choices": [{"index": 0, "delta": {"content": text}}]})

    async def call(self, part: dict[str, Any]) -> None:
        await self.event({"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]})

    async def end(self, reason: str, *, usage: tuple[int, int] | None) -> None:
        await self.event(
            {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": None}
        )
        if usage is not None and self.body.get("stream_options", {}).get("include_usage"):
            prompt, completion = usage
            await self.event(
                {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}
            )
        await self.raw(b"data: [DONE]\n\n")


def words_of(message: dict[str, Any]) -> str:
    """What a message says, beside its pictures."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def spoken(body: dict[str, Any]) -> tuple[list[str], str, int]:
    """The echo of the last message: its words, why it ends, the words of the prompt."""
    text = words_of(body["messages"][-1])
    for stop in body.get("stop") or []:
        if stop in text:
            text = text[: text.index(stop)]
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1].removesuffix(" ")
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(words)
    prompt = sum(len(words_of(message).split()) for message in body["messages"])
    return words[:limit], "length" if limit < len(words) else "stop", prompt


async def echo(answer: Answer) -> None:
    words, reason, prompt = spoken(answer.body)
    await answer.begin()
    await answer.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    for word in words:
        await answer.text(word)
    await answer.end(reason, usage=(prompt, len(words)))


async def thinking(answer: Answer) -> None:
    """Thoughts, then the echo, and how many tokens the thoughts took."""
    words, _, _ = spoken(answer.body)
    await answer.begin()
    for name in ("reasoning_content", "reasoning"):
        # Both names, as some servers have it: they say the same.
        await answer.event({"choices": [{"delta": {name: "First I "}}]})
    await answer.event({"choices": [{"delta": {"reasoning_content": "think."}}]})
    for word in words:
        await answer.text(word)
    details = {"reasoning_tokens": 3}
    usage = {"prompt_tokens": 2, "completion_tokens": 9, "completion_tokens_details": details}
    await answer.event({"choices": [], "usage": usage})
    await answer.raw(b"data: [DONE]\n\n")


async def bytewise(answer: Answer) -> None:
    """The echo with CRLF, comments and data over two lines, one byte to a packet."""
    words, _, _ = spoken(answer.body)
    await answer.begin()
    payload = json.dumps({"choices": [{"delta": {"content": "".join(words)}}]}, ensure_ascii=False)
    head, tail = payload[:12], payload[12:]
    stream = f": hello\r\n\r\nevent: message\r\ndata: {head}\r\ndata: {tail}\r\n\r\n"
    for byte in stream.encode():
        await answer.raw(bytes([byte]))
    await answer.end("stop", usage=None)


async def endless(answer: Answer) -> None:
    await answer.begin()
    while True:
        await answer.text("on and ")
        await asyncio.sleep(0.001)


async def cut_midway(answer: Answer) -> None:
    await answer.begin()
    await answer.text("half an")
    answer.cut()


async def end_midway(answer: Answer) -> None:
    """A clean end of the response without an end of the answer."""
    await answer.begin()
    await answer.text("half an")


async def error_midway(answer: Answer) -> None:
    await answer.begin()
    await answer.text("half an")
    await answer.event(
        {"error": {"message": f"the secret path /srv/{KEY}", "type": "server_error"}}
    )


async def never(answer: Answer) -> None:
    """Accepts, says that it is there, and never a word."""
    await answer.begin()
    while True:
        await answer.raw(b": still here\n\n")
        await asyncio.sleep(0.005)


async def stall(answer: Answer) -> None:
    """One word, then only comments."""
    await answer.begin()
    await answer.text("one")
    while True:
        await answer.raw(b": still here\n\n")
        await asyncio.sleep(0.005)


async def held(answer: Answer) -> None:
    """One word, and the rest when a test has called :meth:`ModelServer.release`."""
    await answer.begin()
    await answer.text("first ")
    await answer.request.app[RELEASED].wait()
    await answer.text("second")
    await answer.end("stop", usage=(1, 2))


def beginning(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The beginning that an answer is to go on after, and the request for the whole of it."""
    if not body.get("continue_final_message"):
        return "", body
    assert body["add_generation_prompt"] is False
    *messages, last = body["messages"]
    begun: str = last["content"]
    limit = body.get("max_tokens", 1_000) + len(begun.split())
    return begun, {**body, "messages": messages, "max_tokens": limit}


async def paced(answer: Answer) -> None:
    """The echo, a word every 20 ms; and what follows a beginning that it is given."""
    begun, body = beginning(answer.body)
    words, reason, prompt = spoken(body)
    await answer.begin()
    said = 0
    for word in words:
        said += len(word)
        if said > len(begun):
            await asyncio.sleep(0.02)
            await answer.text(word[max(0, len(begun) - (said - len(word))) :])
    await answer.end(reason, usage=(prompt, len(words)))


async def goes_on(answer: Answer) -> None:
    """The echo, cut after its first word; and what follows a beginning that it is given."""
    begun, body = beginning(answer.body)
    words, reason, prompt = spoken(body)
    await answer.begin()
    if not begun:
        await answer.text(words[0])
        answer.cut()
        return
    rest = "".join(words).removeprefix(begun)
    await answer.text(rest)
    await answer.end(reason, usage=(prompt, len(rest.split())))


async def garbage(answer: Answer) -> None:
    await answer.begin()
    await answer.raw(b"data: <html>\xff\xfe\n\n")


async def huge_line(answer: Answer) -> None:
    await answer.begin()
    for _ in range(HUGE // 65536):
        await answer.raw(b"x" * 65536)


async def huge_answer(answer: Answer) -> None:
    await answer.begin()
    for _ in range(HUGE // 16384):
        await answer.text("y" * 16384)
    await answer.end("stop", usage=(1, 1))


async def no_usage(answer: Answer) -> None:
    await answer.begin()
    await answer.text("12345678")
    await answer.end("stop", usage=None)


async def no_done(answer: Answer) -> None:
    """A reason, but no ``[DONE]`` and no last blank line."""
    await answer.begin()
    await answer.text("all of it")
    await answer.raw(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}')


async def late_end(answer: Answer) -> None:
    """The body ends some time after ``[DONE]``, in a packet of its own."""
    await echo(answer)
    await asyncio.sleep(0.02)


async def slow_start(answer: Answer) -> None:
    """An empty event at once, and the answer when the prompt has been read."""
    await answer.begin()
    await answer.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    await asyncio.sleep(1)
    await answer.text("ready")
    await answer.end("stop", usage=(1, 1))


async def aborted(answer: Answer) -> None:
    await answer.begin()
    await answer.text("half an")
    await answer.end("abort", usage=None)


async def filtered(answer: Answer) -> None:
    await answer.begin()
    await answer.end("content_filter", usage=(3, 0))


async def functions(answer: Answer) -> None:
    """Calls what it is offered, its arguments in pieces of three characters; then says what came of it."""
    body = answer.body
    await answer.begin()
    results = [m["content"] for m in body["messages"] if m["role"] == "tool"]
    if results or body.get("tool_choice") == "none" or not body.get("tools"):
        await answer.text("It said: " + ", ".join(results))
        await answer.end("stop", usage=(9, 2))
        return
    names = [tool["function"]["name"] for tool in body["tools"]]
    if isinstance(choice := body.get("tool_choice"), dict):
        names = [choice["function"]["name"]]
    if body.get("parallel_tool_calls") is False:
        names = names[:1]
    await answer.text("Let me look.")
    for index, name in enumerate(names):
        call = {"index": index, "id": f"call_{index}", "type": "function"}
        await answer.call({**call, "function": {"name": name, "arguments": ""}})
        arguments = json.dumps({"asked": body["messages"][-1]["content"]})
        for start in range(0, len(arguments), 3):
            piece = {"arguments": arguments[start : start + 3]}
            await answer.call({"index": index, "function": piece})
    forced = isinstance(body.get("tool_choice"), dict)
    await answer.end("stop" if forced else "tool_calls", usage=(9, 7))


async def obedient(answer: Answer) -> None:
    """Sends all that its prompt says to the first tool that is called ``send``, once; then says what came of it."""
    body = answer.body
    await answer.begin()
    results = [m["content"] for m in body["messages"] if m["role"] == "tool"]
    tools = [tool["function"]["name"] for tool in body.get("tools") or []]
    names = [name for name in tools if "send" in name]
    if results or not names or body.get("tool_choice") == "none":
        await answer.text("It said: " + "; ".join(results))
        await answer.end("stop", usage=(9, 2))
        return
    read = "\n".join(m["content"] for m in body["messages"] if m["role"] != "system")
    await answer.text("I send it.")
    call = {"index": 0, "id": "call_0", "type": "function"}
    arguments = json.dumps({"text": read})
    await answer.call({**call, "function": {"name": names[0], "arguments": arguments}})
    await answer.end("tool_calls", usage=(9, 7))


async def tireless(answer: Answer) -> None:
    """Calls the first tool that it is offered, whatever came of that before and whatever it is told."""
    await answer.begin()
    function = {"name": answer.body["tools"][0]["function"]["name"], "arguments": '{"text": "x"}'}
    await answer.call({"index": 0, "id": "call_0", "type": "function", "function": function})
    await answer.end("tool_calls", usage=(1, 1))


async def call_cut(answer: Answer) -> None:
    """The beginning of a call, and no more."""
    await answer.begin()
    function = {"name": "look", "arguments": '{"as'}
    await answer.call({"index": 0, "id": "call_0", "type": "function", "function": function})
    answer.cut()


async def call_whole(answer: Answer) -> None:
    """Two calls, each in one piece and without an index, as some servers send them."""
    await answer.begin()
    for name in ("first", "second"):
        function = {"name": name, "arguments": "{}"}
        await answer.call({"id": f"call_{name}", "type": "function", "function": function})
    await answer.end("stop", usage=(1, 1))


async def call_nameless(answer: Answer) -> None:
    await answer.begin()
    await answer.call({"index": 0, "id": "call_0", "function": {"arguments": "{}"}})
    await answer.end("tool_calls", usage=(1, 1))


async def obey(answer: Answer) -> None:
    """Does what a document in the prompt tells it to, as far as a model can: says the address, and calls for it."""
    prompt = "\n".join(message["content"] or "" for message in answer.body["messages"])
    address = prompt[prompt.index("http://127.0.0.1:") :].split()[0]
    await answer.begin()
    await answer.text(f"Looking at ![it]({address}) and [there]({address}).")
    names = [tool["function"]["name"] for tool in answer.body.get("tools") or ()] or ["fetch_url"]
    function = {"name": names[0], "arguments": json.dumps({"url": address})}
    await answer.call({"index": 0, "id": "call_0", "type": "function", "function": function})
    await answer.end("tool_calls", usage=(9, 9))


async def formed(answer: Answer) -> None:
    """An object where one is asked for, else words."""
    asked = (answer.body.get("response_format") or {}).get("type", "text")
    await answer.begin()
    text = "plain words" if asked == "text" else '{"colour": "blue"}'
    for start in range(0, len(text), 4):
        await answer.text(text[start : start + 4])
    await answer.end("stop", usage=(1, 5))


async def likely(answer: Answer) -> None:
    """Two tokens that are one character, and one that is two; with how likely each was, if that is asked."""
    await answer.begin()
    alternatives = answer.body.get("top_logprobs") or 0
    tokens = (("", "\\xc3", [195]), ("é", "\\xa9", [169]), ("ta", "ta", [116, 97]))
    for number, (text, token, data) in enumerate(tokens, 1):
        top = [{"token": f"t{n}", "logprob": -float(n), "bytes": None} for n in range(alternatives)]
        given = {"token": token, "logprob": -number / 2, "bytes": data, "top_logprobs": top}
        choice = {"index": 0, "delta": {"content": text}}
        asked = {"logprobs": {"content": [given]}} if answer.body.get("logprobs") else {}
        await answer.event({"choices": [choice | asked]})
    await answer.end("stop", usage=(1, 3))


BEHAVIOURS: Final[dict[str, Callable[[Answer], Awaitable[None]]]] = {
    "echo": echo,
    "obey": obey,
    "thinking": thinking,
    "bytewise": bytewise,
    "endless": endless,
    "cut": cut_midway,
    "cut-short": cut_midway,
    "end-early": end_midway,
    "error-midway": error_midway,
    "never": never,
    "stall": stall,
    "held": held,
    "goes-on": goes_on,
    "paced": paced,
    "garbage": garbage,
    "huge-line": huge_line,
    "huge-answer": huge_answer,
    "no-usage": no_usage,
    "no-done": no_done,
    "late-end": late_end,
    "slow-start": slow_start,
    "aborted": aborted,
    "filtered": filtered,
    "functions": functions,
    "obedient": obedient,
    "tireless": tireless,
    "call-cut": call_cut,
    "call-whole": call_whole,
    "call-nameless": call_nameless,
    "formed": formed,
    "likely": likely,
}
STATUSES: Final = {"400": 400, "403": 403, "404": 404, "429": 429, "500": 500, "503": 503}
"""Models that are always refused with a status; ``429-once`` and ``cut-once`` fail only the first time."""


class OpenAiScript(Script):
    """OpenAI's API.

    Args:
        listing: ``ok``, ``slow`` (never answers) or ``broken`` (status 500) for ``GET /v1/models``.
    """

    path = "/v1/chat/completions"

    def __init__(self, listing: str) -> None:
        super().__init__()
        self._listing = listing

    def check(self, request: web.Request) -> web.Response | None:
        authorization = request.headers.get("Authorization", "")
        self.seen.authorizations.append(authorization)
        if authorization == f"Bearer {KEY}":
            return None
        return refuse(401, f"Incorrect API key provided: {authorization}")

    async def models(self, request: web.Request) -> web.Response:
        del request
        self.seen.listings += 1
        if self._listing == "slow":
            await asyncio.Event().wait()
        if self._listing == "broken":
            return refuse(500, "no")
        names = [*BEHAVIOURS, *STATUSES, "429-once", "cut-once", "newer-limit"]
        data = [
            {
                "id": name,
                "object": "model",
                "created": 1,
                "owned_by": "tests",
                "max_model_len": 4096,
            }
            for name in names
        ]
        return web.json_response({"object": "list", "data": data})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await self.read(request)
        model: str = body["model"]
        if (refusal := self._refusal(model, body)) is not None:
            return refusal
        if not body.get("stream"):
            return whole_answer(body)
        answer = Answer(request, body)
        if model == "cut-once" and self.first_time(model):
            await answer.begin()
            answer.cut()
            return answer.response
        return await self.run(BEHAVIOURS.get(model, echo), answer)

    def _refusal(self, model: str, body: dict[str, Any]) -> web.Response | None:
        if model in STATUSES:
            return refuse(STATUSES[model], f"refused by the script, key {KEY}")
        if model == "newer-limit" and "max_tokens" in body:
            return refuse(400, "Use max_completion_tokens.", param="max_tokens")
        if model == "429-once" and self.first_time(model):
            return refuse(429, "slow down", retry_after="1")
        return None


def whole_answer(body: dict[str, Any]) -> web.Response:
    """The echo, not streamed."""
    words, reason, prompt = spoken(body)
    message = {"role": "assistant", "content": "".join(words)}
    return web.json_response(
        {
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": len(words)},
        }
    )


def refuse(
    status: int, message: str, *, param: str | None = None, retry_after: str = "7"
) -> web.Response:
    """An error as OpenAI writes it."""
    headers = {"Retry-After": retry_after} if status in {429, 503} else {}
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return web.json_response({"error": error}, status=status, headers=headers)


@dataclass(frozen=True)
class ModelServer:
    """A running server."""

    port: int

    @property
    def base_url(self) -> str:
        """Up to and including ``/v1``."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def seen(self) -> Seen:
        """What it has observed."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}/control") as response,
        ):
            return Seen(**await response.json())

    async def until(self, condition: Callable[[Seen], bool]) -> Seen:
        """Waits until the server has seen something; the test's own time limit bounds it."""
        while True:
            seen = await self.seen()
            if condition(seen):
                return seen

    async def reset(self) -> None:
        """Forgets what was seen and which failures were shown, so that tests can share a server."""
        await self._command("reset")

    async def release(self) -> None:
        """Lets the answers of the model ``held`` go on."""
        await self._command("release")

    async def _command(self, name: str) -> None:
        url = f"http://127.0.0.1:{self.port}/control/{name}"
        async with aiohttp.ClientSession() as session, session.post(url):
            pass


@contextlib.contextmanager
def running_model_server(listing: str = "ok") -> Generator[ModelServer]:
    """Starts a server in a process of its own, and ends it."""
    with running_server("tests.servers.model_server", listing) as port:
        yield ModelServer(port)


if __name__ == "__main__":
    asyncio.run(serve(OpenAiScript(sys.argv[1]).app()))
