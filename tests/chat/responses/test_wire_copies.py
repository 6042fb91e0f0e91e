"""What is told of a response stays as it was told."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.wire_copies import copied
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource


def test_a_copy_is_equal_and_shares_no_object_and_no_list() -> None:
    parts: list[Any] = [{"n": 1}, ["b"]]
    given: dict[str, Any] = {"one": {"parts": parts}, "none": None, "yes": True, "list": [parts]}
    copy = copied(given)
    assert copy == given
    parts[0]["n"] = 2
    parts[1].append("c")
    given["list"].append("more")
    unchanged = [{"n": 1}, ["b"]]
    assert copy == {"one": {"parts": unchanged}, "none": None, "yes": True, "list": [unchanged]}


def test_what_was_told_does_not_change_while_the_response_goes_on() -> None:
    events = ResponseEvents(
        UUID(int=1), datetime(2026, 11, 30, tzinfo=UTC), {"tools": []}, IdSource(SystemClock())
    )
    begun = list(events.begin())
    said = [*events.add_text("One"), *events.add_text(" two")]
    list(events.cancel())
    events.resource["tools"].append({"type": "function"})
    assert [event["response"]["status"] for event in begun] == ["in_progress", "in_progress"]
    assert [event["response"]["output"] for event in begun] == [[], []]
    assert [event["response"]["tools"] for event in begun] == [[], []]
    added, part, *deltas = said
    assert added["item"]["status"] == "in_progress"
    assert added["item"]["content"] == []
    assert part["part"]["text"] == ""
    assert [delta["delta"] for delta in deltas] == ["One", " two"]
    numbers = [event["sequence_number"] for event in (*begun, *said)]
    assert numbers == list(range(len(numbers)))
