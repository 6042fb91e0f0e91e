"""Holds what is kept to the quotas."""

from collections.abc import Callable
from typing import TypeAlias
from uuid import UUID

from undercroft.kit.database import Database, Transaction
from undercroft.kit.scope import Scope
from undercroft.vault.usage.errors import OwnerQuotaExceededError, QuotaExceededError
from undercroft.vault.usage.models import Quotas, Usage
from undercroft.vault.usage.repository import UsageRepository

RequireRoom: TypeAlias = Callable[[int], None]
"""Told how large a content is, as far as is known; raises QuotaExceededError when that is too large."""


class UsageService:
    """Counts what a user and a tenant keep, and refuses more than their quotas.

    Args:
        database: Where the counts are.
        quotas: Of every tenant and every user.
    """

    def __init__(self, database: Database, quotas: Quotas) -> None:
        self.quotas = quotas
        self._database = database
        self._repository = UsageRepository()

    async def read(self, scope: Scope) -> Usage:
        """What the principal and their tenant keep."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.get_usage(transaction)

    async def require_room(self, scope: Scope, byte_size: int) -> None:
        """Refuse early what is not going to fit. Others may take the room meanwhile: :meth:`settle` decides.

        Args:
            scope: Whose content it will be.
            byte_size: How large the content will be at least.

        Raises:
            QuotaExceededError: When there is not that much room.
        """
        (await self.measure(scope))(byte_size)

    async def measure(self, scope: Scope) -> RequireRoom:
        """What refuses a content for which there is no room now, as often as it is asked while the content comes."""
        if self.quotas == Quotas():
            return _has_room
        usage = await self.read(scope)

        def require(byte_size: int) -> None:
            with_it = Usage(usage.tenant_bytes + byte_size, usage.user_bytes + byte_size)
            self._require(with_it, byte_size)

        return require

    async def settle(
        self, transaction: Transaction, byte_size: int, owner_id: UUID, *, is_own: bool
    ) -> None:
        """Refuse what does not fit: the last statement of a transaction that keeps a content.

        It holds up the tenant's other transactions that keep or delete contents until this one ends, so that two which
        fit alone and not together cannot both commit.

        Args:
            transaction: Has inserted the content's row.
            byte_size: How large the content is.
            owner_id: Whose it is.
            is_own: Whether that is whoever brought it.

        Raises:
            QuotaExceededError: When the content does not fit.
            OwnerQuotaExceededError: When it does not fit, and is another's.
        """
        if self.quotas == Quotas():
            # Counted all the same, when the transaction ends.
            return
        usage = await self._repository.settle_usage(transaction, owner_id)
        quota = self.quotas.user_bytes
        if not is_own and quota is not None and usage.user_bytes > quota:
            raise OwnerQuotaExceededError
        self._require(usage, byte_size)

    def _require(self, usage: Usage, added: int) -> None:
        """Refuse a usage that is over a quota; the message tells what it was before ``added`` bytes came."""
        user, tenant = self.quotas.user_bytes, self.quotas.tenant_bytes
        if user is not None and usage.user_bytes > user:
            raise QuotaExceededError("your", user, usage.user_bytes - added)
        if tenant is not None and usage.tenant_bytes > tenant:
            raise QuotaExceededError("your tenant's", tenant, usage.tenant_bytes - added)


def _has_room(byte_size: int) -> None:
    """Where there are no quotas."""
    del byte_size
