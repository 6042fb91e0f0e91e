"""``undercroft ledger``: rotates the keys that sign tenants' logs, also while the service runs."""

from undercroft.commands.databases import connect_any_database
from undercroft.identity.service import find_tenant
from undercroft.identity.tenants import list_tenants
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.notes import verifier_key
from undercroft.ledger.rotation import SigningKeyRotation
from undercroft.ledger.service import Ledger
from undercroft.vault.keys.configured import open_key_provider


async def rotate_signing_keys(settings: Settings, tenant: str | None) -> list[str]:
    """Give the log of a tenant, or of each, another signing key; the new verifier keys."""
    clock = SystemClock()
    async with (
        connect_any_database(settings) as database,
        open_key_provider(settings, database) as provider,
    ):
        keys = LogKeys(database, provider, settings.ledger_origin)
        rotation = SigningKeyRotation(database, keys, Ledger(database, IdSource(clock), clock))
        if tenant is not None:
            tenants = [await find_tenant(database, tenant)]
        else:
            tenants = await list_tenants(database)
        made = [(await rotation.rotate(each)).signers[0] for each in tenants]
    return [verifier_key(signer.name, signer.public_key) for signer in made]
