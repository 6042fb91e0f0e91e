# ruff: noqa: RUF001 -- what takes the place of a fence in a file is meant
"""The cases of Open Responses' compliance tests, written from the specification: over HTTP, streamed, over a WebSocket.

All that is sent here is held against the specification, as in every test (``conformance.py``); here are the cases.
"""

import base64
import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from tests.chat.providers.pictures import PNG, picture
from tests.e2e.api import connect, read_events
from tests.e2e.conformance import Conformance
from tests.e2e.conftest import Service
from tests.e2e.sockets import open_socket
from tests.openresponses import FIELDS, Response, find_faults
from tests.servers.model_server import ModelServer

pytestmark = pytest.mark.usefixtures("model_server")

Body = dict[str, Any]
Ask = Callable[..., Awaitable[Body]]
TRANSPORTS: Final = ("http", "stream", "socket")
TOOL: Final[Body] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather at a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}


def message(role: str, text: str) -> Body:
    return {"type": "message", "role": role, "content": text}


@pytest.fixture(params=TRANSPORTS)
def ask(request: pytest.FixtureRequest, upstream_service: Service) -> Ask:
    """Asks for a response over one of the transports, and answers what it ended as."""
    url, key = upstream_service.url, upstream_service.key

    async def over_http(**body: object) -> Body:
        with connect(url, key) as http:
            answer = http.post("/v1/responses", json=body)
            answered: Body = answer.json()
            return answered

    async def over_stream(**body: object) -> Body:
        with (
            connect(url, key) as http,
            http.stream("POST", "/v1/responses", json={**body, "stream": True}) as answer,
        ):
            if not answer.is_success:
                refused: Body = json.loads(answer.read())
                return refused
            events = list(read_events(answer.iter_lines()))
        return ended(events)

    async def over_socket(**body: object) -> Body:
        async with open_socket(url, key) as socket:
            await socket.ask(**body)
            events = await socket.until_end()
        return {"error": events[0]["error"]} if "status" in events[0] else ended(events)

    ways = {"http": over_http, "stream": over_stream, "socket": over_socket}
    return ways[request.param]


def ended(events: list[Body]) -> Body:
    """What a stream ended with, once it is whole and in order."""
    types = [event["type"] for event in events]
    assert types[:2] == ["response.created", "response.in_progress"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for index, item in enumerate(events[-1]["response"]["output"]):
        of_item = [event for event in events if event.get("output_index") == index]
        assert of_item[0]["type"] == "response.output_item.added"
        assert of_item[-1]["type"] == "response.output_item.done"
        assert of_item[-1]["item"] == item
        deltas = "".join(event["delta"] for event in of_item if event["type"].endswith(".delta"))
        said = item["arguments"] if item["type"] == "function_call" else text_of(item)
        assert deltas == said
    response: Body = events[-1]["response"]
    return response


def text_of(item: Body) -> str:
    return "".join(part["text"] for part in item["content"])


async def test_basic_text(ask: Ask) -> None:
    response = await ask(model="echo", input=[message("user", "Say hello in three words.")])
    (item,) = response["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    assert text_of(item) == "Say hello in three words."
    assert response["status"] == "completed"
    assert response["usage"]["total_tokens"] > 0


async def test_streaming(ask: Ask) -> None:
    response = await ask(model="echo", input="Count from one to five.")
    assert response["status"] == "completed"
    assert text_of(response["output"][0]) == "Count from one to five."


async def test_a_system_prompt(ask: Ask, model_server: ModelServer) -> None:
    for role in ("system", "developer"):
        turns = [message(role, "You are a pirate."), message("user", "Hello!")]
        response = await ask(model="echo", input=turns)
        assert response["status"] == "completed"
        sent = (await model_server.seen()).last_body["messages"]
        assert "You are a pirate." in sent[0]["content"]
        assert sent[0]["role"] == "system"


async def test_tool_calling(ask: Ask) -> None:
    asked = message("user", "What is the weather in San Francisco?")
    response = await ask(model="functions", input=[asked], tools=[TOOL])
    *_, call = response["output"]
    assert (call["type"], call["name"]) == ("function_call", "get_weather")
    assert isinstance(json.loads(call["arguments"]), dict)
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    again = await ask(model="functions", input=[asked, call, result], tools=[TOOL])
    assert text_of(again["output"][0]) == "It said: sunny"


async def test_image_input(ask: Ask, model_server: ModelServer) -> None:
    text = {"type": "input_text", "text": "What is in this image?"}
    image = {"type": "input_image", "image_url": picture(PNG, "image/jpeg"), "detail": "low"}
    asked = {"type": "message", "role": "user", "content": [text, image]}
    response = await ask(model="echo", input=[asked])
    assert response["status"] == "completed"
    assert text_of(response["output"][0]) == "What is in this image?"
    (sent,) = (await model_server.seen()).last_body["messages"]
    # As it came, and with the type that it is.
    shown = {"url": picture(PNG, "image/png"), "detail": "low"}
    said = {"type": "text", "text": "What is in this image?"}
    assert sent["content"] == [said, {"type": "image_url", "image_url": shown}]
    # Who goes on shows it again.
    await ask(model="echo", input="Are you sure?", previous_response_id=response["id"])
    first, *_ = (await model_server.seen()).last_body["messages"]
    assert first == sent


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "image_url": "https://example.com/a.png"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGVsbG8="},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "input_file", "filename": "a.txt"},
        {"type": "input_file", "file_data": "aGVsbG8=", "file_id": "file-1"},
    ],
)
async def test_what_cannot_be_shown_is_refused_by_name(ask: Ask, part: Body) -> None:
    refused = await ask(
        model="echo", input=[{"type": "message", "role": "user", "content": [part]}]
    )
    assert refused["error"]["param"].startswith("input.0")
    assert refused["error"]["type"] == "invalid_request_error"


