"""A chat completion with an idempotency key is made once: whoever asks again gets it, as it is or as it was."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2 as httpx
import pytest

from tests.e2e.conftest import Service, make_key, start_service, stop_service
from tests.e2e.sockets import DEADLINE
from tests.e2e.test_functions_chat import TOOLS
from tests.servers.model_server import KEY, ModelServer

PATH: Final = "/v1/chat/completions"
ECHO: Final[dict[str, Any]] = {
    "model": "echo",
    "messages": [{"role": "user", "content": "So it is, word for word."}],
}
BODIES: Final[dict[str, dict[str, Any]]] = {
    "text": ECHO,
    "choices": {**ECHO, "n": 3},
    "cut": {**ECHO, "max_completion_tokens": 2},
    "functions": {**ECHO, "model": "functions", "tools": TOOLS},
    "logprobs": {**ECHO, "model": "likely", "logprobs": True, "top_logprobs": 2},
}


def keyed(key: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid4())}


def client_of(service: Service) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {service.key}"}
    return httpx.AsyncClient(base_url=service.url, headers=headers, timeout=DEADLINE)


def chunks_of(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]", answer.text
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def put_together(chunks: list[dict[str, Any]]) -> dict[int, Any]:
    """What the choices of a stream say, however it was cut into chunks."""
    said: dict[int, Any] = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        whole = said.setdefault(choice["index"], ["", {}, [], None])
        whole[0] += choice["delta"].get("content") or ""
        for call in choice["delta"].get("tool_calls", ()):
            named = whole[1].setdefault(call["index"], [call["function"].get("name"), ""])
            named[1] += call["function"]["arguments"]
        whole[2] += (choice["logprobs"] or {"content": []})["content"]
        whole[3] = choice["finish_reason"]
    return said


def plain(whole: dict[str, Any]) -> dict[str, Any]:
    """A completion without what is its own."""
    for choice in whole["choices"]:
        for number, call in enumerate(choice["message"].get("tool_calls") or ()):
            call["id"] = number
    return {**whole, "id": "", "created": 0}


@pytest.mark.parametrize("name", BODIES)
async def test_whoever_asks_again_gets_the_same_and_it_is_what_one_gets_without_a_key(
    upstream_service: Service, model_server: ModelServer, name: str
) -> None:
    body, key = BODIES[name], keyed()
    async with client_of(upstream_service) as http:
        without = await http.post(PATH, json=body)
        first = await http.post(PATH, json=body, headers=key)
        asked = (await model_server.seen()).requests
        again = await http.post(PATH, json=body, headers=key)
        assert first.status_code == 200, first.text
        assert again.content == first.content
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        assert plain(first.json()) == plain(without.json())
        assert (await model_server.seen()).requests == asked

        streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
        other = await http.post(PATH, json=streamed, headers=key)
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
        key = keyed()
        without = await http.post(PATH, json=streamed)
        first = await http.post(PATH, json=streamed, headers=key)
        again = await http.post(PATH, json=streamed, headers=key)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content or body.get("n")
    assert chunks_of(again)[0]["id"] == chunks_of(first)[0]["id"]
    assert put_together(chunks_of(again)) == put_together(chunks_of(first))
    assert put_together(chunks_of(first)) == put_together(chunks_of(without))
    assert chunks_of(first)[-1]["usage"] == chunks_of(without)[-1]["usage"]


async def test_a_retry_attaches_to_what_is_being_made_and_no_model_is_asked_twice(
    upstream_service: Service, model_server: ModelServer
) -> None:
    body, key = {**ECHO, "model": "held", "stream": True}, keyed()
    async with client_of(upstream_service) as http, asyncio.timeout(DEADLINE):
        sent = [asyncio.create_task(http.post(PATH, json=body, headers=key)) for _ in range(4)]
        await model_server.until(lambda seen: seen.requests > 0)
        sent.append(asyncio.create_task(http.post(PATH, json=body, headers=key)))
        answers = []
        # One that comes in the very moment of the first is told to come again.
        while any(not task.done() for task in sent):
            await model_server.release()
            answers = [task.result() for task in (await asyncio.wait(sent))[0]]
        assert (await model_server.seen()).requests == 1
    made = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(made) > 1
    assert len({answer.content for answer in made}) == 1
    assert put_together(chunks_of(made[0]))[0][0] == "first second"


async def test_what_nobody_waited_for_is_told_to_have_been_ended(
    upstream_service: Service, model_server: ModelServer
) -> None:
    body, key = {**ECHO, "model": "stall", "stream": True}, keyed()
    async with client_of(upstream_service) as http:
        async with http.stream("POST", PATH, json=body, headers=key) as answer:
            async for line in answer.aiter_lines():
                if '"one"' in line:
                    break
        await model_server.until(lambda seen: seen.cancelled == 1)
        again = await http.post(PATH, json=body, headers=key)
    *said, error = chunks_of(again)
    assert put_together(said)[0][0] == "one"
    assert error["error"]["code"] == "completion_cancelled"


async def test_what_failed_has_failed(upstream_service: Service, model_server: ModelServer) -> None:
    body, key = {**ECHO, "model": "400"}, keyed()
    async with client_of(upstream_service) as http:
        first = await http.post(PATH, json=body, headers=key)
        asked = (await model_server.seen()).requests
        again = await http.post(PATH, json=body, headers=key)
    assert (await model_server.seen()).requests == asked
    assert again.status_code == first.status_code
    assert again.json() == first.json()


@pytest.mark.slow
async def test_a_retry_after_kill_9_gets_what_another_process_makes(
    upstream: ModelServer, tmp_path: Path
) -> None:
    await upstream.reset()
    data_dir = tmp_path / "data"
    settings = {"UNDERCROFT_UPSTREAM_URL": upstream.base_url, "UNDERCROFT_UPSTREAM_KEY": KEY}
    process, url = start_service(data_dir, settings)
    api_key = make_key(data_dir, "main", "main@example.org")
    body, key = {**ECHO, "model": "slow-start"}, keyed()
    headers = {"Authorization": f"Bearer {api_key}", **key}
    async with httpx.AsyncClient(timeout=DEADLINE, headers=headers) as http:
        lost = asyncio.create_task(http.post(url + PATH, json=body))
        await upstream.until(lambda seen: seen.requests == 1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(httpx.HTTPError):
            await lost
        process, url = start_service(data_dir, settings)
        try:
            again = await http.post(url + PATH, json=body)
            assert again.headers["idempotency-replayed"] == "true"
            assert again.json()["choices"][0]["message"]["content"] == "ready"
            third = await http.post(url + PATH, json=body)
            assert third.content == again.content
            usage = (await http.get(f"{url}/v1/usage/daily")).json()["data"]
            assert [day["requests"] for day in usage] == [1]
        finally:
            stop_service(process)
