"""How many sockets one principal has open in a process."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from undercroft.kit.errors import ErrorKind, UndercroftError

MOST_OPEN: Final = 32


class TooManySocketsError(UndercroftError):
    """They have as many open as one may."""

    def __init__(self) -> None:
        super().__init__(
            f"You have {MOST_OPEN} sockets open here, as many as one may. Ask on one of them, where a stream_id keeps "
            "responses apart, or close one.",
            kind=ErrorKind.RATE_LIMITED,
            code="too_many_sockets",
            retry_after=10,
        )


class OpenSockets:
    """Counts them, so that nobody takes the places of all others."""

    def __init__(self) -> None:
        self._open = Counter[UUID]()

    @contextmanager
    def admit(self, principal_id: UUID) -> Generator[None]:
        """Count one while this is open.

        Raises:
            TooManySocketsError: When they have as many as one may.
        """
        if self._open[principal_id] >= MOST_OPEN:
            raise TooManySocketsError
        self._open[principal_id] += 1
        try:
            yield
        finally:
            self._open[principal_id] -= 1
            if not self._open[principal_id]:
                del self._open[principal_id]
