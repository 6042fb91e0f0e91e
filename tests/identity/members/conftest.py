"""A tenant with admins, and what is on record of it."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, make_parts
from undercroft.identity.members.service import MemberService
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.models import AuditEntry, AuditFilter, OperatorScope

Audit: TypeAlias = Callable[[UUID, UUID | None], Awaitable[list[AuditEntry]]]
"""What a viewer sees of a tenant's entries, the oldest first; None for an admin."""


@pytest.fixture
def parts(database: Database) -> Parts:
    return make_parts(database)


@pytest.fixture
def members(database: Database, parts: Parts) -> MemberService:
    return MemberService(database, parts.ledger, IdSource())


@pytest.fixture
def audit(parts: Parts) -> Audit:
    async def read(tenant_id: UUID, viewer: UUID | None) -> list[AuditEntry]:
        await parts.sequencer.sequence(tenant_id)
        scope = OperatorScope(tenant_id)
        entries = await parts.audit.list_entries(scope, viewer, AuditFilter(), limit=50)
        return [entry for entry in entries[::-1] if entry.action != "audit.read"]

    return read


@pytest.fixture
async def ann(make_scope: MakeScope) -> Member:
    """An admin of a tenant."""
    return await make_scope(role="admin")


@pytest.fixture
async def bob(make_scope: MakeScope, ann: Member) -> Member:
    """Another admin of hers."""
    return await make_scope(ann.tenant_id, role="admin")


@pytest.fixture
async def carol(make_scope: MakeScope, ann: Member) -> Member:
    """Their colleague, who is none."""
    return await make_scope(ann.tenant_id)
