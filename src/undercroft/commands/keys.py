"""``undercroft keys``: makes and revokes API keys, also while the service runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from undercroft.commands.databases import connect_any_database
from undercroft.identity.models import Role
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger


async def create_key(
    settings: Settings,
    tenant: str,
    user: str,
    role: Role | None,
    lifetime: timedelta | None,
) -> str:
    """Make a key, and the tenant and user where they are missing; the secret."""
    async with _open_identity(settings, may_make=True) as identity:
        issued = await identity.issue_key(tenant, user, role, lifetime)
    return issued.secret


async def revoke_key(settings: Settings, tenant: str, prefix: str) -> None:
    """Revoke a key by its visible prefix."""
    async with _open_identity(settings) as identity:
        await identity.revoke_key(tenant, prefix)


@asynccontextmanager
async def _open_identity(
    settings: Settings, *, may_make: bool = False
) -> AsyncGenerator[IdentityService]:
    clock = SystemClock()
    async with connect_any_database(settings, may_make=may_make) as database:
        ids = IdSource(clock)
        yield IdentityService(database, Ledger(database, ids, clock), ids, clock)
