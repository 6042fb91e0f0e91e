"""How many sockets are open in a process: each principal's, and each tenant's."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from undercroft.chat.room import FairRoom
from undercroft.identity.models import Principal
from undercroft.kit.errors import ErrorKind, UndercroftError

MOST_OPEN: Final = 32
_SPARE_PART: Final = 11
"""One in so many places is for tenants that have less than an even share."""


class TooManySocketsError(UndercroftError):
    """They have as many open as one may."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason} Ask on one of those that are open, where a stream_id keeps responses apart, or close one.",
            kind=ErrorKind.RATE_LIMITED,
            code="too_many_sockets",
            retry_after=10,
        )


class OpenSockets:
    """Counts them, so that nobody takes the places of all others.

    Args:
        places: How many there are for all tenants together.
    """

    def __init__(self, places: int) -> None:
        self._open = Counter[UUID]()
        self._room = FairRoom(max(1, places - max(1, places // _SPARE_PART)), _too_many_of_tenant)

    @contextmanager
    def admit(self, caller: Principal) -> Generator[None]:
        """Count one while this is open.

        Raises:
            TooManySocketsError: When they have as many as one may, or their tenant its share of what is left.
        """
        principal_id = caller.principal_id
        if self._open[principal_id] >= MOST_OPEN:
            raise TooManySocketsError(
                f"You have {MOST_OPEN} sockets open here, as many as one may."
            )
        with self._room.place(caller.tenant_id):
            self._open[principal_id] += 1
            try:
                yield
            finally:
                self._open[principal_id] -= 1
                if not self._open[principal_id]:
                    del self._open[principal_id]


def _too_many_of_tenant() -> TooManySocketsError:
    return TooManySocketsError(
        "Nearly all sockets of this process are open, and your tenant has its share of them."
    )
