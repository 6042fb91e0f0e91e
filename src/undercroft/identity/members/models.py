"""A user as admins manage them."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from undercroft.identity.models import Kind, Role


@dataclass(frozen=True, slots=True)
class Member:
    """A user of a tenant.

    Attributes:
        email: Their address; None for a service.
        name: A service's name; None for everybody else.
        suspended_at: Since when they can do nothing; None for who can.
        revision: Grows with every change of the user.
    """

    id: UUID
    kind: Kind
    email: str | None
    name: str | None
    role: Role
    suspended_at: datetime | None
    revision: int
    created_at: datetime
    ledger_salt: bytes = field(repr=False)

    @property
    def is_acting_admin(self) -> bool:
        """Whether they can act as an admin."""
        return self.role is Role.ADMIN and self.suspended_at is None
