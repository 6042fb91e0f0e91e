"""Groups and who is in them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from undercroft.identity.models import Kind

GROUP_PREFIX: Final = "group_"


@dataclass(frozen=True, slots=True)
class Group:
    """A named set of users.

    Attributes:
        revision: Grows with every change of the name; members come and go without one.
    """

    id: UUID
    name: str
    revision: int
    created_at: datetime
    ledger_salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A user in a group.

    Attributes:
        email: Their address; None for a service.
        name: A service's name; None for everybody else.
        ledger_salt: The user's.
    """

    user_id: UUID
    kind: Kind
    email: str | None
    name: str | None
    added_at: datetime
    ledger_salt: bytes = field(repr=False)
