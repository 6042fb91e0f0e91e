"""Quotas, how much of them is left, and what was used."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, StrEnum
from typing import Final, Literal, TypeAlias
from uuid import UUID

NOBODY: Final = UUID(int=0)
"""In whose place all users stand who were removed."""


class Period(StrEnum):
    """What a quota is for: a minute or a day of UTC, from its beginning to its end."""

    MINUTE = "minute"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """How long it is."""
        return 60 if self is Period.MINUTE else 24 * 3600


class QuotaKind(StrEnum):
    """Whose a quota is."""

    TENANT = "tenant"
    """All of the tenant together."""
    EACH_USER = "each_user"
    """Each user by themselves who has none of their own for the period."""
    USER = "user"
    KEY = "key"


class Ending(Enum):
    """What became of a request that was to end."""

    BEFORE = "before"
    """It had ended before."""
    SETTLED = "settled"
    """It has ended, and no quota holds anything for it."""
    OWED = "owed"
    """It has ended, and what it took is to be counted in its quotas once that is on disk."""


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose a quota is; of a user or a key with its id."""

    kind: QuotaKind
    id: UUID | None = None

    def __post_init__(self) -> None:
        if (self.id is not None) != (self.kind in {QuotaKind.USER, QuotaKind.KEY}):
            raise ValueError("users and keys have an id, and nothing else has")


@dataclass(frozen=True, slots=True)
class Quota:
    """How much may be used in a period; None: as much as anybody likes."""

    whose: Whose
    period: Period
    requests: int | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class KeptQuota:
    """A quota, and what was used of it so far in a window that is not over.

    Attributes:
        requests: None for a quota of each user, which each uses by themselves.
        tokens: The same; with what is reserved for what goes on.
    """

    quota: Quota
    requests: int | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """One count that a request was held to, as it left it.

    Attributes:
        most: The quota.
        used: With this request, and all that is reserved.
        ends_at: When the window is over.
        seconds_left: Until then.
    """

    kind: QuotaKind
    period: Period
    measure: Literal["requests", "tokens"]
    most: int
    used: int
    ends_at: datetime
    seconds_left: int

    @property
    def is_spent(self) -> bool:
        """Whether the request does not fit."""
        return self.used > self.most

    @property
    def left(self) -> int:
        """How much more there is."""
        return max(0, self.most - self.used)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a request took.

    Attributes:
        input_tokens: With those that the model's server had read before.
        cached_tokens: Those.
        is_estimated: Whether they are counted by the length of the texts, because nobody said.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    is_estimated: bool = False

    def columns(self) -> tuple[int, int, int, bool]:
        """As statements take them, in the order in which they stand here."""
        return self.input_tokens, self.output_tokens, self.cached_tokens, self.is_estimated


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one user used of one model on one day; ``user_id`` is None for all who were removed since."""

    day: date
    user_id: UUID | None
    model: str
    requests: int
    estimated_requests: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int


UsageKey: TypeAlias = tuple[date, UUID | None, str]
"""What names a row: its day, user and model."""
