"""What an application does with the `openai` SDK beyond one question: answers passed back, nulls, lists."""

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.conftest import Service
from tests.e2e.test_openai_sdk import QUESTION, file_search

FOLLOW_UP = "What is the monthly rent at Quay Street?"


def asked(question: str) -> dict[str, Any]:
    """A user's turn, as the SDK takes it."""
    return {"role": "user", "content": question}


def answer(client: OpenAI, turns: list[Any], **options: Any) -> Any:  # noqa: ANN401 - the SDK's own typed models
    """A response; typed loosely, because turns are passed back as the SDK's own objects."""
    create: Any = client.responses.create
    return create(model="extractive", input=turns, **options)


@pytest.mark.parametrize("dumped", [False, True])
@pytest.mark.parametrize("include", [[], ["file_search_call.results"]])
def test_an_answer_is_passed_back_as_it_came(
    service: Service, sample_store: dict[str, Any], include: list[str], *, dumped: bool
) -> None:
    tools = file_search(sample_store)
    with service.client() as client:
        first = answer(client, [asked(QUESTION)], tools=tools, include=include)
        assert first.output[-1].content[0].annotations
        output = [item.model_dump() for item in first.output] if dumped else first.output
        second = answer(client, [asked(QUESTION), *output, asked(FOLLOW_UP)], tools=tools)
    assert "1,240" in second.output_text


def test_what_the_stream_helper_collects_is_passed_back(
    service: Service, sample_store: dict[str, Any]
) -> None:
    tools = file_search(sample_store)
    with service.client() as client:
        with client.responses.stream(model="extractive", input=QUESTION, tools=tools) as stream:
            first = stream.get_final_response()
        output = [item.model_dump() for item in first.output]
        second = answer(client, [asked(QUESTION), *output, asked(FOLLOW_UP)], tools=tools)
    assert "1,240" in second.output_text


def test_a_search_call_alone_asks_nothing(service: Service, sample_store: dict[str, Any]) -> None:
    tools = file_search(sample_store)
    with service.client() as client:
        call = answer(client, [asked(QUESTION)], tools=tools).output[0]
        assert call.type == "file_search_call"
        with pytest.raises(openai.BadRequestError, match="no user message"):
            answer(client, [call], tools=tools)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "msg_1"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": {}},
    ],
)
def test_an_item_that_is_not_known_is_named(service: Service, item: dict[str, Any]) -> None:
    with service.client() as client, pytest.raises(openai.BadRequestError) as refused:
        answer(client, [asked(QUESTION), item])
    assert refused.value.param == "input.1"
    assert "whole message, file_search_call" in refused.value.message


@pytest.mark.parametrize("dumped", [False, True])
def test_a_chat_message_is_passed_back_as_it_came(
    service: Service, sample_store: dict[str, Any], *, dumped: bool
) -> None:
    with service.client() as client:
        with client.chat.completions.stream(
            model="extractive",
            messages=[{"role": "user", "content": QUESTION}],
            extra_body={"tools": file_search(sample_store)},
        ) as stream:
            message: Any = stream.get_final_completion().choices[0].message
        assert message.annotations
        create: Any = client.chat.completions.create
        second = create(
            model="extractive",
            messages=[
                asked(QUESTION),
                message.model_dump() if dumped else message,
                asked(FOLLOW_UP),
            ],
            extra_body={"tools": file_search(sample_store)},
            tool_choice="required",
        )
    assert "1,240" in second.choices[0].message.content


def test_null_is_as_good_as_absent(service: Service) -> None:
    options = ("temperature", "top_p", "metadata", "store", "stream", "service_tier")
    with service.client() as client:
        for option in (*options, "reasoning", "prompt", "max_tool_calls", "conversation"):
            made = answer(client, [asked("Hello")], **{option: None})
            assert made.status == "completed", option
            assert made.store is True
        create: Any = client.chat.completions.create
        for option in (*options, "seed", "stop", "logprobs", "logit_bias", "reasoning_effort"):
            made = create(model="extractive", messages=[asked("Hello")], **{option: None})
            assert made.choices[0].finish_reason == "stop", option


@pytest.mark.parametrize("choice", ["required", {"type": "file_search"}])
def test_a_required_search_without_a_place_is_refused(
    service: Service, choice: str | dict[str, str]
) -> None:
    with service.client() as client:
        create: Any = client.chat.completions.create
        for ask in (
            lambda: answer(client, [asked("Hello")], tool_choice=choice),
            lambda: create(model="extractive", messages=[asked("Hello")], tool_choice=choice),
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                ask()
            assert refused.value.param == "tool_choice"


def test_no_search_is_made_when_none_is_chosen(
    service: Service, sample_store: dict[str, Any]
) -> None:
    with service.client() as client:
        create: Any = client.chat.completions.create
        made = create(
            model="extractive",
            messages=[asked(QUESTION)],
            extra_body={"tools": file_search(sample_store)},
            tool_choice="none",
        )
    assert made.choices[0].message.annotations == []


def test_a_file_that_nothing_happens_to_is_not_waited_for(service: Service) -> None:
    with service.client() as client:
        file = client.files.create(file=b"The mill was built in 1822.", purpose="user_data")
        assert client.files.wait_for_processing(file.id, max_wait_seconds=5).status == "processed"
        client.files.delete(file.id)


def test_an_expiry_is_not_promised(service: Service) -> None:
    with service.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.files.create(
                file=b"To be gone in an hour.",
                purpose="user_data",
                expires_after={"anchor": "created_at", "seconds": 3600},
            )
        assert refused.value.param == "expires_after"
        with pytest.raises(openai.BadRequestError) as refused:
            client.vector_stores.create(expires_after={"anchor": "last_active_at", "days": 1})
        assert refused.value.param == "expires_after"


def test_what_is_asked_of_a_list_is_done_or_refused(
    service: Service, sample_store: dict[str, Any]
) -> None:
    with service.client() as client:
        files = client.vector_stores.files
        assert files.list(sample_store["id"], filter="cancelled").data == []
        assert len(files.list(sample_store["id"], filter="completed").data) == 3
        with pytest.raises(openai.NotFoundError):
            files.list("vs_" + 32 * "0", filter="cancelled")
        last = files.list(sample_store["id"]).data[-1].id
        for turn_back in (
            lambda: files.list(sample_store["id"], before=last),
            lambda: client.vector_stores.list(before=sample_store["id"]),
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                turn_back()
            assert refused.value.param == "before"


def test_a_kept_response_is_streamed_again_as_it_was(service: Service) -> None:
    with service.client() as client:
        made = answer(client, [asked("Hello")])
        again = list(client.responses.retrieve(made.id, stream=True))
        rest = list(client.responses.retrieve(made.id, stream=True, starting_after=1))
    assert [event.sequence_number for event in again] == list(range(len(again)))
    last: Any = again[-1]
    assert last.response.output_text == made.output_text
    assert rest == again[2:]


def test_chunking_is_the_services_own(service: Service) -> None:
    with service.client() as client:
        store = client.vector_stores.create(chunking_strategy={"type": "auto"})
        assert store.status == "completed"
        client.vector_stores.delete(store.id)
