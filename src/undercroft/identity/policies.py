"""What a tenant allows beyond what is allowed everywhere. All of it is off until an admin allows it."""

from typing import Final

from undercroft.identity.models import Principal
from undercroft.identity.people import require_person
from undercroft.kit.database import Database, Transaction
from undercroft.kit.sql import load_queries
from undercroft.ledger.models import Act
from undercroft.ledger.service import Ledger

_QUERIES: Final = load_queries("undercroft.identity")


class TenantPolicies:
    """Reads and changes what tenants allow.

    Args:
        database: Where it is kept.
        ledger: Where changes are put on record.
    """

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def may_use_outside_tools(self, transaction: Transaction) -> bool:
        """Whether the scope's tenant lets tools elsewhere be told what answers were made from, at this instant."""
        return bool(await _QUERIES.value(transaction, "may_use_outside_tools"))

    async def get(self, principal: Principal) -> bool:
        """Whether the principal's tenant lets tools elsewhere be told what answers were made from."""
        async with self._database.transaction(principal) as transaction:
            return await self.may_use_outside_tools(transaction)

    async def allow_outside_tools(self, principal: Principal, *, allows: bool) -> None:
        """Change it, for all calls from this instant on.

        Raises:
            PersonRequiredError: When the caller is no person, or narrowed.
        """
        require_person(principal)
        async with self._database.transaction(principal) as transaction:
            tenant = await self._ledger.tenant(transaction, principal.tenant_id)
            await _QUERIES.execute(transaction, "allow_outside_tools", allows)
            purpose = "allowed" if allows else "forbidden"
            act = Act("tenant.change_outside_tools", tenant, None, purpose=purpose)
            await self._ledger.append(transaction, principal, act)
