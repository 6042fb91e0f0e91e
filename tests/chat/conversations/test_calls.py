"""Calls of functions and their results as items of conversations."""

from collections.abc import AsyncGenerator
from uuid import UUID

import pytest

from tests.chat.conversations.conftest import said
from tests.chat.conversations.test_turns import (
    ask,
    conversations_of,
    items_for,
    lend,
    revoke_all,
)
from tests.chat.responses.test_chain import CallingModel
from tests.chat.responses.test_sources import ASKED, service
from tests.chat.scripted import SCRIPTED
from tests.conftest import MakeScope
from tests.shelf import Shelf
from undercroft.chat.conversations.models import NewItem, parse_item_id
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Message,
    Role,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.questions import Question
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.sources import REDACTED
from undercroft.kit.errors import InvalidRequestError


class AskingModel(CallingModel):
    """One that asks a function once, and says what the test wrote when it has the result."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        if any(message.role is Role.TOOL for message in request.messages):
            async for event in super().generate(request):
                yield event
            return
        self.requests.append(request)
        yield ToolCallDelta(0, '{"rent": 1250}', "call_0", "convert")
        yield Finished(FinishReason.TOOL_CALLS, Usage(1, 1))


def result(text: str, call_id: str = "call_0") -> NewItem:
    body = {"call_id": call_id, "output": text, "status": "completed"}
    return NewItem("function_call_output", body)


def call(call_id: str) -> NewItem:
    body = {"call_id": call_id, "name": "convert", "arguments": "{}", "status": "completed"}
    return NewItem("function_call", body)


def answer(conversation_id: UUID, text: str, call_id: str = "call_0") -> ResponseRequest:
    question = Question((Message(Role.TOOL, text, tool_call_id=call_id),), SCRIPTED)
    return ResponseRequest(
        question,
        {"model": SCRIPTED},
        conversation_id=conversation_id,
        input_items=(result(text, call_id),),
    )


async def test_a_call_is_asked_for_answered_and_gone_on_from(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    model = AskingModel("In euros.")
    responses = service(shelf, model)
    await responses.create(ann, ask(begun, "What is it in euros?"))
    # Somebody asks something else before the result is there.
    await conversations_of(shelf).add(ann, begun.id, [said("And in yen?")])
    await responses.create(ann, answer(begun.id, "1,450"))
    shown = [(message.role.value, message.content) for message in model.requests[-1].messages]
    assert shown == [
        ("user", "What is it in euros?"),
        ("user", "And in yen?"),
        ("assistant", ""),
        ("tool", "1,450"),
    ]
    kinds = [item.wire["type"] for item in await items_for(shelf, ann, begun)]
    assert kinds == [
        "message",
        "function_call",
        "message",
        "function_call_output",
        "message",
    ]
    await responses.create(ann, ask(begun, "Sure?"))
    assert [message.role.value for message in model.requests[-1].messages] == [
        *("user", "user", "assistant", "tool", "assistant", "user"),
    ]


async def test_a_result_of_no_call_is_refused_and_not_kept(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {}, [said("Hello")])
    with pytest.raises(InvalidRequestError, match="'nobody'"):
        await service(shelf, AskingModel("?")).create(ann, answer(begun.id, "x", "nobody"))
    with pytest.raises(InvalidRequestError, match="'nobody'"):
        await conversations_of(shelf).add(ann, begun.id, [result("x", "nobody")])
    assert len(await items_for(shelf, ann, begun)) == 1


@pytest.mark.parametrize(
    "added", ["with a response", "by itself", "after another call", "with another call"]
)
async def test_a_result_is_hidden_and_erased_with_what_was_asked(
    shelf: Shelf, make_scope: MakeScope, added: str
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, document = await lend(shelf, ann, bob)
    begun = await conversations_of(shelf).create(bob, {})
    responses = service(shelf, AskingModel("In euros."))
    request = ask(begun, ASKED, papers)
    await responses.create(bob, request)
    conversations, other = conversations_of(shelf), call("call_0")
    if added == "by itself":
        await conversations.add(bob, begun.id, [result("1,450")])
    elif added == "after another call":
        await conversations.add(bob, begun.id, [other])
        await conversations.add(bob, begun.id, [result("1,450")])
    elif added == "with another call":
        await conversations.add(bob, begun.id, [other, result("1,450")])
    else:
        await responses.create(bob, answer(begun.id, "1,450"))
    outputs = [item.wire.get("output") for item in await items_for(shelf, bob, begun)]
    assert "1,450" in outputs
    await revoke_all(shelf, ann)
    items = [item.wire for item in await items_for(shelf, bob, begun)]
    assert [item["output"] for item in items if "output" in item] == [REDACTED]
    assert {item["arguments"] for item in items if "arguments" in item} == {"{}"}
    await shelf.documents.delete(ann, document)
    async with shelf.database.transaction(bob) as transaction:
        left = await transaction.fetch(
            "SELECT kind FROM conversation_items WHERE sealed_item IS NOT NULL ORDER BY number"
        )
    assert "function_call_output" not in [row["kind"] for row in left]


async def test_a_result_whose_call_was_deleted_is_left_out_of_later_answers(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    model = AskingModel("In euros.")
    responses = service(shelf, model)
    await responses.create(ann, ask(begun, "What is it in euros?"))
    await responses.create(ann, answer(begun.id, "1,450"))
    asked = (await items_for(shelf, ann, begun))[1]
    assert asked.wire["type"] == "function_call"
    item_id = parse_item_id(asked.wire["id"])
    assert item_id is not None
    await conversations_of(shelf).delete_item(ann, begun.id, item_id)
    assert (await responses.create(ann, ask(begun, "Sure?")))["status"] == "completed"
    roles = [message.role.value for message in model.requests[-1].messages]
    assert roles == ["user", "assistant", "user"]
