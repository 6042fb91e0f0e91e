"""What is to be made."""

from dataclasses import dataclass, field

from undercroft.chat.consumption import spent, spent_so_far
from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.streams.models import Lease
from undercroft.kit.database import Scope
from undercroft.metering.models import Spent
from undercroft.sharing.models import Release
from undercroft.vault.keys.models import DataKey


@dataclass(frozen=True, slots=True)
class Work:
    """One response that is to be made.

    Attributes:
        lease: Under which; None for what is not kept.
        rests_on: What it is made from, as far as that is found by now: for whoever shows it.
    """

    scope: Scope
    request: ResponseRequest
    key: DataKey
    events: ResponseEvents
    lease: Lease | None
    rests_on: list[Release] = field(default_factory=list[Release])

    @property
    def spent(self) -> Spent:
        """What it took; of what was broken off, as far as can be told."""
        if self.events.usage is not None:
            return spent(self.events.usage)
        if self.events.failure is not None and not self.events.has_output:
            return Spent()
        return spent_so_far(self.request.question, "".join(self.events.said))
