"""What is wrong with a prompt, or is not there, is told by the field that this request has for it."""

import base64
from typing import Any, Final

import openai
import pytest
from openai import AsyncOpenAI

pytestmark = pytest.mark.usefixtures("model_server")

TOO_LONG: Final = base64.b64encode(b"word " * 60_000).decode()
NOWHERE: Final = "01a22bdefba371f5a97c727907d94d54"


def completion_with(file: dict[str, Any]) -> Any:  # noqa: ANN401 - the SDK's own types are in the way
    return [{"role": "user", "content": [{"type": "file", "file": file}, said("text")]}]


def response_with(file: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    return [{"role": "user", "content": [{"type": "input_file", **file}, said("input_text")]}]


def said(kind: str) -> dict[str, Any]:
    return {"type": kind, "text": "What is it?"}


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "fields-at-fault"}])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_file_that_does_not_fit_is_the_messages_of_a_completion(
    sdk: AsyncOpenAI, headers: dict[str, str], *, is_stream: bool
) -> None:
    async def read_completion() -> None:
        answer: Any = await sdk.chat.completions.create(
            model="echo",
            messages=completion_with({"file_data": TOO_LONG}),
            stream=is_stream,
            extra_headers={name: f"{key}-{is_stream}" for name, key in headers.items()},
        )
        async for _ in answer:
            pass

    with pytest.raises(openai.APIError) as refused:
        await read_completion()
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")


async def test_a_file_that_does_not_fit_is_the_input_of_a_response(sdk: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(model="echo", input=response_with({"file_data": TOO_LONG}))
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input")


async def test_a_file_that_is_not_there_is_what_names_it(sdk: AsyncOpenAI) -> None:
    file = {"file_id": f"file-{NOWHERE}"}
    with pytest.raises(openai.NotFoundError) as refused:
        await sdk.chat.completions.create(model="echo", messages=completion_with(file))
    assert refused.value.param == "messages"
    with pytest.raises(openai.NotFoundError) as refused:
        await sdk.responses.create(model="echo", input=response_with(file))
    assert refused.value.param == "input"


async def test_a_vector_store_that_is_not_there_is_of_the_tools(sdk: AsyncOpenAI) -> None:
    search: Any = [{"type": "file_search", "vector_store_ids": [f"vs_{NOWHERE}"]}]
    asked: Any = [{"role": "user", "content": "What is it?"}]
    with pytest.raises(openai.NotFoundError) as refused:
        await sdk.chat.completions.create(model="echo", messages=asked, tools=search)
    assert refused.value.param == "tools"
    with pytest.raises(openai.NotFoundError) as refused:
        await sdk.responses.create(model="echo", input="What is it?", tools=search)
    assert refused.value.param == "tools"


@pytest.mark.parametrize("unknown", [NOWHERE, "1"])
async def test_what_is_not_there_to_search_is_the_field_that_names_it(
    sdk: AsyncOpenAI, unknown: str
) -> None:
    for field, prefix in (("collections", "vs_"), ("documents", "file-")):
        asked = {"query": "What is it?", field: [f"{prefix}{unknown}"]}
        with pytest.raises(openai.NotFoundError) as refused:
            await sdk.post("/search", cast_to=object, body=asked)
        assert refused.value.param == field
    with pytest.raises(openai.NotFoundError) as refused:
        await sdk.vector_stores.search(f"vs_{unknown}", query="What is it?")
    assert refused.value.param is None  # it is of the path


async def test_a_file_that_is_not_there_is_no_item_of_a_conversation(sdk: AsyncOpenAI) -> None:
    conversation = await sdk.conversations.create()
    for unknown in (NOWHERE, "1"):
        items = response_with({"file_id": f"file-{unknown}"})
        with pytest.raises(openai.NotFoundError) as refused:
            await sdk.conversations.create(items=items)
        assert refused.value.param == "items"
        with pytest.raises(openai.NotFoundError) as refused:
            await sdk.conversations.items.create(conversation.id, items=items)
        assert refused.value.param == "items"
    assert (await sdk.conversations.items.list(conversation.id)).data == []


async def test_of_several_files_the_one_that_cannot_be_read_is_named(sdk: AsyncOpenAI) -> None:
    well, wrong = {"file_data": "aGVsbG8="}, {"file_data": "no base64!"}
    told: Any = [
        {"role": "system", "content": "Be short."},
        *completion_with(well),
        *completion_with(wrong),
    ]
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.chat.completions.create(model="echo", messages=told)
    assert refused.value.param == "messages.2.content.0"
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(
            model="echo", input=[*response_with(well), *response_with(wrong)]
        )
    assert refused.value.param == "input.1.content.0"
