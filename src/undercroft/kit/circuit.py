"""Whether a server is asked at all: a circuit breaker. Pure; only its clock is from outside.

Closed, every call goes through. After some failures in a row it opens: no call goes through for a while, so that nobody
waits for what fails anyway and a server that comes up again is not met by all at once. Then it is half-open: one call
goes through, and what becomes of it closes the circuit or opens it again.
"""

import math
from enum import StrEnum
from typing import Final

from undercroft.kit.clock import Clock

FAILURES: Final = 5
REST_SECONDS: Final = 30.0


class CircuitState(StrEnum):
    """What becomes of the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Circuit:
    """The circuit of one server.

    A call is let through with a pass, the number of the period in which it began: what became of a call from before the
    circuit opened says nothing about the server as it is now.

    Args:
        clock: For how long it has been open.
        failures: So many in a row open it.
        rest_seconds: How long it stays open.
    """

    def __init__(
        self, clock: Clock, *, failures: int = FAILURES, rest_seconds: float = REST_SECONDS
    ) -> None:
        self._clock = clock
        self._limit = failures
        self._rest_seconds = rest_seconds
        self._period = 0
        self._failures = 0
        self._half_open_at: float | None = None
        self._is_probed = False

    @property
    def state(self) -> CircuitState:
        """What becomes of the next call."""
        if self._half_open_at is None:
            return CircuitState.CLOSED
        is_resting = self._clock.monotonic() < self._half_open_at
        return CircuitState.OPEN if is_resting else CircuitState.HALF_OPEN

    @property
    def seconds_left(self) -> int:
        """After how many whole seconds a call may go through; at least one."""
        left = (self._half_open_at or 0.0) - self._clock.monotonic()
        return max(1, math.ceil(left))

    def enter(self) -> int | None:
        """A pass for one call, or None when it must not be made. Whoever has one gives it back with :meth:`leave`."""
        if self.state is CircuitState.CLOSED:
            return self._period
        if self.state is CircuitState.OPEN or self._is_probed:
            return None
        self._is_probed = True
        return self._period

    def begin(self, passed: int) -> None:
        """The call has brought something. A half-open circuit closes, on probation: the call may yet break off."""
        if self._is_probe(passed):
            self._close(self._limit - 1)

    def succeed(self, passed: int) -> None:
        """The call was answered to its end."""
        if self._is_probe(passed) or self._is_current(passed):
            self._close(0)

    def fail(self, passed: int) -> None:
        """The server failed the call."""
        if self._is_current(passed):
            self._failures += 1
            if self._failures < self._limit:
                return
        elif not self._is_probe(passed):
            return
        self._period += 1
        self._half_open_at = self._clock.monotonic() + self._rest_seconds
        self._is_probed = False

    def leave(self, passed: int) -> None:
        """The call is over, however it went. A probe that told nothing makes room for another."""
        if self._is_probe(passed):
            self._is_probed = False

    def _is_current(self, passed: int) -> bool:
        return self._half_open_at is None and passed == self._period

    def _is_probe(self, passed: int) -> bool:
        return self._half_open_at is not None and self._is_probed and passed == self._period

    def _close(self, failures: int) -> None:
        self._half_open_at = None
        self._is_probed = False
        self._failures = failures
