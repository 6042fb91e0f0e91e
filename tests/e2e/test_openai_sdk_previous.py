"""Responses that go on from another one, with the unmodified `openai` SDK and a model server of the operator's own."""

import json
from typing import Any, Final

import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.conftest import Service
from tests.e2e.test_functions_responses import QUESTION, TOOLS, calls_of
from tests.servers.model_server import ModelServer

pytestmark = pytest.mark.usefixtures("model_server")

HARBOUR: Final = "Where is the harbour?"


async def prompt(model_server: ModelServer) -> list[tuple[str, str]]:
    """What the model server was sent last."""
    body = (await model_server.seen()).last_body
    return [(message["role"], message["content"]) for message in body["messages"]]


@pytest.mark.parametrize("stream", [False, True])
async def test_turns_are_gone_on_from(
    sdk: AsyncOpenAI, model_server: ModelServer, stream: bool
) -> None:
    first = await sdk.responses.create(model="echo", input=HARBOUR, instructions="Be brief.")
    body: Any = {"model": "echo", "input": "And the bell?", "previous_response_id": first.id}
    made: Any = await sdk.responses.create(**body, stream=stream)
    second = [event async for event in made][-1].response if stream else made
    assert second.previous_response_id == first.id
    assert second.truncation == "auto"
    # Instructions are not taken along, as with OpenAI.
    assert await prompt(model_server) == [
        ("user", HARBOUR),
        ("assistant", HARBOUR),
        ("user", "And the bell?"),
    ]
    assert (await sdk.responses.retrieve(second.id)).previous_response_id == first.id


async def test_functions_are_called_and_their_results_alone_are_sent(
    sdk: AsyncOpenAI, model_server: ModelServer
) -> None:
    first = await sdk.responses.create(model="functions", input=QUESTION, tools=TOOLS)
    calls = calls_of(first)
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"fine {call.name}"}
        for call in calls
    ]
    second = await sdk.responses.create(
        model="functions", input=results, tools=TOOLS, previous_response_id=first.id
    )
    assert second.output_text == "It said: fine weather, fine tides"
    roles = [role for role, _ in await prompt(model_server)]
    assert roles == ["user", "assistant", "tool", "tool"]
    third = await sdk.responses.create(
        model="functions", input="Sure?", tools=TOOLS, previous_response_id=second.id
    )
    roles = [role for role, _ in await prompt(model_server)]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "user"]
    body = (await model_server.seen()).last_body
    asked = [
        json.loads(call["function"]["arguments"]) for call in body["messages"][1]["tool_calls"]
    ]
    assert asked == [{"asked": QUESTION}] * 2
    wrong: Any = [{**results[0], "call_id": "nobody"}]
    with pytest.raises(openai.BadRequestError, match="no such call") as refused:
        await sdk.responses.create(
            model="functions",
            input=wrong,
            tools=TOOLS,
            previous_response_id=third.id,
        )
    assert refused.value.param == "input"


async def test_what_was_asked_is_listed_a_page_at_a_time(sdk: AsyncOpenAI) -> None:
    turns: Any = [
        {"role": "user", "content": HARBOUR},
        {"role": "assistant", "content": "North."},
        {"role": "user", "content": [{"type": "input_text", "text": "And the bell?"}]},
    ]
    made = await sdk.responses.create(model="echo", input=turns)
    listed = await sdk.responses.input_items.list(made.id, order="asc")
    items: list[Any] = listed.data
    assert [item.content[0].text for item in items] == [HARBOUR, "North.", "And the bell?"]
    assert not listed.has_more
    # Pages follow each other by themselves, the newest item first.
    paged: list[Any] = [item async for item in sdk.responses.input_items.list(made.id, limit=1)]
    assert [item.id for item in paged] == [item.id for item in reversed(items)]
    rest = await sdk.responses.input_items.list(made.id, after=items[1].id, order="asc")
    assert [item.id for item in rest.data] == [items[2].id]
    for item_id in ("msg_" + "0" * 32, "\u00e9"):
        with pytest.raises(openai.NotFoundError) as refused:
            await sdk.responses.input_items.list(made.id, after=item_id)
        assert refused.value.param == "after"


async def test_what_is_not_there_or_another_s_or_not_kept_is_not_gone_on_from(
    sdk: AsyncOpenAI, upstream_service: Service
) -> None:
    unkept = await sdk.responses.create(model="echo", input=HARBOUR, store=False)
    deleted = await sdk.responses.create(model="echo", input=HARBOUR)
    await sdk.responses.delete(deleted.id)
    bob = AsyncOpenAI(
        base_url=f"{upstream_service.url}/v1",
        api_key=upstream_service.make_key("main", "bob@example.org"),
        max_retries=0,
    )
    async with bob:
        hidden = await bob.responses.create(model="echo", input=HARBOUR)
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.input_items.list(hidden.id)
    for response_id in (unkept.id, deleted.id, hidden.id, "resp_1", "x" * 64):
        with pytest.raises(openai.NotFoundError) as refused:
            await sdk.responses.create(model="echo", input="And?", previous_response_id=response_id)
        assert refused.value.code == "previous_response_not_found"
        assert refused.value.param == "previous_response_id"


async def test_it_is_one_or_the_other(sdk: AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="echo", input=HARBOUR)
    conversation = await sdk.conversations.create()
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(
            model="echo",
            input="And?",
            previous_response_id=first.id,
            conversation=conversation.id,
        )
    assert refused.value.param == "previous_response_id"
    nothing: Any = [{"role": "assistant", "content": "Hm."}]
    with pytest.raises(openai.BadRequestError, match="no user message"):
        await sdk.responses.create(model="echo", input=nothing, previous_response_id=first.id)
