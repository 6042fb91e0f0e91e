"""Introspection and revocation over every kind of token."""

from collections.abc import Mapping
from typing import Final

from undercroft.identity.models import Principal
from undercroft.identity.tokens.models import LiveToken, TokenKind
from undercroft.kit.database import Database, Transaction
from undercroft.ledger.service import Ledger

_LONGEST: Final = 200
"""No token of ours has more characters."""


class TokenService:
    """Finds the kind of a token by its prefix.

    Args:
        database: Where the tokens are.
        ledger: Where it is put on record that one was ended.
        kinds: Each kind by the prefix of its tokens, such as ``ut_``.
    """

    def __init__(self, database: Database, ledger: Ledger, kinds: Mapping[str, TokenKind]) -> None:
        self._database = database
        self._ledger = ledger
        self._kinds = kinds

    async def introspect(self, caller: Principal, presented: str) -> LiveToken | None:
        """What a token of the caller's tenant is good for at this instant; None when it is good for nothing.

        One that is unknown, ended or another tenant's takes the same statement and gets the same answer.
        """
        async with self._database.transaction(caller) as transaction:
            return await self.find(transaction, presented)

    async def find(self, transaction: Transaction, presented: str) -> LiveToken | None:
        """A valid token of the transaction's tenant."""
        kind = self._kind_of(presented)
        return None if kind is None else await kind.find(transaction, presented)

    async def revoke(self, caller: Principal, presented: str) -> None:
        """End a token of the caller's tenant, from the next statement on.

        Whoever holds a token may end it: they could as well act as its bearer. What is unknown, ended already or
        another tenant's is left as it is, and not told apart.
        """
        kind = self._kind_of(presented)
        if kind is None:
            return
        async with self._database.transaction(caller) as transaction:
            act = await kind.revoke(transaction, presented)
            if act is not None:
                await self._ledger.append(transaction, caller, act)

    def _kind_of(self, presented: str) -> TokenKind | None:
        if len(presented) > _LONGEST:
            return None
        prefix, separator, _ = presented.partition("_")
        return self._kinds.get(f"{prefix}{separator}")
