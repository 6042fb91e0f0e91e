"""What a tenant allows is changed by an admin themselves."""

from dataclasses import replace

import pytest

from tests.identity.credentials import Desk
from undercroft.identity.errors import PersonRequiredError
from undercroft.identity.models import Permission
from undercroft.identity.policies import TenantPolicies
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger


async def test_nobody_allows_outside_tools_for_an_admin(database: Database, desk: Desk) -> None:
    policies = TenantPolicies(database, Ledger(database, IdSource(), SystemClock()))
    holder = await desk.person(role="admin")
    admin = await desk.identity.authenticate((await desk.key(holder, None)).secret)
    service = await desk.service(holder.tenant_id)
    for other in (
        replace(admin, scopes=frozenset(Permission)),
        replace(admin, scopes=frozenset(Permission), actor_id=service.principal_id),
        await desk.robot(holder.tenant_id),
    ):
        with pytest.raises(PersonRequiredError):
            await policies.allow_outside_tools(other, allows=True)
    assert not await policies.get(admin)
    await policies.allow_outside_tools(admin, allows=True)
    assert await policies.get(admin)
