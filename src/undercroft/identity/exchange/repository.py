"""The statement of an exchange."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

from undercroft.identity.tokens.models import LiveToken
from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries

_QUERIES: Final = load_queries("undercroft.identity.exchange")


class ExchangeRepository:
    """Writes exchanged tokens."""

    async def insert_exchanged_token(
        self,
        transaction: Transaction,
        token_id: UUID,
        actor_key_id: UUID,
        subject: LiveToken,
        token_hash: bytes,
        scopes: Iterable[str],
        lifetime: timedelta,
        *,
        is_key: bool,
    ) -> datetime | None:
        """Store the hash of a token; when it expires, None when the actor's key is no valid API key.

        Args:
            transaction: Of the actor's tenant.
            token_id: The new token.
            actor_key_id: The API key that the service authenticated with.
            subject: What it is exchanged for.
            token_hash: Of the new token.
            scopes: What it is narrowed to.
            lifetime: The longest that it may last.
            is_key: Whether the subject is an API key rather than an access token.
        """
        subject_id = subject.principal.credential_id
        expires_at = await _QUERIES.value(
            transaction,
            "insert_exchanged_token",
            token_id,
            actor_key_id,
            subject.principal.user_id,
            None if is_key else subject_id,
            subject_id if is_key else None,
            token_hash,
            sorted(scopes),
            lifetime,
            subject.expires_at,
        )
        return cast("datetime | None", expires_at)
