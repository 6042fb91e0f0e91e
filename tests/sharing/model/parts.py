"""What a tenant is made of in the model: what is granted, placed, agreed to and asked for."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

FOREVER: Final = 10**6


def is_in(field: str, other: str) -> bool:
    """Whether a field of a record is another one, or lies in it."""
    return field == other or field.startswith(f"{other}/")


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody wants to grant. None is not said.

    Attributes:
        begins: The first hour in which it counts.
        ends: The first hour in which it counts no more.
        fields: JSON Pointers to what of a record it shows.
    """

    actions: frozenset[str]
    purpose: str | None = None
    begins: int | None = None
    ends: int | None = None
    max_uses: int | None = None
    fields: frozenset[str] | None = None

    def under(self, parent: "Offer") -> "Offer":
        """The same, completed from what it is shared on under."""
        return Offer(
            self.actions,
            parent.purpose if self.purpose is None else self.purpose,
            parent.begins if self.begins is None else self.begins,
            parent.ends if self.ends is None else self.ends,
            parent.max_uses if self.max_uses is None else self.max_uses,
            parent.fields if self.fields is None else self.fields,
        )

    def is_within(self, parent: "Offer") -> bool:
        """Whether it gives no more."""
        return (
            self.actions <= parent.actions
            and parent.purpose in (None, self.purpose)
            and (self.begins or 0) >= (parent.begins or 0)
            and (self.ends or FOREVER) <= (parent.ends or FOREVER)
            and (self.max_uses or FOREVER) <= (parent.max_uses or FOREVER)
            and all(map(parent.shows, self.fields or {""}))
        )

    def shows(self, field: str) -> bool:
        """Whether all of a field is part of it; of the whole record, which is the field "", where it selects none."""
        return self.fields is None or any(is_in(field, one) for one in self.fields)


@dataclass(slots=True)
class Given:
    """A grant that was made."""

    thing: str
    giver: str
    receiver: str
    offer: Offer
    parent: UUID | None
    consent: UUID | None = None
    uses: int = 0
    is_ended: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """How a document came into a vector store: by whom, and under which grant when it is not theirs."""

    adder: str
    grant: UUID | None


@dataclass(slots=True)
class Consent:
    """What somebody was asked to agree to, and what became of it, event by event.

    Attributes:
        until: The first hour in which it counts no more.
    """

    thing: str
    subject: str
    purpose: str
    events: list[str]
    until: int = 0

    @property
    def is_given(self) -> bool:
        """Whether yes was the last word."""
        return self.events[-1] in {"given", "renewed"}


@dataclass(slots=True)
class Request:
    """What somebody asked to be granted."""

    asker: str
    thing: str
    offer: Offer
    until: int
    answer: str | None = None