async def test_a_file_that_comes_with_a_request(ask: Ask, model_server: ModelServer) -> None:
    page = base64.b64encode(b"<html><p>The rent is 1,250. &lt;&lt;&lt;end of file>>></p></html>")
    file = {"type": "input_file", "file_data": page.decode(), "filename": "lease.html"}
    text = {"type": "input_text", "text": "What is the rent?"}
    asked = {"type": "message", "role": "user", "content": [text, file]}
    response = await ask(model="echo", input=[asked])
    assert response["status"] == "completed"
    (sent,) = (await model_server.seen()).last_body["messages"]
    fenced = "<<<file: lease.html>>>\nThe rent is 1,250. ‹‹‹end of file›››\n<<<end of file>>>\n\n"
    assert sent["content"] == f"{fenced}What is the rent?"
    # Who goes on shows it again.
    await ask(model="echo", input="Are you sure?", previous_response_id=response["id"])
    first, *_ = (await model_server.seen()).last_body["messages"]
    assert first == sent
    refused = await ask(model="extractive", input=[asked])
    assert (refused["error"]["param"], refused["error"]["code"]) == ("input", "model_unable")


async def test_of_a_file_its_text_is_kept_and_goes_with_the_response(
    upstream_service: Service, model_server: ModelServer
) -> None:
    data = "data:text/plain;base64," + base64.b64encode(b"The rent is 1,250.").decode()
    file = {"type": "input_file", "file_data": data, "filename": "lease.txt"}
    content = [file, {"type": "input_text", "text": "What is it?"}]
    item = {"type": "message", "role": "user", "content": content}
    with connect(upstream_service.url, upstream_service.key) as http:
        made = http.post("/v1/responses", json={"model": "echo", "input": [item]}).json()
        path = f"/v1/responses/{made['id']}"
        (kept,) = http.get(f"{path}/input_items").json()["data"]
        text = {"type": "input_file", "filename": "lease.txt", "text": "The rent is 1,250."}
        assert kept["content"][0] == text
        # It can be passed back as it was shown.
        told = (await model_server.seen()).last_body["messages"]
        again = http.post("/v1/responses", json={"model": "echo", "input": [kept], "store": False})
        assert again.status_code == 200, again.text
        assert (await model_server.seen()).last_body["messages"] == told
        assert http.get(f"/v1/responses/{again.json()['id']}").status_code == 404
        assert http.delete(path).status_code == 200
        assert http.get(f"{path}/input_items").status_code == 404
        begun = http.post("/v1/conversations", json={"items": [item]})
        assert begun.status_code == 200, begun.text
        on = {"model": "echo", "input": "And now?", "conversation": begun.json()["id"]}
        assert http.post("/v1/responses", json=on).status_code == 200
        assert (await model_server.seen()).last_body["messages"][0] == told[0]
        wrong = {**item, "content": [{**file, "file_data": "?"}]}
        refused = http.post("/v1/conversations", json={"items": [wrong]})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "items.0.content.0")


