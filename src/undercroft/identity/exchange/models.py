"""What an exchange answers."""

from dataclasses import dataclass, field
from datetime import datetime

from undercroft.identity.models import Permission


@dataclass(frozen=True, slots=True)
class ExchangedToken:
    """A token with which a service acts for a user. ``secret`` is shown once and not stored."""

    secret: str = field(repr=False)
    scopes: frozenset[Permission]
    expires_at: datetime
