"""Pieces of text that come together are one; nothing else changes, and nothing changes places."""

from collections.abc import Iterator

import pytest

from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.providers.upstream_errors import UpstreamError, broken_off
from undercroft.chat.providers.upstream_provider import joined

CALL = ToolCallDelta(0, "{}", "call_1", "look")
END = Finished(FinishReason.STOP, Usage(1, 2))


def test_text_that_follows_text_is_one_piece() -> None:
    said = [TextDelta("a "), TextDelta("b "), TextDelta("c")]
    assert list(joined(said)) == [TextDelta("a b c")]


def test_what_is_no_text_stays_where_it_is() -> None:
    thought = ReasoningDelta("hm")
    said: list[GenerationEvent] = [
        thought,
        TextDelta("a"),
        TextDelta("b"),
        CALL,
        TextDelta("c"),
        END,
    ]
    assert list(joined(said)) == [thought, TextDelta("ab"), CALL, TextDelta("c"), END]


def test_text_stays_with_how_likely_its_tokens_were() -> None:
    said = [TextDelta("a"), TextDelta("b"), TextDelta("c", (TokenLogprob("c", -0.5),))]
    assert list(joined([*said, *said])) == [TextDelta("ab"), said[2], TextDelta("ab"), said[2]]


def test_what_came_before_an_error_is_told_before_it() -> None:
    def breaking() -> Iterator[GenerationEvent]:
        yield TextDelta("a")
        yield TextDelta("b")
        raise broken_off("server", "reported an error")

    events = joined(breaking())
    assert next(events) == TextDelta("ab")
    with pytest.raises(UpstreamError):
        next(events)


def test_of_nothing_there_is_nothing() -> None:
    assert list(joined([])) == []
