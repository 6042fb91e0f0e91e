"""Chat completions beyond text, with the unmodified `openai` SDK and a model server of the operator's own."""

import base64
import json
from typing import Any, Final

import openai
import pytest
from openai import AsyncOpenAI

from tests.chat.providers.pictures import PNG, picture
from tests.servers.model_server import ModelServer

QUESTION: Final = "What is the weather like in the harbour?"


def function(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"asked": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS: Final[Any] = [function("weather"), function("tides")]
ASKED: Final[Any] = [{"role": "user", "content": QUESTION}]
SCHEMA: Final[Any] = {
    "type": "json_schema",
    "json_schema": {"name": "colour", "schema": {"type": "object", "required": ["colour"]}},
}


pytestmark = pytest.mark.usefixtures("model_server")


async def test_calls_are_asked_for_made_by_the_client_and_answered(sdk: AsyncOpenAI) -> None:
    first = await sdk.chat.completions.create(model="functions", messages=ASKED, tools=TOOLS)
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me look."
    calls: Any = choice.message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "tides"]
    assert json.loads(calls[0].function.arguments) == {"asked": QUESTION}

    results: list[Any] = [
        {"role": "tool", "tool_call_id": call.id, "content": f"fine {call.function.name}"}
        for call in calls
    ]
    message: Any = choice.message.model_dump()
    second = await sdk.chat.completions.create(
        model="functions",
        messages=[*ASKED, message, *results],
        tools=TOOLS,
    )
    assert second.choices[0].message.content == "It said: fine weather, fine tides"
    assert second.choices[0].message.tool_calls is None
    assert second.choices[0].finish_reason == "stop"


async def test_calls_stream_as_the_sdk_puts_them_together(sdk: AsyncOpenAI) -> None:
    async with sdk.chat.completions.stream(
        model="functions",
        messages=ASKED,
        tools=TOOLS,
        stream_options={"include_usage": True},
    ) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()
    done: list[Any] = [e for e in events if e.type == "tool_calls.function.arguments.done"]
    assert [event.name for event in done] == ["weather", "tides"]
    assert [json.loads(event.arguments) for event in done] == [{"asked": QUESTION}] * 2
    assert len([e for e in events if e.type == "tool_calls.function.arguments.delta"]) > 8
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.content == "Let me look."
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (9, 7)


async def test_the_choice_of_tools_is_obeyed(sdk: AsyncOpenAI, model_server: ModelServer) -> None:
    named: Any = {"type": "function", "function": {"name": "tides"}}
    one: Any = await sdk.chat.completions.create(
        model="functions", messages=ASKED, tools=TOOLS, tool_choice=named
    )
    assert [call.function.name for call in one.choices[0].message.tool_calls] == ["tides"]
    none = await sdk.chat.completions.create(
        model="functions", messages=ASKED, tools=TOOLS, tool_choice="none"
    )
    assert none.choices[0].message.tool_calls is None
    await sdk.chat.completions.create(
        model="functions", messages=ASKED, tools=TOOLS, tool_choice="required"
    )
    assert (await model_server.seen()).last_body["tool_choice"] == "required"
    single: Any = await sdk.chat.completions.create(
        model="functions", messages=ASKED, tools=TOOLS, parallel_tool_calls=False
    )
    assert len(single.choices[0].message.tool_calls) == 1


async def test_json_comes_as_json(sdk: AsyncOpenAI) -> None:
    forms: list[Any] = [{"type": "json_object"}, SCHEMA]
    for form in forms:
        answer = await sdk.chat.completions.create(
            model="formed", messages=ASKED, response_format=form
        )
        assert json.loads(answer.choices[0].message.content or "") == {"colour": "blue"}
    plain = await sdk.chat.completions.create(
        model="formed", messages=ASKED, response_format={"type": "text"}
    )
    assert plain.choices[0].message.content == "plain words"


async def test_several_choices_are_told_apart(sdk: AsyncOpenAI, model_server: ModelServer) -> None:
    whole = await sdk.chat.completions.create(model="echo", messages=ASKED, n=2, seed=1)
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert [choice.message.content for choice in whole.choices] == [QUESTION, QUESTION]
    words = len(QUESTION.split())
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (2 * words, 2 * words)
    assert (await model_server.seen()).requests == 2

    texts = ["", "", ""]
    ends = list[int]()
    stream = await sdk.chat.completions.create(model="echo", messages=ASKED, n=3, stream=True)
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                ends.append(choice.index)
    assert texts == [QUESTION] * 3
    assert sorted(ends) == [0, 1, 2]


