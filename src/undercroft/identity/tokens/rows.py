"""How a row says what is known of a valid token: here for those who keep a kind of their own."""

from asyncpg import Record

from undercroft.identity.repository import read_principal
from undercroft.identity.tokens.models import LiveToken


def read_token(row: Record) -> LiveToken:
    """A credential's row, with whom it makes of its bearer."""
    return LiveToken(read_principal(row), row["created_at"], row["expires_at"], row["ledger_salt"])
