"""The Conversations API through the official SDK, against a running service."""

from collections.abc import Generator
from typing import Any

import pytest
from openai import (
    AsyncOpenAI,
    BadRequestError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
)

from tests.e2e.conftest import Service
from tests.e2e.test_functions_responses import QUESTION, TOOLS, calls_of


def text_of(item: object) -> str:
    content = item.content  # type: ignore[attr-defined]
    return str(content[0].text)


@pytest.fixture
def client(service: Service) -> Generator[OpenAI]:
    with service.client(service.make_key("conversations", "ann@example.org")) as client:
        yield client


@pytest.fixture
def bob(service: Service) -> Generator[OpenAI]:
    with service.client(service.make_key("conversations", "bob@example.org")) as client:
        yield client


def test_a_conversation_is_begun_changed_read_and_deleted(client: OpenAI) -> None:
    begun = client.conversations.create(
        metadata={"room": "blue"}, items=[{"role": "user", "content": "When does the bell ring?"}]
    )
    assert (begun.object, begun.metadata) == ("conversation", {"room": "blue"})
    assert begun.id.startswith("conv_")
    added = client.conversations.items.create(
        begun.id,
        items=[
            {"type": "message", "role": "assistant", "content": "At six."},
            {"role": "user", "content": [{"type": "input_text", "text": "Why?"}]},
        ],
    )
    assert [text_of(item) for item in added.data] == ["At six.", "Why?"]
    listed = client.conversations.items.list(begun.id, order="asc", limit=2)
    assert [text_of(item) for item in listed.data] == ["When does the bell ring?", "At six."]
    assert listed.has_more
    # Pages follow each other by themselves, the newest item first.
    everything = [text_of(item) for item in client.conversations.items.list(begun.id, limit=1)]
    assert everything == ["Why?", "At six.", "When does the bell ring?"]
    last = client.conversations.items.retrieve(added.last_id, conversation_id=begun.id)
    assert (last.type, last.id, text_of(last)) == ("message", added.last_id, "Why?")
    left = client.conversations.items.delete(added.last_id, conversation_id=begun.id)
    assert left.id == begun.id
    with pytest.raises(NotFoundError):
        client.conversations.items.retrieve(added.last_id, conversation_id=begun.id)
    assert client.conversations.update(begun.id, metadata={"room": "red"}).metadata == {
        "room": "red"
    }
    assert client.conversations.retrieve(begun.id).metadata == {"room": "red"}
    assert client.conversations.delete(begun.id).deleted
    with pytest.raises(NotFoundError):
        client.conversations.retrieve(begun.id)


def test_a_conversation_is_shared_and_taken_back(client: OpenAI, bob: OpenAI) -> None:
    begun = client.conversations.create(items=[{"role": "user", "content": "Hello"}])
    with pytest.raises(NotFoundError):
        bob.conversations.retrieve(begun.id)
    body = {
        "resource": begun.id,
        "grantee": {"user": "bob@example.org"},
        "actions": ["read"],
    }
    grant = client.post("/grants", body=body, cast_to=dict)
    assert [text_of(item) for item in bob.conversations.items.list(begun.id)] == ["Hello"]
    with pytest.raises(PermissionDeniedError):
        bob.conversations.items.create(begun.id, items=[{"role": "user", "content": "And I"}])
    question = {"resource": begun.id, "action": "read"}
    assert bob.post("/access/check", body=question, cast_to=dict)["allowed"]
    seen = bob.get("/access/resources", cast_to=dict)["data"]
    assert begun.id in [each["resource"] for each in seen]
    who = client.get("/access/principals", cast_to=dict, options={"params": {"resource": begun.id}})
    assert len(who["data"]) == 2
    client.delete(f"/grants/{grant['id']}", cast_to=dict)
    with pytest.raises(NotFoundError):
        bob.conversations.items.list(begun.id)


def test_an_item_names_only_files_that_its_writer_may_search(client: OpenAI, bob: OpenAI) -> None:
    file = client.files.create(file=("bell.txt", b"The bell rings at noon."), purpose="user_data")
    items: Any = [{"role": "user", "content": [{"type": "input_file", "file_id": file.id}]}]
    begun = client.conversations.create(items=items)
    (kept,) = client.conversations.items.list(begun.id).data
    assert kept.content[0].file_id == file.id  # type: ignore[union-attr]
    theirs = bob.conversations.create()
    with pytest.raises(NotFoundError) as refused:
        bob.conversations.items.create(theirs.id, items=items)
    assert (refused.value.param, bob.conversations.items.list(theirs.id).data) == ("items", [])
    grant: Any = {"resource": file.id, "grantee": {"user": "bob@example.org"}, "actions": ["read"]}
    client.post("/grants", cast_to=object, body=grant)
    with pytest.raises(PermissionDeniedError) as denied:
        bob.conversations.create(items=items)
    assert denied.value.param == "items"


