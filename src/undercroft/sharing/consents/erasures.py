"""What notices promised to be erased, for the vault, which erases it."""

from typing import Final

from undercroft.kit.database import Database, Transaction
from undercroft.sharing.consents.models import DueErasure
from undercroft.sharing.consents.repository import ConsentRepository

_BATCH: Final = 100


class DueErasures:
    """Finds what is to be erased, whoever's it is."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = ConsentRepository()

    async def list_due(self) -> list[DueErasure]:
        """What is due, the longest due first; nothing that a legal hold keeps."""
        async with self._database.transaction_without_scope() as transaction:
            return await self._repository.list_due_erasures(transaction, _BATCH)

    async def is_due(self, transaction: Transaction, due: DueErasure) -> bool:
        """Whether a thing that is locked is still to be erased: consent may have been given again.

        If so, that does not change before the transaction ends.
        """
        return await self._repository.lock_due_erasure(transaction, due.resource.id)
