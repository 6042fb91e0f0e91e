"""The kinds of tokens that identity itself issues."""

from undercroft.identity.models import KEY_PREFIX
from undercroft.identity.tokens.models import LiveToken
from undercroft.identity.tokens.repository import TokenRepository
from undercroft.kit.database import Transaction
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act, Subject


class AccessTokens:
    """Access tokens, exchanged ones among them."""

    def __init__(self) -> None:
        self._repository = TokenRepository()

    async def find(self, transaction: Transaction, token_hash: bytes) -> LiveToken | None:
        """The valid access token with that hash."""
        return await self._repository.find_live_access_token(transaction, token_hash)

    async def revoke(self, transaction: Transaction, token_hash: bytes) -> Act | None:
        """End it, and with it what was exchanged for it. The entry is about its user: tokens are soon forgotten."""
        revoked = await self._repository.revoke_access_token(transaction, token_hash)
        if revoked is None:
            return None
        user_id, salt = revoked
        return Act("token.revoke", Subject(user_reference(user_id), salt), user_id)


class ApiKeys:
    """API keys."""

    def __init__(self) -> None:
        self._repository = TokenRepository()

    async def find(self, transaction: Transaction, token_hash: bytes) -> LiveToken | None:
        """The valid key with that hash. It does not count as used."""
        return await self._repository.find_live_api_key(transaction, token_hash)

    async def revoke(self, transaction: Transaction, token_hash: bytes) -> Act | None:
        """End it, and with it what was exchanged for it or by it."""
        key = await self._repository.revoke_api_key(transaction, token_hash)
        if key is None:
            return None
        subject = Subject(render_id(KEY_PREFIX, key.id), key.user_salt)
        return Act("key.revoke", subject, key.user_id)