def test_more_than_can_be_added_at_once_is_refused_by_name(client: OpenAI) -> None:
    begun = client.conversations.create()
    with pytest.raises(BadRequestError) as refused:
        client.conversations.items.create(
            begun.id, items=[{"role": "user", "content": "a"} for _ in range(21)]
        )
    assert refused.value.param == "items"
    assert client.conversations.items.list(begun.id).data == []


def test_a_response_goes_on_with_a_conversation(client: OpenAI) -> None:
    begun = client.conversations.create()
    first = client.responses.create(model="extractive", input="Hello", conversation=begun.id)
    assert first.conversation is not None
    assert first.conversation.id == begun.id
    with client.responses.create(
        model="extractive", input="Again", conversation={"id": begun.id}, stream=True
    ) as events:
        assert [event.type for event in events][-1] == "response.completed"
    items = client.conversations.items.list(begun.id, order="asc").data
    assert [item.role for item in items] == ["user", "assistant", "user", "assistant"]  # type: ignore[union-attr]
    assert [text_of(item) for item in items[::2]] == ["Hello", "Again"]
    assert items[1].id == first.output[0].id
    assert client.responses.retrieve(first.id).conversation == first.conversation
    # What is deleted as a response stays a turn of the conversation.
    client.responses.delete(first.id)
    assert len(client.conversations.items.list(begun.id).data) == 4
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(
            model="extractive", input="And?", conversation=begun.id, store=False
        )
    assert refused.value.param == "conversation"
    client.conversations.delete(begun.id)
    with pytest.raises(NotFoundError):
        client.responses.create(model="extractive", input="And?", conversation=begun.id)


@pytest.mark.usefixtures("model_server")
async def test_functions_are_called_in_a_conversation(sdk: AsyncOpenAI) -> None:
    begun = await sdk.conversations.create()
    first = await sdk.responses.create(
        model="functions", input=QUESTION, tools=TOOLS, conversation=begun.id
    )
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"fine {call.name}"}
        for call in calls_of(first)
    ]
    second = await sdk.responses.create(
        model="functions", input=results, tools=TOOLS, conversation=begun.id
    )
    assert second.output_text == "It said: fine weather, fine tides"
    listed = await sdk.conversations.items.list(begun.id, order="asc")
    assert [item.type for item in listed.data] == [
        *("message", "message", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "message"),
    ]
    wrong: Any = [{**results[0], "call_id": "nobody"}]
    with pytest.raises(BadRequestError, match="no such call") as refused:
        await sdk.responses.create(
            model="functions", input=wrong, tools=TOOLS, conversation=begun.id
        )
    assert refused.value.param == "input"


def test_a_conversation_branches_by_fields_beside_the_sdks_own(client: OpenAI) -> None:
    begun = client.conversations.create(items=[{"role": "user", "content": "Hello"}])
    (hello,) = client.conversations.items.list(begun.id).data
    ask = "The bell rings at noon. When does the bell ring?"
    first = client.responses.create(model="extractive", input=ask, conversation=begun.id)
    parent = {"parent": hello.id}
    client.responses.create(
        model="extractive", input=f"Please: {ask}", conversation=begun.id, extra_body=parent
    )
    texts = [text_of(item) for item in client.conversations.items.list(begun.id, order="asc")]
    assert texts[:2] == ["Hello", f"Please: {ask}"]
    current = client.conversations.items.list(begun.id, order="asc").data[1]
    found = client.conversations.items.list(
        begun.id, order="asc", extra_query={"siblings_of": current.id}
    ).data
    assert [text_of(item) for item in found] == [ask, f"Please: {ask}"]
    changed = {"branch": found[0].id}
    client.conversations.update(begun.id, metadata={}, extra_body=changed)
    shown = client.conversations.items.list(begun.id, order="asc").data
    assert [text_of(item) for item in shown] == ["Hello", ask, first.output_text]
    other = client.conversations.items.list(
        begun.id, order="asc", extra_query={"branch": current.id}
    ).data
    assert [text_of(item) for item in other] == texts
    for absent in ("msg_" + 32 * "0", "nothing"):
        with pytest.raises(NotFoundError) as refused:
            client.responses.create(
                model="extractive",
                input=ask,
                conversation=begun.id,
                extra_body={"parent": absent},
            )
        assert refused.value.param == "parent"
    with pytest.raises(BadRequestError):
        client.responses.create(model="extractive", input=ask, extra_body=parent)
