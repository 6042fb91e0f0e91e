"""The kinds of tokens that identity itself issues."""

from undercroft.identity.models import KEY_PREFIX
from undercroft.identity.sessions.models import SESSION_PREFIX
from undercroft.identity.sessions.tokens import parse_refresh_token
from undercroft.identity.tokens.models import LiveToken
from undercroft.identity.tokens.repository import TokenRepository
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.kit.tokens import hash_token
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act, Subject


class AccessTokens:
    """Access tokens, exchanged ones among them."""

    def __init__(self) -> None:
        self._repository = TokenRepository()

    async def find(self, transaction: Transaction, presented: str) -> LiveToken | None:
        """The access token, if it is valid."""
        return await self._repository.find_live_access_token(transaction, hash_token(presented))

    async def revoke(self, transaction: Transaction, presented: str) -> Act | None:
        """End it, and with it what was exchanged for it. The entry is about its user: tokens are soon forgotten."""
        revoked = await self._repository.revoke_access_token(transaction, hash_token(presented))
        if revoked is None:
            return None
        user_id, salt = revoked
        return Act("token.revoke", Subject(user_reference(user_id), salt), user_id)


class ApiKeys:
    """API keys."""

    def __init__(self) -> None:
        self._repository = TokenRepository()

    async def find(self, transaction: Transaction, presented: str) -> LiveToken | None:
        """The key, if it is valid. It does not count as used."""
        return await self._repository.find_live_api_key(transaction, hash_token(presented))

    async def revoke(self, transaction: Transaction, presented: str) -> Act | None:
        """End it, and with it what was exchanged for it or by it."""
        key = await self._repository.revoke_api_key(transaction, hash_token(presented))
        if key is None:
            return None
        subject = Subject(render_id(KEY_PREFIX, key.id), key.user_salt)
        return Act("key.revoke", subject, key.user_id)


class RefreshTokens:
    """Refresh tokens: the one that is good now, and for their end every one that the session has had."""

    def __init__(self) -> None:
        self._repository = TokenRepository()

    async def find(self, transaction: Transaction, presented: str) -> LiveToken | None:
        """The refresh token, if the next one is given for it. To be asked about is not to be used."""
        token = parse_refresh_token(presented)
        if token is None:
            return None
        return await self._repository.find_live_refresh_token(
            transaction, token.family_hash, token.token_hash
        )

    async def revoke(self, transaction: Transaction, presented: str) -> Act | None:
        """End its session, and every token of that with it. One that was replaced does, too: it was nobody else's."""
        token = parse_refresh_token(presented)
        if token is None:
            return None
        session = await self._repository.end_session_of_token(transaction, token.family_hash)
        if session is None:
            return None
        session_id, user_id, salt = session
        return Act("session.revoke", Subject(render_id(SESSION_PREFIX, session_id), salt), user_id)
