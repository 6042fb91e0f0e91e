"""The statements about single tokens, one method each."""

from typing import Final
from uuid import UUID

from undercroft.identity.models import RevokedKey
from undercroft.identity.tokens.models import LiveToken
from undercroft.identity.tokens.rows import read_token
from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.identity.tokens")


class TokenRepository:
    """Finds and ends the tenant's tokens by their hashes."""

    async def find_live_access_token(
        self, transaction: Transaction, token_hash: bytes
    ) -> LiveToken | None:
        """The valid access token with that hash."""
        row = await _QUERIES.maybe(transaction, "find_live_access_token", token_hash)
        return None if row is None else read_token(row)

    async def find_live_api_key(
        self, transaction: Transaction, key_hash: bytes
    ) -> LiveToken | None:
        """The valid API key with that hash."""
        row = await _QUERIES.maybe(transaction, "find_live_api_key", key_hash)
        return None if row is None else read_token(row)

    async def revoke_access_token(
        self, transaction: Transaction, token_hash: bytes
    ) -> tuple[UUID, bytes] | None:
        """End an access token: whose it was, and their salt; None when there was nothing to end."""
        row = await _QUERIES.maybe(transaction, "revoke_access_token", token_hash)
        return None if row is None else (row["user_id"], row["ledger_salt"])

    async def revoke_api_key(self, transaction: Transaction, key_hash: bytes) -> RevokedKey | None:
        """End an API key; None when there was nothing to end."""
        row = await _QUERIES.maybe(transaction, "revoke_api_key", key_hash)
        return None if row is None else RevokedKey(row["id"], row["user_id"], row["ledger_salt"])

    async def find_live_refresh_token(
        self, transaction: Transaction, family_hash: bytes, token_hash: bytes
    ) -> LiveToken | None:
        """The good refresh token with these hashes."""
        row = await _QUERIES.maybe(transaction, "find_live_refresh_token", family_hash, token_hash)
        return None if row is None else read_token(row)

    async def end_session_of_token(
        self, transaction: Transaction, family_hash: bytes
    ) -> tuple[UUID, UUID, bytes] | None:
        """End a session: its id, whose it was, and their salt; None when there was nothing to end."""
        row = await _QUERIES.maybe(transaction, "end_session_of_token", family_hash)
        return None if row is None else (row["id"], row["user_id"], row["ledger_salt"])