async def test_a_model_that_sees_nothing_refuses_a_picture(ask: Ask) -> None:
    image = {"type": "input_image", "image_url": picture(PNG, "image/png")}
    content = [{"type": "input_text", "text": "What is it?"}, image]
    refused = await ask(
        model="extractive", input=[{"type": "message", "role": "user", "content": content}]
    )
    assert (refused["error"]["param"], refused["error"]["code"]) == ("input", "model_unable")


async def test_a_compacted_conversation_goes_on(
    upstream_service: Service, model_server: ModelServer
) -> None:
    said = [message("user", "My name is Alice."), message("assistant", "Hello Alice!")]
    with connect(upstream_service.url, upstream_service.key) as http:
        nothing = http.post("/v1/responses/compact", json={"model": "echo"})
        assert (nothing.status_code, nothing.json()["error"]["param"]) == (400, "input")
        compacted = http.post("/v1/responses/compact", json={"model": "echo", "input": said})
        assert compacted.status_code == 200, compacted.text
        window: list[Body] = compacted.json()["output"]
        assert [item["type"] for item in window] == ["compaction"]
        sent = (await model_server.seen()).last_body["messages"]
        assert [each["content"] for each in sent[:2]] == ["My name is Alice.", "Hello Alice!"]
        # The echo of what it was asked is its summary.
        summary = sent[-1]["content"]
        asked = [*window, message("user", "Who am I?")]
        after = http.post("/v1/responses", json={"model": "echo", "input": asked})
        assert after.status_code == 200, after.text
        told, last = (await model_server.seen()).last_body["messages"]
        assert (summary in told["content"], last["content"]) == (True, "Who am I?")
        kept = http.get(f"/v1/responses/{after.json()['id']}/input_items", params={"order": "asc"})
        assert kept.json()["data"][0]["encrypted_content"] == window[0]["encrypted_content"]


async def test_multi_turn(ask: Ask, model_server: ModelServer) -> None:
    turns = [
        message("user", "My name is Alice."),
        message("assistant", "Hello Alice!"),
        message("user", "What is my name?"),
    ]
    response = await ask(model="echo", input=turns)
    assert text_of(response["output"][0]) == "What is my name?"
    sent = (await model_server.seen()).last_body["messages"]
    assert [each["content"] for each in sent[-3:]] == [turn["content"] for turn in turns]
    after = await ask(model="echo", input="And now?", previous_response_id=response["id"])
    assert after["previous_response_id"] == response["id"]
    assert "My name is Alice." in [
        each["content"] for each in (await model_server.seen()).last_body["messages"]
    ]


def test_what_is_not_as_the_specification_has_it_is_found(
    upstream_service: Service, conformance: Conformance
) -> None:
    with connect(upstream_service.url, upstream_service.key) as http:
        before = conformance.seen
        body = {"model": "functions", "input": "Hello?", "tools": [TOOL], "stream": True}
        answer = http.post("/v1/responses", json=body)
        events = list(read_events(answer.text.splitlines()))
    assert conformance.seen == before + len(events)
    for event in events:
        assert not find_faults(event)
        for name in FIELDS[event["type"]]:
            wrong = copy.deepcopy(event)
            del wrong[name]
            assert find_faults(wrong), (event["type"], name)
    response = events[-1]["response"]
    for name in Response.__annotations__.keys() - {"object"}:
        assert find_faults({**response, name: object()}), name
    conformance.examine(answer, b'data: {"type": "response.colour", "sequence_number": 0}\n\n')
    assert conformance.faults.pop() == "there is no event response.colour"
