"""Responses beyond text, with the unmodified `openai` SDK and a model server of the operator's own."""

import json
from typing import Any, Final

import openai
import pytest
from openai import AsyncOpenAI

from tests.servers.model_server import ModelServer

QUESTION: Final = "What is the weather like in the harbour?"
TOOLS: Final[Any] = [
    {"type": "function", "name": name, "parameters": {"type": "object"}, "strict": False}
    for name in ("weather", "tides")
]
SCHEMA: Final[Any] = {
    "type": "json_schema",
    "name": "colour",
    "schema": {"type": "object", "required": ["colour"]},
}


pytestmark = pytest.mark.usefixtures("model_server")


def calls_of(response: Any) -> list[Any]:  # noqa: ANN401 - the SDK's models are unions of many
    return [item for item in response.output if item.type == "function_call"]


async def test_calls_are_asked_for_made_by_the_client_and_answered(sdk: AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="functions", input=QUESTION, tools=TOOLS)
    assert first.status == "completed"
    assert first.output_text == "Let me look."
    calls = calls_of(first)
    assert [call.name for call in calls] == ["weather", "tides"]
    assert [json.loads(call.arguments) for call in calls] == [{"asked": QUESTION}] * 2
    assert {call.status for call in calls} == {"completed"}
    assert [tool.name for tool in first.tools if tool.type == "function"] == ["weather", "tides"]
    assert (await sdk.responses.retrieve(first.id)).output == first.output

    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"fine {call.name}"}
        for call in calls
    ]
    conversation: Any = [
        {"role": "user", "content": QUESTION},
        *(item.model_dump(exclude_none=True) for item in first.output),
        *results,
    ]
    second = await sdk.responses.create(model="functions", input=conversation, tools=TOOLS)
    assert second.output_text == "It said: fine weather, fine tides"
    assert not calls_of(second)


async def test_calls_stream_and_are_told_again_as_they_were(sdk: AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model="functions", input=QUESTION, tools=TOOLS, stream=True)
    events: list[Any] = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    added = [e.item for e in events if e.type == "response.output_item.added"]
    calls = [item for item in added if item.type == "function_call"]
    assert [(call.name, call.arguments, call.status) for call in calls] == [
        ("weather", "", "in_progress"),
        ("tides", "", "in_progress"),
    ]
    done = {e.item_id: e.arguments for e in events if e.type.endswith("arguments.done")}
    for call in calls:
        pieces = [e.delta for e in events if _is_piece_of(e, call.id)]
        assert len(pieces) > 3
        assert json.loads("".join(pieces)) == json.loads(done[call.id]) == {"asked": QUESTION}
    final = events[-1].response
    assert events[-1].type == "response.completed"
    assert [call.arguments for call in calls_of(final)] == list(done.values())


def _is_piece_of(event: Any, item_id: str) -> bool:  # noqa: ANN401 - as above
    return event.type == "response.function_call_arguments.delta" and event.item_id == item_id


async def test_the_choice_of_tools_is_obeyed(sdk: AsyncOpenAI, model_server: ModelServer) -> None:
    named: Any = {"type": "function", "name": "tides"}
    one = await sdk.responses.create(
        model="functions", input=QUESTION, tools=TOOLS, tool_choice=named
    )
    assert [call.name for call in calls_of(one)] == ["tides"]
    assert one.tool_choice.model_dump() == named  # pyright: ignore[reportAttributeAccessIssue]
    await sdk.responses.create(
        model="functions", input=QUESTION, tools=TOOLS, parallel_tool_calls=False
    )
    assert (await model_server.seen()).last_body["parallel_tool_calls"] is False


async def test_a_call_that_breaks_off_fails_the_response_and_shows_how_far_it_came(
    sdk: AsyncOpenAI,
) -> None:
    stream = await sdk.responses.create(model="call-cut", input=QUESTION, tools=TOOLS, stream=True)
    events = aiter(stream)
    created: Any = await anext(events)
    with pytest.raises(openai.APIError, match="cut the connection"):
        [event async for event in events]
    kept = await sdk.responses.retrieve(created.response.id)
    assert kept.status == "failed"
    (call,) = calls_of(kept)
    assert (call.arguments, call.status) == ('{"as', "incomplete")


async def test_json_comes_as_json(sdk: AsyncOpenAI) -> None:
    forms: list[Any] = [{"type": "json_object"}, SCHEMA]
    for form in forms:
        answer = await sdk.responses.create(model="formed", input=QUESTION, text={"format": form})
        assert json.loads(answer.output_text) == {"colour": "blue"}
        assert answer.text is not None
        assert answer.text.format is not None
        assert answer.text.format.type == form["type"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"tools": TOOLS}, "tools"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"tools": TOOLS * 2}, "tools"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
        (
            {
                "input": [
                    {"role": "user", "content": QUESTION},
                    {"type": "function_call_output", "call_id": "c", "output": "x"},
                ]
            },
            "input",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_built_in_model_or_nobody_can_do_is_refused_by_name(
    sdk: AsyncOpenAI, asked: dict[str, Any], param: str, stream: bool
) -> None:
    body: Any = {"model": "extractive", "input": QUESTION, **asked}
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(**body, stream=stream)
    assert refused.value.param == param
    assert "response_format" not in refused.value.message
