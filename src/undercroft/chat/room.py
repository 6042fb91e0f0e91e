"""How much of one kind a process has open at once, answers or sockets, and whose."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from uuid import UUID

from undercroft.chat.streams.errors import ResponsesBusyError
from undercroft.kit.errors import UndercroftError


class FairRoom:
    """Places for answers that are made, or sockets that are open. One more is refused before it takes memory.

    A tenth more are for tenants that have less than an even share: who floods a process takes all the others, and not
    what the next tenant needs.

    Args:
        most: How many places anybody may take.
        refusal: Makes what is raised where there is none.
    """

    def __init__(
        self, most: int, refusal: Callable[[], UndercroftError] = ResponsesBusyError
    ) -> None:
        self._most = most
        self._refusal = refusal
        self._spare = max(1, most // 10)
        self._taken: Counter[UUID] = Counter()

    @property
    def free(self) -> int:
        """How many places anybody may take now."""
        return max(0, self._most - self._taken.total())

    @contextmanager
    def place(self, tenant_id: UUID) -> Generator[None]:
        """A place, while the context lasts.

        Raises:
            UndercroftError: The refusal, when there is none for this tenant.
        """
        if not self._has_room(tenant_id):
            raise self._refusal()
        self.take(tenant_id)
        try:
            yield
        finally:
            self.leave(tenant_id)

    def take(self, tenant_id: UUID) -> None:
        """A place for what is made in any case."""
        self._taken[tenant_id] += 1

    def leave(self, tenant_id: UUID) -> None:
        """Give a place back."""
        self._taken[tenant_id] -= 1
        if not self._taken[tenant_id]:
            del self._taken[tenant_id]

    def _has_room(self, tenant_id: UUID) -> bool:
        taken = self._taken.total()
        if taken < self._most:
            return True
        tenants = len(self._taken.keys() | {tenant_id})
        share = max(1, self._most // tenants)
        return taken < self._most + self._spare and self._taken[tenant_id] < share
