"""``undercroft users`` and ``undercroft keys list``: what an operator sees and does of a tenant's users."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from undercroft.commands.databases import connect_any_database
from undercroft.identity.api_keys import ApiKeyService
from undercroft.identity.members.models import Member
from undercroft.identity.members.service import MemberService
from undercroft.identity.models import HeldKey
from undercroft.identity.service import find_tenant
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource, parse_id
from undercroft.kit.settings import Settings
from undercroft.ledger.models import USER_PREFIX, OperatorScope
from undercroft.ledger.service import Ledger

_PAGE: Final = 500


async def list_users(settings: Settings, tenant: str) -> list[Member]:
    """The users of a tenant, the oldest first."""
    async with _open(settings) as (database, members, _):
        scope = OperatorScope(await find_tenant(database, tenant))
        found: list[Member] = []
        while True:
            after = found[-1].id if found else None
            page = await members.list_members(scope, None, after, _PAGE)
            found += page
            if len(page) < _PAGE:
                return found


async def suspend_user(settings: Settings, tenant: str, user: str) -> None:
    """Suspend a user, by address or id."""
    async with _open(settings) as (database, members, _):
        scope = OperatorScope(await find_tenant(database, tenant))
        await members.suspend(scope, await _find_user(members, scope, user))


async def reinstate_user(settings: Settings, tenant: str, user: str) -> None:
    """Let a suspended user act again."""
    async with _open(settings) as (database, members, _):
        scope = OperatorScope(await find_tenant(database, tenant))
        await members.reinstate(scope, await _find_user(members, scope, user))


async def list_keys(settings: Settings, tenant: str, user: str | None) -> list[HeldKey]:
    """The API keys of a tenant, or of one of its users; never a secret."""
    async with _open(settings) as (database, members, keys):
        scope = OperatorScope(await find_tenant(database, tenant))
        user_id = None if user is None else await _find_user(members, scope, user)
        found: list[HeldKey] = []
        while True:
            after = found[-1].key if found else None
            page = await keys.list_held_keys(scope, user_id, after, _PAGE)
            found += page
            if len(page) < _PAGE:
                return found


async def _find_user(members: MemberService, scope: OperatorScope, user: str) -> UUID:
    user_id = parse_id(USER_PREFIX, user)
    if user_id is not None:
        return user_id
    return (await members.get_by_address(scope, user)).id


@asynccontextmanager
async def _open(
    settings: Settings,
) -> AsyncGenerator[tuple[Database, MemberService, ApiKeyService]]:
    clock = SystemClock()
    async with connect_any_database(settings) as database:
        ids = IdSource(clock)
        ledger = Ledger(database, ids, clock)
        members = MemberService(database, ledger, ids)
        yield database, members, ApiKeyService(database, ledger, members, ids, clock)
