"""What events and items are in the AI SDK's stream and messages, where no model of the tests comes to it."""

from typing import Any
from uuid import UUID

import pytest
from starlette.responses import JSONResponse

from undercroft.chat.conversations.reading import ReadItem
from undercroft.http.sse import encode_event
from undercroft.http.ui.chunks import ChunkWriter, fail
from undercroft.http.ui.messages import messages_of

RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "model": "echo",
    "status": "completed",
    "incomplete_details": None,
    "usage": None,
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look"}
SEARCH = {"type": "file_search_call", "id": "fs_1", "queries": ["bell"], "results": None}
REMOTE = {
    "type": "mcp_call",
    "id": "mcp_1",
    "name": "roll",
    "server_label": "dice",
    "arguments": '{"sides": 6}',
    "output": None,
    "error": None,
}
LISTED = UUID(int=1)


def chunks(*events: dict[str, Any], names_message: bool = True) -> list[dict[str, Any]]:
    writer = ChunkWriter(names_message=names_message)
    return [chunk for event in events for chunk in writer.take(event)]


def done(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "item": item}


@pytest.mark.parametrize(
    ("status", "details", "reason"),
    [
        ("completed", None, "stop"),
        ("incomplete", {"reason": "max_output_tokens"}, "length"),
        ("incomplete", {"reason": "content_filter"}, "content-filter"),
        ("failed", None, "error"),
    ],
)
def test_a_stream_says_why_it_ends(status: str, details: object, reason: str) -> None:
    response = {**RESPONSE, "status": status, "incomplete_details": details}
    (finish,) = chunks({"type": f"response.{status}", "response": response})
    assert finish["finishReason"] == reason


def test_what_waits_for_its_turn_begins_and_has_no_step() -> None:
    created = {"type": "response.created", "response": RESPONSE}
    queued = {"type": "response.queued", "response": RESPONSE}
    cancelled = {**RESPONSE, "status": "cancelled"}
    ended = {"type": "response.incomplete", "response": cancelled}
    kinds = [chunk["type"] for chunk in chunks(created, queued, ended)]
    assert kinds == ["start", "abort"]
    (start,) = chunks(created, names_message=False)
    assert "messageId" not in start


def test_what_is_said_anew_is_a_step_of_its_own() -> None:
    begins = {"type": "response.in_progress", "response": RESPONSE}
    assert [chunk["type"] for chunk in chunks(begins, begins)] == [
        "start-step",
        "finish-step",
        "start-step",
    ]


@pytest.mark.parametrize(
    ("status", "arguments", "kind"),
    [
        ("completed", '{"a": 1}', "tool-input-available"),
        ("completed", "", "tool-input-available"),
        ("completed", '{"a', "tool-input-error"),
        ("completed", "[" * 100_000, "tool-input-error"),
        ("completed", "[" * 900 + "]" * 900, "tool-input-error"),
        ("completed", '{"a": NaN}', "tool-input-error"),
        ("completed", '{"a": 1e999}', "tool-input-error"),
        ("completed", '{"a": "\\ud800"}', "tool-input-error"),
        ("incomplete", '{"a": 1}', "tool-input-error"),
    ],
    ids=[
        "whole",
        "empty",
        "cut",
        "deep and cut",
        "deep",
        "no number",
        "too large",
        "half a pair",
        "not ended",
    ],
)
def test_a_call_is_made_only_whole(status: str, arguments: str, kind: str) -> None:
    (chunk,) = chunks(done({**CALL, "status": status, "arguments": arguments}))
    assert (chunk["type"], chunk["toolCallId"]) == (kind, "call_1")
    encode_event(chunk)
    kept = ReadItem(
        0, {**CALL, "status": status, "arguments": arguments}, is_readable=True, response_id=LISTED
    )
    (message,) = messages_of([kept])
    assert message["parts"][1]["input"] == chunk["input"]
    JSONResponse(message)


def test_a_search_that_did_not_end_is_told_live_and_later() -> None:
    _, last = chunks(done({**SEARCH, "status": "failed"}))
    assert last["type"] == "tool-output-error"
    ended = ReadItem(0, {**SEARCH, "status": "failed"}, is_readable=True, response_id=LISTED)
    (message,) = messages_of([ended])
    assert message["parts"][1]["state"] == "output-error"


