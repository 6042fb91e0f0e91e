"""Rotates the keys that sign a log."""

import asyncio
from typing import Final
from uuid import UUID

from undercroft.kit.database import Database
from undercroft.kit.errors import UnavailableError
from undercroft.ledger.keys import LogKeys, SigningKeys, Successor
from undercroft.ledger.models import Act, LogScope, OperatorScope
from undercroft.ledger.repository import LedgerRepository
from undercroft.ledger.sequencer import grow_and_sign
from undercroft.ledger.service import Ledger

_TRIES: Final = 5


class SigningKeyRotation:
    """Gives logs another signing key while their sequencers run.

    Args:
        database: Where the logs are.
        keys: Makes keys.
        ledger: Keeps a rotation on record, as the operator's.
    """

    def __init__(self, database: Database, keys: LogKeys, ledger: Ledger) -> None:
        self._database = database
        self._keys = keys
        self._ledger = ledger
        self._repository = LedgerRepository()

    async def rotate(self, tenant_id: UUID) -> SigningKeys:
        """Add a key that signs from now on, beside the one before it; older ones sign no more.

        Raises:
            KeyUnavailableError: When the key provider does not answer.
            UnavailableError: When others rotated the same log's keys all the time.
        """
        for _ in range(_TRIES):
            successor = await self._keys.make_successor(tenant_id)
            if await self._install(tenant_id, successor):
                self._keys.forget(tenant_id)
                return successor.keys
        raise UnavailableError("The keys of this log are being rotated; try again.")

    async def _install(self, tenant_id: UUID, successor: Successor) -> bool:
        """Store the key and sign with it, in one transaction; False when another rotation was quicker.

        Under the log's lock: a sequencer that has it signs and commits first, with the keys it has read; each one after
        it reads the new ones. A checkpoint that a retired key has signed cannot come after the rotation.
        """
        async with self._database.transaction(LogScope(tenant_id)) as transaction:
            await self._repository.wait_for_log(transaction)
            head = await self._repository.lock_log(transaction)
            number = successor.keys.number
            if head is None or head.newest_key != number - 1:
                return False
            await self._keys.install(transaction, tenant_id, successor)
            growth, checkpoint = await asyncio.to_thread(
                grow_and_sign, head.size, head.frontier, (), successor.keys
            )
            await self._repository.advance_log(transaction, head.size, growth, number, checkpoint)
            act = Act(
                "ledger_key.rotate", await self._ledger.tenant(transaction, tenant_id), None, number
            )
            await self._ledger.append(transaction, OperatorScope(tenant_id), act)
        return True
