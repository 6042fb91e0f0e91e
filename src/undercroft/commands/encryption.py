"""``undercroft encryption``: rotates and destroys keys, also while the service runs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

from undercroft.commands.databases import connect_any_database
from undercroft.identity.service import find_tenant
from undercroft.kit.clock import SystemClock
from undercroft.kit.crypto.providers.key_file import add_key
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.service import Ledger
from undercroft.vault.blobs.configured import open_blob_store
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.destruction import TenantDestruction
from undercroft.vault.keys.rotation import KeyRotation, Progress


async def rotate_tenant(settings: Settings, tenant: str, progress: Progress) -> frozenset[UUID]:
    """Give a tenant another key; the data keys that are damaged and could not be wrapped with it."""
    async with _open(settings) as (database, rotation):
        return await rotation.rotate_tenant(await find_tenant(database, tenant), progress)


async def rotate_provider(settings: Settings, progress: Progress) -> list[str] | None:
    """Wrap everything with the provider's current key, which in a key file is a fresh one.

    Nothing is put into a key file while a rotation has yet to be finished.

    Returns:
        What is damaged and could not be wrapped with it; None when there was nothing to do.
    """
    async with _open(settings) as (_, rotation):
        is_unfinished = await rotation.needs_former_keys()
    if not is_unfinished:
        if settings.key_provider != "file":
            return None
        await asyncio.to_thread(add_key, settings.key_path)
    # Opened again, with the new key.
    async with _open(settings) as (_, rotation):
        return await rotation.rotate_provider(progress)


async def destroy_tenant(settings: Settings, tenant: str, progress: Progress) -> None:
    """Destroy a tenant's keys and delete what nobody can read without them."""
    async with connect_any_database(settings) as database:
        clock = SystemClock()
        ledger = Ledger(database, IdSource(clock), clock)
        destruction = TenantDestruction(database, open_blob_store(settings), ledger)
        await destruction.destroy(await find_tenant(database, tenant), progress)


@asynccontextmanager
async def _open(settings: Settings) -> AsyncGenerator[tuple[Database, KeyRotation]]:
    async with (
        connect_any_database(settings) as database,
        open_key_provider(settings, database) as provider,
    ):
        log_keys = LogKeys(database, provider, settings.ledger_origin)
        clock = SystemClock()
        ids = IdSource(clock)
        ledger = Ledger(database, ids, clock)
        yield database, KeyRotation(database, provider, log_keys, ledger, ids)
