"""What is known of a token that is valid, and what every kind of token can say of its own."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from undercroft.identity.models import Principal
from undercroft.kit.database import Transaction
from undercroft.ledger.models import Act


@dataclass(frozen=True, slots=True)
class LiveToken:
    """A token that is valid now.

    Attributes:
        principal: Who its bearer acts as; its ``credential_id`` is the token's own id.
        expires_at: None for never.
        user_salt: Opens the ledger's commitments to the user.
    """

    principal: Principal
    issued_at: datetime
    expires_at: datetime | None
    user_salt: bytes = field(repr=False)


class TokenKind(Protocol):
    """One kind of token, in transactions of the tenant that asks: another tenant's is not there."""

    async def find(self, transaction: Transaction, presented: str) -> LiveToken | None:
        """The token; None unless it would authenticate its bearer at this instant."""
        ...

    async def revoke(self, transaction: Transaction, presented: str) -> Act | None:
        """End the token at once; what to put on record, None when there was nothing to end."""
        ...
