"""What is to be made."""

from dataclasses import dataclass, field

from undercroft.chat.consumption import Consumption
from undercroft.chat.conversations.models import SumUp
from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.streams.models import Lease
from undercroft.kit.scope import Scope
from undercroft.metering.models import Spent
from undercroft.sharing.models import Release
from undercroft.vault.keys.models import DataKey


@dataclass(frozen=True, slots=True)
class Work:
    """One response that is to be made.

    Attributes:
        lease: Under which; None for what is not kept.
        rests_on: What it is made from, as far as that is found by now: for whoever shows it.
        consumption: What it takes.
        thoughts_key: What the thoughts of what is not kept are sealed under, where they are asked for.
        due: What of its conversation is to be summed up once it has ended.
    """

    scope: Scope
    request: ResponseRequest
    key: DataKey
    events: ResponseEvents
    lease: Lease | None
    thoughts_key: bytes | None = field(default=None, repr=False)
    rests_on: list[Release] = field(default_factory=list[Release])
    consumption: Consumption = field(default_factory=Consumption)
    due: list[SumUp] = field(default_factory=list[SumUp])

    @property
    def may_begin_again(self) -> bool:
        """Whether an answer that broke off may be begun anew: where it was asked for, and can be."""
        return self.request.begins_again and self.events.can_begin_again

    @property
    def may_be_left(self) -> bool:
        """Whether whoever takes it over makes an answer all the same, where that was asked for."""
        return self.may_begin_again or (self.request.begins_again and self.events.is_silent)

    @property
    def spent(self) -> Spent:
        """What it has taken so far."""
        return self.consumption.spent
