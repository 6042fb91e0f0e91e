"""The statements of usage, one method each."""

from typing import Final
from uuid import UUID

from undercroft.kit.database import Transaction
from undercroft.kit.sql import load_queries
from undercroft.vault.usage.models import Usage

_QUERIES: Final = load_queries("undercroft.vault.usage")


class UsageRepository:
    """Reads what triggers count."""

    async def get_usage(self, transaction: Transaction) -> Usage:
        """What was kept when the last transaction ended."""
        row = await _QUERIES.one(transaction, "get_usage")
        return Usage(row["tenant_bytes"], row["user_bytes"])

    async def settle_usage(self, transaction: Transaction, owner_id: UUID) -> Usage:
        """What will be kept when this transaction, which has kept something, ends; others wait for it from now on."""
        row = await _QUERIES.one(transaction, "settle_usage", owner_id)
        return Usage(row["tenant_bytes"], row["user_bytes"])