def test_what_is_gone_leaves_a_message_without_it() -> None:
    system = {
        "type": "message",
        "id": "msg_0",
        "role": "developer",
        "content": [{"type": "input_text", "text": "Be."}],
    }
    call = {"type": "function_call", "id": "fc_1", "status": "incomplete"}
    result = {"type": "function_call_output", "id": "fco_1", "status": "incomplete"}
    kept = [
        ReadItem(0, system, is_readable=True),
        ReadItem(1, call, is_readable=False, response_id=LISTED),
        ReadItem(2, result, is_readable=False, response_id=LISTED),
    ]
    shown = messages_of(kept)
    assert [message["role"] for message in shown] == ["system", "assistant"]
    assert shown[1]["parts"] == [{"type": "step-start"}]


@pytest.mark.parametrize(
    ("came", "kind", "state"),
    [
        ({"status": "completed", "output": "4"}, "tool-output-available", {"output": "4"}),
        (
            {"status": "failed", "error": {"type": "mcp_protocol_error", "message": "No."}},
            "tool-output-error",
            {"errorText": "No."},
        ),
        (
            {"status": "failed", "error": {"content": [{"type": "text", "text": "No."}]}},
            "tool-output-error",
            {"errorText": "No."},
        ),
        ({"status": "incomplete"}, "tool-output-error", {"errorText": "The call did not end."}),
    ],
    ids=["output", "protocol", "tool", "cut"],
)
def test_a_remote_tools_call_is_a_dynamic_tools(
    came: dict[str, Any], kind: str, state: dict[str, Any]
) -> None:
    item = {**REMOTE, **came}
    added = {"type": "response.output_item.added", "item": {**item, "arguments": ""}}
    told = chunks(added, {"type": "response.mcp_call_arguments.delta", "delta": "{"}, done(item))
    assert [chunk["type"] for chunk in told] == ["tool-input-start", "tool-input-available", kind]
    assert all(chunk["dynamic"] and chunk["providerExecuted"] for chunk in told)
    assert told[1]["input"] == {"sides": 6}
    assert state.items() <= told[2].items()
    (message,) = messages_of([ReadItem(0, item, is_readable=True, response_id=LISTED)])
    assert message["parts"][1]["type"] == "dynamic-tool"
    assert state.items() <= message["parts"][1].items()


def test_what_has_no_part_of_a_message_is_left_out() -> None:
    items: list[dict[str, Any]] = [
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "dice", "tools": []},
        {"type": "mcp_approval_request", "id": "mcpr_1", "name": "roll", "arguments": "{}"},
        {"type": "mcp_call", "id": "mcp_1", "status": "incomplete"},
    ]
    assert chunks(*map(done, items[:2])) == []
    kept = [ReadItem(0, item, is_readable=True, response_id=LISTED) for item in items]
    (message,) = messages_of(kept)
    assert message["parts"] == [{"type": "step-start"}]


def test_what_a_client_calls_a_citation_is_none() -> None:
    cited = [{"type": "file_citation"}, {"file_id": 1, "index": 1, "filename": "a"}]
    whole = {"type": "file_citation", "file_id": "f", "index": 0, "filename": "a", "undercroft": 1}
    part = {"type": "output_text", "text": "So.", "annotations": [*cited, whole]}
    said = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    (message,) = messages_of([ReadItem(0, said, is_readable=True)])
    assert [each["type"] for each in message["parts"]] == ["step-start", "text"]


def test_an_error_names_the_field_that_a_chat_has() -> None:
    error = {"type": "invalid_request", "code": "context_length_exceeded", "message": "Too long."}
    told, shown = fail({**error, "param": "input"})
    assert told["data"] == {
        "type": "invalid_request",
        "code": "context_length_exceeded",
        "param": "messages",
    }
    assert shown == {"type": "error", "errorText": "Too long."}
    told, _ = fail({**error, "param": "truncation"})
    assert told["data"]["param"] == "truncation"
    told, _ = fail(error)
    assert told["data"]["param"] is None
