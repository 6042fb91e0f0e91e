"""Setting quotas."""

from typing import Final

from undercroft.identity.models import KEY_PREFIX
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.leaves import user_reference
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger
from undercroft.metering.errors import TooManyQuotasError
from undercroft.metering.models import KeptQuota, Period, Quota, QuotaKind, Whose
from undercroft.metering.repository import MeteringRepository

MOST_QUOTAS: Final = 1000
"""Of one tenant; two who set at once may pass it by one."""


class QuotaService:
    """Sets, lists and deletes a tenant's quotas. Whoever may do so is decided by the route.

    Args:
        database: Where they are.
        ledger: Where it is put on record who sets them.
    """

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._repository = MeteringRepository()

    async def set(self, scope: Scope, quota: Quota) -> KeptQuota:
        """Set a quota in the place of the one before; it counts from the next request on.

        Of a window that goes on, what was counted stays; for the first one nothing was.

        Raises:
            NotFoundError: When there is no such user or key.
            TooManyQuotasError: When the tenant has as many as it may.
        """
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.lock_subject(transaction, quota.whose):
                raise _nobody(quota.whose)
            await self._repository.set_quota(transaction, quota)
            kept = await self._repository.list_quotas(transaction)
            if len(kept) > MOST_QUOTAS:
                raise TooManyQuotasError(MOST_QUOTAS)
            tenant = await self._ledger.tenant(transaction, scope.tenant_id)
            await self._ledger.append(transaction, scope, Act("quota.set", tenant, None))
        return next(each for each in kept if each.quota == quota)

    async def delete(self, scope: Scope, whose: Whose, period: Period) -> None:
        """Let as much be used as anybody likes.

        Raises:
            NotFoundError: When there is no such quota.
        """
        async with self._database.transaction(scope) as transaction:
            if not await self._repository.delete_quota(transaction, whose, period):
                raise NotFoundError("quota", f"{subject_name(whose)}/{period}")
            tenant = await self._ledger.tenant(transaction, scope.tenant_id)
            await self._ledger.append(transaction, scope, Act("quota.delete", tenant, None))

    async def list_all(self, scope: Scope) -> list[KeptQuota]:
        """The tenant's quotas, with what was used of each."""
        async with self._database.transaction(scope) as transaction:
            return await self._repository.list_quotas(transaction)


def subject_name(whose: Whose) -> str:
    """How it is named on the wire."""
    if whose.id is None:
        return whose.kind.value
    if whose.kind is QuotaKind.USER:
        return user_reference(whose.id)
    return render_id(KEY_PREFIX, whose.id)


def _nobody(whose: Whose) -> NotFoundError:
    what = "user" if whose.kind is QuotaKind.USER else "API key"
    return NotFoundError(what, subject_name(whose))
