"""Thoughts among the events of a response: in the specification's order, taken over, rebuilt, and taken out."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.openresponses import find_faults
from undercroft.chat.providers.protocol import FinishReason, ReasoningDelta, Usage
from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.reading import redact
from undercroft.chat.responses.rebuilding import rebuild_events
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = {
    False: ("content_part", "reasoning", "content", "reasoning_text"),
    True: ("reasoning_summary_part", "reasoning_summary_text", "summary", "summary_text"),
}


def begun(*, sealed: bool = False) -> ResponseEvents:
    return ResponseEvents(UUID(int=1), NOW, {}, IdSource(SystemClock()), include_sealed=sealed)


def think(events: ResponseEvents, *, is_summary: bool) -> list[dict[str, Any]]:
    seen = list(events.begin())
    for piece in ("First I ", "think."):
        seen += events.think(ReasoningDelta(piece, is_summary))
    return seen


@pytest.mark.parametrize("is_summary", [False, True])
def test_a_thought_is_an_item_of_its_own_before_the_answer(is_summary: bool) -> None:
    part, text, place, kind = NAMES[is_summary]
    events = begun()
    seen = think(events, is_summary=is_summary)
    seen += events.end_thought("sealed")
    seen += events.add_text("Done.")
    seen += events.complete(FinishReason.STOP, Usage(1, 2, reasoning_tokens=1), NOW)
    assert [event["type"] for event in seen[2:9]] == [
        "response.output_item.added",
        f"response.{part}.added",
        f"response.{text}.delta",
        f"response.{text}.delta",
        f"response.{text}.done",
        f"response.{part}.done",
        "response.output_item.done",
    ]
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    thought, message = seen[-1]["response"]["output"]
    assert thought[place] == [{"type": kind, "text": "First I think."}]
    assert message["content"][0]["text"] == "Done."
    assert seen[-1]["response"]["usage"]["output_tokens_details"] == {"reasoning_tokens": 1}
    # What is sealed is kept with it, and shown to nobody who has not asked for it.
    assert events.resource["output"][0]["encrypted_content"] == "sealed"
    assert not any("sealed" in str(event) for event in seen)
    # What is made of it long after tells the same.
    rebuilt = rebuild_events(events.resource)
    assert rebuilt[-1] == {**seen[-1], "sequence_number": rebuilt[-1]["sequence_number"]}
    texts = [event["text"] for event in rebuilt if event["type"] == f"response.{text}.done"]
    assert texts == ["First I think."]
    assert not any("sealed" in str(event) for event in rebuilt)
    for event in seen[2:-1]:
        assert not find_faults(event)


def test_what_is_sealed_is_shown_where_it_was_asked_for() -> None:
    events = begun(sealed=True)
    think(events, is_summary=False)
    (*_, done) = events.end_thought("sealed")
    assert done["item"]["encrypted_content"] == "sealed"


def test_what_is_for_nobody_to_read_is_an_item_without_parts() -> None:
    events = begun(sealed=True)
    added, done = events.end_thought("sealed")
    assert (added["type"], done["type"]) == (
        "response.output_item.added",
        "response.output_item.done",
    )
    assert done["item"]["summary"] == done["item"]["content"] == []


@pytest.mark.parametrize("is_summary", [False, True])
def test_another_process_ends_the_thought_and_does_not_go_on_with_it(is_summary: bool) -> None:
    _, text, place, _ = NAMES[is_summary]
    seen = think(begun(), is_summary=is_summary)
    events = begun()
    events.resume(seen)
    assert events.has_output
    assert not events.can_go_on
    rest = list(events.cancel())
    assert rest[0]["type"] == f"response.{text}.done"
    assert rest[-1]["response"]["output"][0][place][0]["text"] == "First I think."
    numbers = [event["sequence_number"] for event in (*seen, *rest)]
    assert numbers == list(range(len(numbers)))


def test_who_may_not_read_the_sources_is_told_nothing_of_the_thought() -> None:
    events = begun()
    think(events, is_summary=True)
    list(events.end_thought("sealed"))
    list(events.complete(FinishReason.STOP, Usage(1, 1), NOW))
    (item,) = redact({**events.resource, "error": None})["output"]
    assert (list(item["summary"]), list(item["content"])) == ([], [])
    assert "encrypted_content" not in item
