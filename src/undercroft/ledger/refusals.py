"""Refusals that are only counted, because there were so many at once: put on record when their minute is over."""

from typing import Final

from undercroft.kit.database import Database, Transaction
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act, ActorScope, CountedRefusals, Outcome, Subject
from undercroft.ledger.repository import LedgerRepository
from undercroft.ledger.service import Ledger

_BATCH: Final = 100


class RefusalCounts:
    """Settles what the database counts where it makes no more entries (``bound_refusals`` in the migrations)."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._repository = LedgerRepository()

    async def settle(self) -> int:
        """Append an entry for each count that is over; how many."""
        settled = 0
        while True:
            async with self._database.transaction_without_scope() as transaction:
                counts = await self._repository.list_refusals(transaction, _BATCH)
            settled += sum([await self._settle(counted) for counted in counts])
            if len(counts) < _BATCH:
                return settled

    async def _settle(self, counted: CountedRefusals) -> bool:
        """False when another process was quicker. The entry and the end of its count commit together."""
        scope = ActorScope(counted.tenant_id, counted.actor_id)
        async with self._database.transaction(scope) as transaction:
            more = await self._repository.lock_refusals(transaction, counted)
            if more is None:
                return False
            act = Act(
                counted.action,
                await self._whose(transaction, counted),
                counted.owner_id,
                outcome=Outcome.DENIED,
                refusals=more,
            )
            await self._ledger.append(transaction, scope, act)
        return True

    async def _whose(self, transaction: Transaction, counted: CountedRefusals) -> Subject:
        """What the entry is about: many things, which have their owner in common."""
        if counted.owner_id is None:
            return await self._ledger.tenant(transaction, counted.tenant_id)
        salts = await self._repository.list_user_salts(
            transaction, counted.tenant_id, [counted.owner_id]
        )
        return Subject(user_reference(counted.owner_id), salts[counted.owner_id])
