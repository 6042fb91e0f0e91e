"""Locks on records: leases that end by themselves, by the database's clock, for whoever has the token."""

import secrets
from collections.abc import Callable
from typing import Final
from uuid import UUID

from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger
from undercroft.vault.records.models import Lock
from undercroft.vault.records.preconditions import check_lease, digest_token
from undercroft.vault.records.repository import RecordRepository
from undercroft.vault.records.service import RecordService

LONGEST_LEASE: Final = 300
"""Seconds. A holder who needs longer renews."""
_TOKEN_BYTES: Final = 32


def new_token() -> str:
    """What nobody can guess."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


class RecordLocks:
    """Gives, renews and ends locks."""

    def __init__(
        self, records: RecordService, ledger: Ledger, make_token: Callable[[], str] = new_token
    ) -> None:
        self._records = records
        self._ledger = ledger
        self._make_token = make_token
        self._repository = RecordRepository()

    async def acquire(self, scope: Scope, record_id: UUID, seconds: int) -> Lock:
        """Keep every writer without the token from changing a record for so many seconds.

        Raises:
            NotFoundError: When the principal may see no such record.
            RecordLockedError: When it is locked already.
        """
        return await self._lease(scope, record_id, seconds, None)

    async def renew(self, scope: Scope, record_id: UUID, token: str, seconds: int) -> Lock:
        """Have a lock end so many seconds from now.

        Raises:
            NotFoundError: When the principal may see no such record.
            LockLostError: When the lock has ended.
        """
        return await self._lease(scope, record_id, seconds, token)

    async def release(self, scope: Scope, record_id: UUID, token: str) -> None:
        """End a lock.

        Raises:
            NotFoundError: When the principal may see no such record.
            LockLostError: When it has ended.
        """
        async with self._records.refusing(scope, "record.unlock", record_id) as transaction:
            row = await self._repository.lock_record(transaction, record_id)
            row = await self._records.require_own(transaction, scope, record_id, row)
            check_lease(row, token)
            await self._repository.clear_lock(transaction, record_id)
            await self._append(transaction, scope, "record.unlock", record_id)

    async def _lease(self, scope: Scope, record_id: UUID, seconds: int, token: str | None) -> Lock:
        async with self._records.refusing(scope, "record.lock", record_id) as transaction:
            # The row stays locked until the commit: of two who find no lease, the second sees the first one's.
            row = await self._repository.lock_record(transaction, record_id)
            row = await self._records.require_own(transaction, scope, record_id, row)
            check_lease(row, token)
            held = token or self._make_token()
            expires_at = await self._repository.set_lock(
                transaction, record_id, digest_token(held), seconds
            )
            await self._append(transaction, scope, "record.lock", record_id)
        return Lock(held, expires_at)

    async def _append(
        self, transaction: Transaction, scope: Scope, action: Action, record_id: UUID
    ) -> None:
        subject = await self._records.require_subject(transaction, record_id)
        await self._ledger.append(transaction, scope, Act(action, subject, scope.principal_id))
