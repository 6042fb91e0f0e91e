"""A model server of the operator's own: its models are offered, its failures are told, and it is not kept waiting."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final

import httpx2 as httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.conftest import Service
from tests.servers.model_server import KEY, ModelServer, Seen

QUESTION: Final = "What do the lamps of the north pier say?"
CUT: Final = ("cut", "end-early", "error-midway", "garbage")
"""Models whose answer breaks off."""


@pytest.fixture
async def http(upstream_service: Service) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=f"{upstream_service.url}/v1",
        headers={"Authorization": f"Bearer {upstream_service.key}"},
        timeout=60,
    ) as client:
        yield client


async def payloads(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[str]:
    """The data of each event of a stream."""
    async with http.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200
        lines = [line async for line in answer.aiter_lines()]
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


async def response_events(http: httpx.AsyncClient, model: str) -> list[dict[str, Any]]:
    """The events of a response, which must end with ``[DONE]`` and be numbered without gaps."""
    *events, done = await payloads(http, "/responses", {"model": model, "input": QUESTION})
    assert done == "[DONE]"
    parsed = [json.loads(event) for event in events]
    assert [event["sequence_number"] for event in parsed] == list(range(len(parsed)))
    return parsed


async def test_its_models_stand_beside_the_built_in_ones(
    sdk: AsyncOpenAI, model_server: ModelServer
) -> None:
    del model_server
    owners = {model.id: model.owned_by for model in (await sdk.models.list()).data}
    assert {"echo", "extractive", "smollm2-135m-instruct", "all-minilm-l6-v2"} <= set(owners)
    assert owners["echo"] != owners["extractive"]
    assert (await sdk.models.retrieve("echo")).id == "echo"


async def test_the_sdk_streams_through_it(sdk: AsyncOpenAI, model_server: ModelServer) -> None:
    chat = await sdk.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": QUESTION}], stream=True
    )
    chunks = [chunk async for chunk in chat]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == QUESTION
    assert chunks[-1].choices[0].finish_reason == "stop"

    events = [
        event
        async for event in await sdk.responses.create(model="echo", input=QUESTION, stream=True)
    ]
    last: Any = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == QUESTION
    assert last.response.usage.output_tokens == len(QUESTION.split())

    seen = await model_server.seen()
    assert set(seen.authorizations) == {f"Bearer {KEY}"}


async def test_a_failure_before_the_first_token_is_an_http_error_or_an_error_event(
    sdk: AsyncOpenAI, http: httpx.AsyncClient, model_server: ModelServer
) -> None:
    del model_server
    messages: Any = [{"role": "user", "content": QUESTION}]
    for model, expected in (("500", 502), ("404", 404), ("429", 429)):
        for path, body in (
            ("/responses", {"input": QUESTION}),
            ("/chat/completions", {"messages": messages}),
        ):
            whole = await http.post(path, json={"model": model, **body})
            assert whole.status_code == expected, whole.text
            assert whole.json()["error"]["message"]
            assert KEY not in whole.text
    assert (await http.post("/responses", json={"model": "429", "input": "Hi"})).headers[
        "Retry-After"
    ]

    events = await response_events(http, "500")
    types = [event["type"] for event in events]
    assert types[-2:] == ["error", "response.failed"]
    assert not any("delta" in name for name in types)
    with pytest.raises(openai.APIError) as failed:
        async for _ in await sdk.chat.completions.create(
            model="500", messages=messages, stream=True
        ):
            pass
    assert "upstream" in failed.value.message


@pytest.mark.parametrize("model", CUT)
async def test_a_break_in_mid_stream_is_never_a_silent_end(
    http: httpx.AsyncClient, model_server: ModelServer, model: str
) -> None:
    del model_server
    *_, error, failed = await response_events(http, model)
    assert error["type"] == "error"
    assert error["message"]
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert KEY not in json.dumps([error, failed])
    kept = await http.get(f"/responses/{failed['response']['id']}")
    assert kept.json() == failed["response"]

    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}
    *chunks, told, done = await payloads(http, "/chat/completions", body)
    assert done == "[DONE]"
    assert json.loads(told)["error"]["code"] == "upstream_broken_off"
    assert not any(json.loads(chunk)["choices"][0]["finish_reason"] for chunk in chunks)


async def test_whoever_leaves_a_stream_ends_the_generation(
    sdk: AsyncOpenAI, model_server: ModelServer
) -> None:
    stream = await sdk.responses.create(model="stall", input=QUESTION, stream=True)
    response_id = ""
    async for event in stream:
        if event.type == "response.created":
            response_id = event.response.id
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await model_server.until(lambda seen: seen.cancelled == 1 and seen.running == 0)
    kept = await finished(sdk, response_id)
    assert kept.status == "cancelled"
    assert kept.output_text == "one"


async def test_whoever_leaves_while_waiting_for_a_whole_answer_ends_it_too(
    sdk: AsyncOpenAI, model_server: ModelServer
) -> None:
    messages: Any = [{"role": "user", "content": QUESTION}]
    ways: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
        lambda: sdk.responses.create(model="stall", input=QUESTION),
        lambda: sdk.chat.completions.create(model="stall", messages=messages),
    )
    for number, ask in enumerate(ways, 1):
        waiting = asyncio.create_task(ask())
        await model_server.until(lambda seen: seen.running > 0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        await model_server.until(_ended(number))


async def test_its_key_is_in_no_log(
    http: httpx.AsyncClient, model_server: ModelServer, upstream_service: Service
) -> None:
    for model in ("echo", "400", "403", "500", *CUT):
        await payloads(http, "/responses", {"model": model, "input": QUESTION})
    assert (await model_server.seen()).requests >= 4
    log = upstream_service.log()
    assert '"route": "/v1/responses"' in log
    assert KEY not in log
    assert upstream_service.key not in log


async def test_a_server_that_is_down_is_named_and_the_rest_goes_on(
    configured_service: Service,
) -> None:
    async with httpx.AsyncClient(
        base_url=f"{configured_service.url}/v1",
        headers={"Authorization": f"Bearer {configured_service.key}"},
        timeout=60,
    ) as http:
        listed = (await http.get("/models")).json()
        assert "extractive" in {model["id"] for model in listed["data"]}
        assert listed["undercroft"]["unavailable"] == ["down"]
        body = {"model": "extractive", "input": QUESTION}
        assert (await http.post("/responses", json=body)).status_code == 200
        unknown = await http.post("/responses", json={"model": "theirs", "input": QUESTION})
    assert unknown.status_code == 503
    assert "'down'" in unknown.json()["error"]["message"]
    assert unknown.headers["Retry-After"]


async def finished(sdk: AsyncOpenAI, response_id: str) -> Any:  # noqa: ANN401 - the SDK's models have no extensions
    """A kept response once it is no longer in progress; the test's own time limit bounds the wait."""
    while True:
        kept = await sdk.responses.retrieve(response_id)
        if kept.status != "in_progress":
            return kept


def _ended(requests: int) -> Callable[[Seen], bool]:
    return lambda seen: seen.cancelled == requests and seen.running == 0
