"""The key provider that the settings name, opened so that no lost key can pass unnoticed."""

from undercroft.identity.tenants import list_tenants
from undercroft.kit.crypto.providers.key_file import KeyFile
from undercroft.kit.crypto.providers.protocol import KeyProvider
from undercroft.kit.database import Database
from undercroft.kit.settings import Settings
from undercroft.ledger.keys import list_wrapped_keys
from undercroft.ledger.models import LogScope
from undercroft.vault.keys.repository import RotationRepository


async def open_key_provider(settings: Settings, database: Database) -> KeyProvider:
    """The keeper of the key that wraps all others.

    Args:
        settings: Say which keeper, and where.
        database: Holds what it wraps. A key file is made only while that is nothing.

    Raises:
        KeyFileError: When the key file cannot be used, or is missing while something is wrapped with it.
    """

    async def nothing_is_wrapped() -> bool:
        for tenant_id in await list_tenants(database):
            async with database.transaction(LogScope(tenant_id)) as transaction:
                has_keys = await RotationRepository().list_tenant_keys(transaction)
            if has_keys or await list_wrapped_keys(database, tenant_id):
                return False
        return True

    return await KeyFile.open(settings.key_path, may_create=nothing_is_wrapped)