async def test_whoever_leaves_ends_all_choices(sdk: AsyncOpenAI, model_server: ModelServer) -> None:
    stream = await sdk.chat.completions.create(model="endless", messages=ASKED, n=3, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await model_server.until(lambda seen: seen.requests == 3)
    await stream.close()
    await model_server.until(lambda seen: seen.cancelled == 3 and seen.running == 0)


async def test_a_choice_that_fails_fails_all(sdk: AsyncOpenAI, model_server: ModelServer) -> None:
    with pytest.raises(openai.APIError):
        await sdk.chat.completions.create(model="cut-short", messages=ASKED, n=2)
    await model_server.until(lambda seen: seen.running == 0)


async def test_how_likely_the_tokens_were(sdk: AsyncOpenAI) -> None:
    whole = await sdk.chat.completions.create(
        model="likely", messages=ASKED, logprobs=True, top_logprobs=2
    )
    assert whole.choices[0].message.content == "éta"
    tokens: Any = whole.choices[0].logprobs
    assert [token.logprob for token in tokens.content] == [-0.5, -1.0, -1.5]
    assert bytes(tokens.content[0].bytes + tokens.content[1].bytes) == "é".encode()
    assert [other.token for other in tokens.content[2].top_logprobs] == ["t0", "t1"]
    stream = await sdk.chat.completions.create(
        model="likely", messages=ASKED, logprobs=True, stream=True
    )
    chunks = [chunk async for chunk in stream]
    seen: list[Any] = [c.choices[0].logprobs for c in chunks if c.choices[0].logprobs]
    assert [len(each.content) for each in seen] == [2, 1]


async def test_what_the_server_takes_is_sent_to_it(
    sdk: AsyncOpenAI, model_server: ModelServer
) -> None:
    await sdk.chat.completions.create(
        model="echo",
        messages=ASKED,
        seed=7,
        frequency_penalty=0.5,
        presence_penalty=-1,
        logit_bias={"11": -100},
        stop=["END"],
        verbosity="low",
        reasoning_effort="minimal",
    )
    body = (await model_server.seen()).last_body
    fields = ("seed", "frequency_penalty", "presence_penalty", "logit_bias", "stop")
    assert [body[name] for name in fields] == [7, 0.5, -1, {"11": -100}, ["END"]]
    assert (body["verbosity"], body["reasoning_effort"]) == ("low", "minimal")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"tools": TOOLS}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"logprobs": True}, "logprobs"),
        ({"verbosity": "low"}, "verbosity"),
        ({"verbosity": "boundless"}, "verbosity"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"reasoning_effort": "boundless"}, "reasoning_effort"),
        ({"n": 9}, "n"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"tools": [*TOOLS, function("tides")]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {
                "tools": TOOLS,
                "tool_choice": {"type": "function", "function": {"name": "tide"}},
            },
            "tool_choice",
        ),
        ({"messages": [*ASKED, {"role": "tool", "content": "x", "tool_call_id": "c"}]}, "messages"),
        ({"messages": [*ASKED, {"role": "tool", "content": "x"}]}, "messages.1"),
        ({"messages": [*ASKED, {"role": "assistant"}]}, "messages.1"),
        (
            {
                "messages": [
                    *ASKED,
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {
                                "id": "c",
                                "type": "function",
                                "function": {"name": "tides", "arguments": "{}"},
                            }
                        ],
                    },
                    *ASKED,
                ]
            },
            "messages",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_built_in_model_or_nobody_can_do_is_refused_by_name(
    sdk: AsyncOpenAI, asked: dict[str, Any], param: str, stream: bool
) -> None:
    body: Any = {"model": "extractive", "messages": ASKED, **asked}
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.chat.completions.create(**body, stream=stream)
    assert refused.value.param == param


