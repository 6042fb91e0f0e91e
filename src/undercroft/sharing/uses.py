"""Grants while something is done under them: kept as they are for a change, counted where their uses are."""

from uuid import UUID

from undercroft.kit.database import Transaction
from undercroft.sharing.errors import GrantEndedError
from undercroft.sharing.models import Way
from undercroft.sharing.repository import GrantRepository
from undercroft.sharing.ways import grant_ids


class GrantUses:
    """Holds and counts grants in the transactions that rest on them."""

    def __init__(self) -> None:
        self._repository = GrantRepository()

    async def hold(self, transaction: Transaction, way: Way) -> None:
        """Keep grants from ending before the transaction, which changes something under them, does.

        Raises:
            GrantEndedError: When one of them has ended since it was found.
        """
        held = grant_ids(way)
        if held and not await self._repository.hold_grants(transaction, held):
            raise GrantEndedError

    async def hold_to_share(self, transaction: Transaction, grant_id: UUID) -> None:
        """Keep a grant from ending, and what it derives from, for something to be made under it.

        Raises:
            GrantEndedError: When one of them has ended since it was found.
        """
        if not await self._repository.hold_chain(transaction, grant_id):
            raise GrantEndedError

    async def count(self, transaction: Transaction, way: Way) -> None:
        """Count one use of what a download or an answer rests on.

        Raises:
            GrantEndedError: When another had the last use. The transaction has to be rolled back.
        """
        counted = [grant.id for grant in way.grants if grant.is_counted]
        if counted and not await self._repository.use_grants(transaction, counted):
            raise GrantEndedError
