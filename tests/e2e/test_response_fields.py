"""Every field that Open Responses has in a request is honoured, or refused under its name."""

from collections.abc import Generator
from typing import Any, Final

import httpx2 as httpx
import pytest

from tests.e2e.api import connect
from tests.e2e.conftest import Service
from tests.servers.model_server import ModelServer

FIELDS: Final = (
    *("model", "input", "previous_response_id", "include", "tools", "tool_choice", "metadata"),
    *("text", "temperature", "top_p", "presence_penalty", "frequency_penalty"),
    *("parallel_tool_calls", "stream", "stream_options", "background", "max_output_tokens"),
    *("max_tool_calls", "reasoning", "safety_identifier", "prompt_cache_key", "truncation"),
    *("instructions", "store", "service_tier", "top_logprobs"),
)
"""The properties of ``CreateResponseBody`` of the specification."""

TOOL: Final = {"type": "function", "name": "look", "parameters": {"type": "object"}}
HONOURED: Final[dict[str, tuple[Any, Any]]] = {
    "model": ("echo", "echo"),
    "include": (["file_search_call.results"], None),
    "tools": ([TOOL], [{**TOOL, "description": None, "strict": None}]),
    "tool_choice": ("none", "none"),
    "metadata": ({"room": "blue"}, {"room": "blue"}),
    "text": (
        {"format": {"type": "json_object"}, "verbosity": "low"},
        {"format": {"type": "json_object"}, "verbosity": "low"},
    ),
    "temperature": (0.5, 0.5),
    "top_p": (0.5, 0.5),
    "presence_penalty": (0.5, 0.5),
    "frequency_penalty": (-0.5, -0.5),
    "parallel_tool_calls": (False, False),
    "background": (True, True),
    "max_output_tokens": (16, 16),
    "max_tool_calls": (1, 1),
    "reasoning": ({"effort": "low"}, {"effort": "low", "summary": None}),
    "safety_identifier": ("a", "a"),
    "prompt_cache_key": ("a", "a"),
    "truncation": ("auto", "auto"),
    "instructions": ("Be brief.", "Be brief."),
    "store": (False, False),
    "service_tier": ("default", "default"),
    "top_logprobs": (2, 2),
}
"""What is sent, and what the response repeats of it; None where it has no such field."""
SENT_ON: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_output_tokens": "max_tokens",
}
"""What the model's server is sent as well, under which name."""
REFUSED: Final[dict[str, Any]] = {
    "model": 1,
    "input": 1,
    "previous_response_id": 1,
    "include": ["computer_call_output.output.image_url"],
    "tools": [{"type": "web_search"}],
    "tool_choice": {"type": "allowed_tools", "tools": [], "mode": "auto"},
    "metadata": {"room": 1},
    "text": {"format": {"type": "xml"}},
    "temperature": 3,
    "top_p": 2,
    "presence_penalty": 3,
    "frequency_penalty": -3,
    "parallel_tool_calls": "often",
    "stream": "often",
    "stream_options": {"colour": "blue"},
    "background": "often",
    "max_output_tokens": 0,
    "max_tool_calls": 0,
    "reasoning": {"effort": "boundless"},
    "safety_identifier": "a" * 65,
    "prompt_cache_key": "a" * 65,
    "truncation": "middle",
    "instructions": 1,
    "store": "often",
    "service_tier": "flex",
    "top_logprobs": 21,
}


@pytest.fixture(scope="module")
def http(upstream_service: Service) -> Generator[httpx.Client]:
    with connect(upstream_service.url, upstream_service.key) as client:
        yield client


def send(http: httpx.Client, **fields: object) -> httpx.Response:
    return http.post("/v1/responses", json={"model": "echo", "input": "Where is it?", **fields})


def test_no_field_is_forgotten() -> None:
    elsewhere = {"input", "stream", "stream_options", "previous_response_id"}
    assert set(FIELDS) == HONOURED.keys() | elsewhere
    assert set(FIELDS) == REFUSED.keys()


@pytest.mark.parametrize("field", HONOURED)
async def test_it_is_honoured_and_told_again(
    http: httpx.Client, model_server: ModelServer, field: str
) -> None:
    sent, repeated = HONOURED[field]
    answer = send(http, **{"model": "formed" if field == "text" else "echo", field: sent})
    assert answer.status_code == 200, answer.text
    if repeated is not None:
        assert answer.json()[field] == repeated
    if field in SENT_ON:
        assert (await model_server.seen()).last_body[SENT_ON[field]] == sent


def test_how_likely_tokens_were_is_shown_where_it_is_asked_for(http: httpx.Client) -> None:
    def shown(**fields: object) -> list[dict[str, Any]]:
        answer = send(http, model="likely", **fields)
        assert answer.status_code == 200, answer.text
        part: dict[str, Any] = answer.json()["output"][0]["content"][0]
        return part["logprobs"]

    assert shown() == []
    include = ["message.output_text.logprobs"]
    assert [len(each["top_logprobs"]) for each in shown(include=include)] == [0, 0, 0]
    assert [len(each["top_logprobs"]) for each in shown(top_logprobs=2)] == [2, 2, 2]


def test_what_the_model_does_not_take_is_refused_under_its_name(http: httpx.Client) -> None:
    for field, value, param, told in (
        ("text", {"verbosity": "low"}, "text.verbosity", "'text.verbosity'"),
        ("text", {"format": {"type": "json_object"}}, "text.format", "'text.format'"),
        ("reasoning", {"effort": "low"}, "reasoning.effort", "'reasoning.effort'"),
        ("include", ["message.output_text.logprobs"], "include", "'logprobs'"),
    ):
        answer = send(http, **{"model": "extractive", field: value})
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("model_unable", param)
        assert told in error["message"]


@pytest.mark.parametrize("chat", ["new", "begun"])
@pytest.mark.parametrize(
    ("option", "param"),
    [
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
    ],
)
def test_chats_of_the_ai_sdk_name_them_alike(
    http: httpx.Client, chat: str, option: dict[str, Any], param: str
) -> None:
    said = {"id": "one", "role": "user", "parts": [{"type": "text", "text": "Where is it?"}]}
    body = {"id": f"{chat}-{param}", "trigger": "submit-message", "messages": [said]}
    if chat == "begun":
        assert http.post("/v1/ui/chat", json={**body, "model": "echo"}).is_success
        body["messages"] = [{**said, "id": "two"}]
    answer = http.post("/v1/ui/chat", json={**body, "model": "extractive", **option})
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("model_unable", param)


def test_streams_come_as_events(http: httpx.Client) -> None:
    answer = send(http, stream=True, stream_options={"include_obfuscation": False})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("field", FIELDS)
def test_what_is_not_taken_is_refused_under_its_name(http: httpx.Client, field: str) -> None:
    answer = send(http, **{field: REFUSED[field]})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].split(".")[0] == field


def test_what_there_is_not_is_refused_under_its_name(http: httpx.Client) -> None:
    for field in ("prompt", "colour"):
        answer = send(http, **{field: {"id": "a"}})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].split(".")[0] == field
