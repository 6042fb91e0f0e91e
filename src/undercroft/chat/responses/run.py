"""One response that this process is making."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from undercroft.chat.responses.models import WireObject
from undercroft.chat.responses.work import Work
from undercroft.chat.streams.models import Lease
from undercroft.chat.streams.writer import OpenStream


class Running:
    """A response that this process is making."""

    def __init__(
        self,
        work: Work,
        lease: Lease,
        stream: OpenStream,
        waiting: Sequence[WireObject] | None = None,
    ) -> None:
        self.work = work
        self.lease = lease
        self.stream = stream
        # What is told while it waits for its turn; None where it need not.
        self.waiting = waiting
        self.task: asyncio.Task[None] | None = None
        # Numbered, and not yet where they are written.
        self.unwritten: list[WireObject] = []
        self.is_begun = False
        self.is_cancelled = False
        self.is_ending = False

    @property
    def id(self) -> UUID:
        """The response."""
        return self.lease.response_id

    @property
    def is_background(self) -> bool:
        """Whether it goes on though nobody watches."""
        return self.work.request.is_background

    def cancel(self) -> None:
        """Have it end with what there is of it; nothing, where it is ending already."""
        self.is_cancelled = True
        # One that has not begun ends by itself once it does.
        if self.is_begun and not self.is_ending and self.task is not None:
            self.task.cancel()

    def stop(self) -> None:
        """Leave it as it is, to whoever takes it over."""
        if self.task is not None:
            self.task.cancel()
