"""Kept items as turns: whatever order they came in, each call has its results right behind it."""

from typing import Any

import pytest

from undercroft.chat.providers.protocol import Message, Role, ToolCall
from undercroft.chat.transcript import (
    approved_calls,
    as_turns,
    find_results_without_call,
    is_replayed,
)


def said(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def call(call_id: str, name: str = "look") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}"}


def result(call_id: str, output: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def spoken(*items: dict[str, Any]) -> list[str]:
    """What a model would read, in short."""
    return [_short(message) for turn in as_turns(items) for message in turn.messages]


def _short(message: Message) -> str:
    if message.role is Role.TOOL:
        return f"{message.tool_call_id} -> {message.content}"
    calls = "".join(f" [{each.id}]" for each in message.tool_calls)
    return f"{message.role.value}: {message.content}{calls}"


def test_messages_come_as_they_are() -> None:
    items = [said("developer", "Be brief."), said("user", "Hello"), said("assistant", "Hi.")]
    assert spoken(*items) == ["system: Be brief.", "user: Hello", "assistant: Hi."]
    assert [turn.items for turn in as_turns(items)] == [{0}, {1}, {2}]


def test_a_call_belongs_to_the_answer_before_it_and_is_followed_by_its_result() -> None:
    items = [said("user", "?"), said("assistant", "So."), call("a"), call("b", "see")]
    turns = as_turns([*items, result("b", "2"), result("a", "1")])
    assert turns[1].messages == (
        Message(Role.ASSISTANT, "So.", (ToolCall("a", "look", "{}"), ToolCall("b", "see", "{}"))),
        Message(Role.TOOL, "1", tool_call_id="a"),
        Message(Role.TOOL, "2", tool_call_id="b"),
    )
    assert turns[1].items == {1, 2, 3, 4, 5}


def test_an_answer_that_was_begun_again_is_told_as_it_came_out() -> None:
    broken = {**said("assistant", "The rent is "), "status": "incomplete"}
    whole = {**said("assistant", "It is 5."), "status": "completed"}
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert spoken(said("user", "?"), broken, thought, whole) == ["user: ?", "assistant: It is 5."]
    assert spoken(broken, broken, whole) == ["assistant: It is 5."]
    # What somebody stopped is all that there is of it.
    assert spoken(broken, said("user", "?"), whole) == [
        "assistant: The rent is ",
        "user: ?",
        "assistant: It is 5.",
    ]
    called = [broken, {**call("a"), "status": "completed"}, result("a", "5")]
    assert spoken(*called) == ["assistant:  [a]", "a -> 5"]
    stopped = [broken, {**call("a"), "status": "incomplete"}]
    assert spoken(*stopped) == ["assistant: The rent is "]


def test_a_call_moves_to_its_results_whatever_was_said_in_between() -> None:
    assert spoken(
        said("user", "One?"),
        call("a"),
        said("user", "Two?"),
        said("assistant", "Two."),
        result("a", "1"),
        said("assistant", "One."),
    ) == [
        "user: One?",
        "user: Two?",
        "assistant: Two.",
        "assistant:  [a]",
        "a -> 1",
        "assistant: One.",
    ]


def test_neither_a_call_nor_a_result_stands_alone() -> None:
    items = [
        result("a", "too early"),
        said("user", "?"),
        said("assistant", "So."),
        call("a"),
        call("b"),
        result("b", "2"),
        result("c", "3"),
        call("d"),
    ]
    assert spoken(*items) == ["user: ?", "assistant: So. [b]", "b -> 2"]
    assert find_results_without_call(items) == ["a", "c"]


def test_ids_that_come_again_are_of_the_last_call_before() -> None:
    assert spoken(
        said("user", "?"),
        call("0"),
        result("0", "1"),
        said("user", "?"),
        call("0"),
        result("0", "2"),
    ) == ["user: ?", "assistant:  [0]", "0 -> 1", "user: ?", "assistant:  [0]", "0 -> 2"]


def test_what_is_no_turn_is_left_out() -> None:
    search = {"type": "file_search_call", "queries": []}
    assert spoken(search, said("assistant", ""), said("user", ""), said("critic", "x")) == []
    assert spoken({"type": "message", "role": "user", "content": "plain"}) == ["user: plain"]
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert spoken(call("a"), {**result("a", ""), "output": parts}) == ["assistant:  [a]", "a -> ab"]


def remote(error: object) -> dict[str, Any]:
    made = {"type": "mcp_call", "id": "mcp_1", "status": "failed", "output": None}
    return {**made, "server_label": "port", "name": "send", "arguments": "{}", "error": error}


def approval(request_id: str) -> dict[str, Any]:
    return {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": True}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"content": [1, {"text": "the reason"}, None]}, "the reason"),
        ({"content": 1}, ""),
        ({"content": "text"}, ""),
        ({"message": ["odd"]}, "['odd']"),
        (["odd"], ""),
        (None, ""),
    ],
)
def test_whatever_is_kept_of_a_failed_call_can_be_read(error: object, told: str) -> None:
    assert spoken(remote(error))[-1] == f"mcp_1 -> The call failed: {told}"


def test_a_call_of_a_function_is_not_approved_though_its_id_is_the_same() -> None:
    asked = [said("user", "?"), call("x"), approval("x")]
    assert approved_calls(asked) == []
    assert find_results_without_call(asked) == ["x"]
    request = {"type": "mcp_approval_request", "id": "x", "server_label": "port", "name": "send"}
    both = [{**request, "arguments": "{}"}, *asked]
    (approved,) = approved_calls(both)
    assert (approved.tool, approved.approval_id) == ("send", "x")


def test_what_a_client_says_for_others_is_replayed() -> None:
    own = [said(role, "x") for role in ("user", "system", "developer")]
    assert not any(map(is_replayed, [*own, approval("x")]))
    others = [said("assistant", "x"), call("a"), result("a", "1"), remote(None)]
    assert all(map(is_replayed, others))
