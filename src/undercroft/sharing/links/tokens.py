"""Tokens of share links, as introspection (RFC 7662) and revocation (RFC 7009) take them."""

from undercroft.identity.models import Principal
from undercroft.identity.tokens.models import LiveToken
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.tokens import hash_token, is_token
from undercroft.sharing.links.errors import OthersLinkError
from undercroft.sharing.links.models import LINK_TOKEN_PREFIX
from undercroft.sharing.links.repository import LinkRepository
from undercroft.sharing.service import GrantService


class LinkTokens:
    """Says whether a link opens, and ends it for whoever may end its grant.

    Args:
        database: Where links are.
        grants: End the grant behind one.
    """

    def __init__(self, database: Database, grants: GrantService) -> None:
        self._database = database
        self._grants = grants
        self._repository = LinkRepository()

    async def introspect(self, caller: Principal, presented: str) -> LiveToken | None:
        """What a link of the caller's tenant is good for at this instant; None when it opens for nobody.

        Whether it asks for a passcode or a code besides is not said. To be asked about is not to be redeemed.
        """
        if not is_token(LINK_TOKEN_PREFIX, presented):
            return None
        async with self._database.transaction(caller) as transaction:
            return await self._repository.find_live_token(transaction, hash_token(presented))

    async def revoke(self, caller: Principal, presented: str) -> None:
        """End a link of the caller's tenant with its grant, and the tokens that it was redeemed for.

        A link is held by many: one of them must not end it for all others. What is unknown, ended already or another
        tenant's is left as it is, and not told apart.

        Raises:
            OthersLinkError: When the caller neither made it, nor gave what it derives from, nor owns what it is to.
        """
        if not is_token(LINK_TOKEN_PREFIX, presented):
            return
        async with self._database.transaction(caller) as transaction:
            grant_id = await self._repository.find_open_grant(transaction, hash_token(presented))
        if grant_id is None:
            return
        try:
            await self._grants.revoke(caller, grant_id)
        except NotFoundError:
            raise OthersLinkError from None
