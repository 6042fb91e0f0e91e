"""The key provider that the settings name, opened so that no lost key can pass unnoticed."""

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Database
from undercroft.kit.settings import Settings
from undercroft.ledger.keys import list_wrapped_keys
from undercroft.ledger.models import LogScope
from undercroft.vault.keys.repository import RotationRepository

_TENANTS: Final = 500


async def open_key_provider(settings: Settings, database: Database) -> KeyProvider:
    """The keeper of the key that wraps all others.

    Args:
        settings: Say which keeper, and where.
        database: Holds what it wraps. A key file is made only while that is nothing.

    Raises:
        KeyFileError: When the key file cannot be used, or is missing while something is wrapped with it.
    """

    async def nothing_is_wrapped() -> bool:
        async for tenant_id in _list_tenants(database):
            async with database.transaction(LogScope(tenant_id)) as transaction:
                has_keys = await RotationRepository().list_tenant_keys(transaction)
            if has_keys or await list_wrapped_keys(database, tenant_id):
                return False
        return True

    return await KeyFile.open(settings.key_path, may_create=nothing_is_wrapped)


async def _list_tenants(database: Database) -> AsyncIterator[UUID]:
    after = UUID(int=0)
    while True:
        async with database.transaction_without_scope() as transaction:
            tenants = await RotationRepository().list_tenants(transaction, after, _TENANTS)
        if not tenants:
            return
        for after in tenants:
            yield after
