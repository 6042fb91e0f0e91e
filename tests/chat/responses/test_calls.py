"""Calls of the client's functions among the events of a response."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from undercroft.chat.providers.protocol import FinishReason, ToolCallDelta, Usage
from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.reading import redact
from undercroft.chat.responses.rebuilding import rebuild_events
from undercroft.chat.sources import redact_item
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PIECES = (
    ToolCallDelta(0, "", "call_a", "look"),
    ToolCallDelta(0, '{"at"'),
    ToolCallDelta(1, "{}", "call_b", "now"),
    ToolCallDelta(0, ": 1}"),
)


def begun() -> ResponseEvents:
    return ResponseEvents(UUID(int=1), NOW, {}, IdSource(SystemClock()))


def made(events: ResponseEvents) -> list[dict[str, Any]]:
    seen = [*events.begin(), *events.add_text("Let me look.")]
    for piece in PIECES:
        seen += events.add_call(piece)
    return seen


def shown(events: ResponseEvents) -> list[tuple[str, str, str]]:
    calls = [item for item in events.resource["output"] if item["type"] == "function_call"]
    return [(call["name"], call["arguments"], call["status"]) for call in calls]


def test_calls_are_open_until_the_answer_ends() -> None:
    events = begun()
    seen = made(events)
    seen += events.complete(FinishReason.TOOL_CALLS, Usage(1, 1), NOW)

    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    pieces = [event for event in seen if event["type"].endswith("arguments.delta")]
    assert [(event["output_index"], event["delta"]) for event in pieces] == [
        (1, '{"at"'),
        (2, "{}"),
        (1, ": 1}"),
    ]
    assert [event["type"].removeprefix("response.") for event in seen[-5:]] == [
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert shown(events) == [("look", '{"at": 1}', "completed"), ("now", "{}", "completed")]
    assert [call["call_id"] for call in events.resource["output"][1:]] == ["call_a", "call_b"]


def test_a_call_that_was_cut_off_is_incomplete() -> None:
    events = begun()
    made(events)
    list(events.cancel())
    assert [status for _, _, status in shown(events)] == ["incomplete", "incomplete"]


def test_another_process_goes_on_with_the_numbers_and_never_with_the_arguments() -> None:
    first = begun()
    seen = made(first)
    second = begun()
    second.resume(seen)
    assert second.has_output

    ending = list(second.cancel())

    assert ending[0]["sequence_number"] == len(seen)
    assert shown(second) == [("look", '{"at": 1}', "incomplete"), ("now", "{}", "incomplete")]


def test_a_call_alone_is_something_that_was_shown() -> None:
    events = begun()
    assert not events.has_output
    list(events.add_call(PIECES[0]))
    assert events.has_output


def test_a_response_of_long_ago_tells_its_calls_again() -> None:
    events = begun()
    made(events)
    list(events.complete(FinishReason.TOOL_CALLS, Usage(1, 1), NOW))
    again = rebuild_events(events.resource)
    pieces = [event for event in again if "arguments" in event["type"]]
    assert [event.get("delta", event.get("arguments")) for event in pieces] == [
        '{"at": 1}',
        '{"at": 1}',
        "{}",
        "{}",
    ]
    added = [event["item"] for event in again if event["type"].endswith("item.added")]
    assert [item["arguments"] for item in added[1:]] == ["", ""]
    assert again[-1]["response"] == events.resource


def test_what_a_call_repeats_of_a_document_is_removed_with_it() -> None:
    events = begun()
    made(events)
    list(events.complete(FinishReason.TOOL_CALLS, Usage(1, 1), NOW))
    kept = redact(events.resource)
    assert '"at"' not in str(kept)
    assert [item["name"] for item in kept["output"][1:]] == ["look", "now"]
    result = {"type": "function_call_output", "call_id": "call_a", "output": "the lamp's price"}
    assert "lamp" not in str(redact_item(result))
