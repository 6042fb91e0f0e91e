import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft.chat.providers.event_stream import EventStreamReader, EventTooLargeError

STREAM = (
    b"\xef\xbb\xbfdata: one\n\n"
    b": a comment\n\n"
    b"event: message\r\nid: 7\r\ndata: two\r\ndata:  lines\r\n\r\n"
    b"data:three\r\rdata\n\n"
    b"retry: 10\n\n"
    b"data: na\xc3\xafve \xf0\x9f\xa6\x9c\n\ndata: [DONE]"
)
EVENTS = [b"one", b"two\n lines", b"three", b"", "naïve 🦜".encode(), b"[DONE]"]


def read(cuts: list[int]) -> list[bytes]:
    reader = EventStreamReader(1000)
    pieces = itertools.pairwise([0, *sorted(cuts), len(STREAM)])
    events = [event for start, end in pieces for event in reader.feed(STREAM[start:end])]
    return events + reader.finish()


def test_events_are_the_same_wherever_the_network_cuts_them() -> None:
    assert read([]) == EVENTS
    assert read(list(range(len(STREAM)))) == EVENTS
    for cut in range(len(STREAM)):
        assert read([cut]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM))))
def test_events_are_the_same_however_often_the_network_cuts_them(cuts: list[int]) -> None:
    assert read(cuts) == EVENTS


def test_an_event_is_given_out_as_soon_as_it_is_complete() -> None:
    reader = EventStreamReader(1000)

    assert reader.feed(b"data: one\r\n\r") == [b"one"]
    assert reader.feed(b"\ndata: two\n") == []
    assert reader.feed(b"\n") == [b"two"]


@pytest.mark.parametrize("piece", [b"data: 0123456789\n", b"x" * 16])
def test_refuses_an_event_over_the_limit_in_one_line_or_in_many(piece: bytes) -> None:
    reader = EventStreamReader(64)

    def feed_for_ever() -> None:
        while True:
            reader.feed(piece)

    with pytest.raises(EventTooLargeError):
        feed_for_ever()


def test_the_limit_is_for_one_event_not_for_the_stream() -> None:
    reader = EventStreamReader(64)

    assert sum(len(reader.feed(b"data: 0123456789\n\n")) for _ in range(100)) == 100


PLAIN = b"data: one\n\n"


@pytest.mark.parametrize(
    "received",
    [
        PLAIN,
        PLAIN + b"data:  [DONE]\n\n",
        PLAIN + b"data: of\ndata: lines\n\n",
        PLAIN + b": comment\n\n" + PLAIN,
        PLAIN + b"\n\n" + PLAIN,
        PLAIN + b"data:two\n\n",
        b"data: 1\r\rdata: 2\n\n",
        b"\ndata: 1\n\n",
    ],
)
@pytest.mark.parametrize(
    "before", [b"", b"data: ha", b"data: half\n", b"data: cut\n\n", b"data: a\n\r"]
)
def test_whole_events_are_read_as_byte_by_byte(before: bytes, received: bytes) -> None:
    at_once, bit_by_bit = EventStreamReader(1000), EventStreamReader(1000)
    pieces = [PLAIN, before, received]
    whole = b"".join(pieces)

    events = [event for piece in pieces for event in at_once.feed(piece)]

    assert events == [event for byte in whole for event in bit_by_bit.feed(bytes([byte]))]


def test_the_limit_holds_for_whole_events() -> None:
    reader = EventStreamReader(64)
    assert reader.feed(PLAIN) == [b"one"]
    assert reader.feed(b"data: %b\n\n" % (b"x" * 58)) == [b"x" * 58]
    with pytest.raises(EventTooLargeError):
        reader.feed(PLAIN + b"data: %b\n\n" % (b"x" * 59))
