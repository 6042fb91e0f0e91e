"""Counting what is done under grants that allow it so many times."""

from undercroft.kit.database import Transaction
from undercroft.sharing.errors import GrantEndedError
from undercroft.sharing.models import Way
from undercroft.sharing.repository import GrantRepository


class GrantUses:
    """Counts uses."""

    def __init__(self) -> None:
        self._repository = GrantRepository()

    async def count(self, transaction: Transaction, way: Way) -> None:
        """Count one use of what a download or an answer rests on.

        Raises:
            GrantEndedError: When another had the last use. The transaction has to be rolled back.
        """
        counted = [grant.id for grant in way.grants if grant.is_counted]
        if counted and not await self._repository.use_grants(transaction, counted):
            raise GrantEndedError
