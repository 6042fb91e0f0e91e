"""Remote tools among the events of a response: told once, in order, and closed whatever happens."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from undercroft.chat.providers.protocol import FinishReason, Usage
from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.reading import redact
from undercroft.chat.responses.rebuilding import rebuild_events
from undercroft.chat.tools.models import (
    ApprovalAsked,
    CallBegun,
    CallEnded,
    Outcome,
    RemoteCall,
    RemoteTool,
    ToolsListed,
    ToolsWanted,
)
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALL = RemoteCall("port", "send", '{"text": "the rent"}')
LISTED = ToolsListed("port", [RemoteTool("send", None, {"type": "object"})])


def begun() -> ResponseEvents:
    return ResponseEvents(UUID(int=1), NOW, {}, IdSource(SystemClock()))


def listed(events: ResponseEvents) -> Iterator[dict[str, Any]]:
    yield from events.begin()
    yield from events.tell_tools(ToolsWanted("port"))
    yield from events.tell_tools(LISTED)


def called(events: ResponseEvents) -> Iterator[dict[str, Any]]:
    yield from listed(events)
    yield from events.add_text("I send it.")
    yield from events.tell_tools(CallBegun(CALL))


def kinds(events: ResponseEvents) -> list[str]:
    return [item["type"] for item in events.resource["output"]]


def test_text_around_a_call_is_two_messages_and_is_told_again_the_same() -> None:
    events = begun()
    seen = list(called(events))
    seen += events.tell_tools(CallEnded(Outcome("it is sent")))
    seen += events.add_text("Done.")
    seen += events.tell_tools(ApprovalAsked(CALL))
    seen += events.complete(FinishReason.STOP, Usage(1, 1), NOW)
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    assert kinds(events) == [
        "mcp_list_tools",
        "message",
        "mcp_call",
        "message",
        "mcp_approval_request",
    ]
    again = rebuild_events(events.resource)
    assert [event["type"] for event in again] == [event["type"] for event in seen]
    done = [event["item"] for event in seen if event["type"].endswith("item.done")]
    assert done == events.resource["output"]


def test_another_process_lists_again_and_tells_nothing_of_it_twice() -> None:
    first, second = begun(), begun()
    second.resume(listed(first))
    assert not second.has_output
    assert not list(second.tell_tools(ToolsWanted("port")))
    assert not list(second.tell_tools(LISTED))
    assert second.resource["output"] == first.resource["output"]


def test_a_text_before_any_call_goes_on_and_a_call_never_does() -> None:
    first = begun()
    seen = [*listed(first), *first.add_text("I send")]
    second = begun()
    second.resume(seen)
    assert (second.has_output, second.can_go_on, second.shown.text) == (True, True, "I send")
    seen += first.tell_tools(CallBegun(CALL))
    third = begun()
    third.resume(seen)
    assert (third.has_output, third.can_go_on) == (True, False)
    ending = list(third.cancel())
    assert ending[0]["sequence_number"] == len(seen)
    assert [event["type"].removeprefix("response.") for event in ending] == [
        "mcp_call.failed",
        "output_item.done",
        "incomplete",
    ]
    call = third.resource["output"][-1]
    assert (call["status"], call["arguments"]) == ("incomplete", CALL.arguments)
    assert "not known" in call["error"]["message"]


def test_what_a_call_repeats_of_a_document_is_removed_with_it() -> None:
    events = begun()
    list(called(events))
    list(events.tell_tools(CallEnded(Outcome(error="the rent is odd", is_tools=True))))
    list(events.tell_tools(ApprovalAsked(CALL)))
    list(events.complete(FinishReason.STOP, Usage(1, 1), NOW))
    assert str(events.resource).count("the rent") == 3
    assert "the rent" not in str(redact(events.resource))