async def test_what_an_answer_from_documents_cannot_be_is_refused_by_name(
    sdk: AsyncOpenAI,
) -> None:
    store = await sdk.vector_stores.create(name="Harbour")
    tools: Any = [{"type": "file_search", "vector_store_ids": [store.id]}]
    for asked, param in (
        ({"response_format": SCHEMA}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "n"),
        ({"tools": tools * 2}, "tools"),
    ):
        body: Any = {"model": "functions", "messages": ASKED, "tools": tools, **asked}
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.chat.completions.create(**body)
        assert refused.value.param == param


async def test_functions_stand_beside_a_search(sdk: AsyncOpenAI, model_server: ModelServer) -> None:
    """Where the documents say nothing the functions may; what comes of it is not taken for a citation."""
    store = await sdk.vector_stores.create(name="Empty")
    tools: Any = [{"type": "file_search", "vector_store_ids": [store.id]}, *TOOLS]
    first: Any = await sdk.chat.completions.create(model="functions", messages=ASKED, tools=tools)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.content == "Let me look."
    assert [call.function.name for call in message.tool_calls] == ["weather", "tides"]
    sent = (await model_server.seen()).last_body
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["weather", "tides"]
    assert "functions" in sent["messages"][0]["content"]

    results: list[Any] = [
        {"role": "tool", "tool_call_id": call.id, "content": "storm"} for call in message.tool_calls
    ]
    second = await sdk.chat.completions.create(
        model="functions", messages=[*ASKED, message.model_dump(), *results], tools=tools
    )
    sent = (await model_server.seen()).last_body
    roles = [turn["role"] for turn in sent["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]
    assert sent["messages"][1]["content"] == f"Question: {QUESTION}"
    content = second.choices[0].message.content or ""
    assert content.startswith("It said: storm, storm")
    assert "could not be matched to your documents" in content


async def test_pictures_and_files_are_shown_to_the_model(
    sdk: AsyncOpenAI, model_server: ModelServer
) -> None:
    page = base64.b64encode(b"The rent is 1,250.").decode()
    content: list[Any] = [
        {"type": "text", "text": "What is the rent?"},
        {"type": "image_url", "image_url": {"url": picture(PNG, "image/jpeg"), "detail": "low"}},
        {"type": "file", "file": {"file_data": page, "filename": "lease.txt"}},
    ]
    answer = await sdk.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": content}]
    )
    fenced = "<<<file: lease.txt>>>\nThe rent is 1,250.\n<<<end of file>>>\n\n"
    assert answer.choices[0].message.content == f"{fenced}What is the rent?"
    (sent,) = (await model_server.seen()).last_body["messages"]
    shown = {"url": picture(PNG, "image/png"), "detail": "low"}
    said = {"type": "text", "text": f"{fenced}What is the rent?"}
    assert sent["content"] == [said, {"type": "image_url", "image_url": shown}]


@pytest.mark.parametrize(
    ("role", "part", "param"),
    [
        (
            "user",
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            "content.1.image_url.url",
        ),
        ("user", {"type": "file", "file": {"filename": "a.txt"}}, "content.1.file"),
        ("user", {"type": "file", "file": {"file_data": "?"}}, "messages.0.content.1"),
        ("user", {"type": "file", "file": {"file_id": "file-1"}}, "messages"),
        ("system", {"type": "file", "file": {"file_data": "aGVsbG8="}}, "messages.0"),
        ("user", {"type": "input_audio", "input_audio": {}}, "messages.0"),
    ],
)
async def test_what_cannot_be_shown_is_refused_by_name(
    sdk: AsyncOpenAI, role: str, part: dict[str, Any], param: str
) -> None:
    asked: Any = {"role": role, "content": [{"type": "text", "text": "What is it?"}, part]}
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
        await sdk.chat.completions.create(model="echo", messages=[asked])
    assert param in str(refused.value.param)


async def test_a_model_that_cannot_see_or_read_says_so(sdk: AsyncOpenAI) -> None:
    for part in (
        {"type": "image_url", "image_url": {"url": picture(PNG, "image/png")}},
        {"type": "file", "file": {"file_data": "aGVsbG8="}},
    ):
        content: Any = [{"type": "text", "text": "What is it?"}, part]
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.chat.completions.create(
                model="extractive", messages=[{"role": "user", "content": content}]
            )
        assert (refused.value.param, refused.value.code) == ("messages", "model_unable")
