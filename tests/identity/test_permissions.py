"""What a role, a kind and the scopes of a credential allow; and that a refusal is on record."""

import re
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import MakeScope
from tests.ledger.conftest import make_parts
from undercroft.identity.errors import ForbiddenError
from undercroft.identity.models import Kind, Permission, Principal, Role
from undercroft.identity.permissions import is_allowed, permissions_of
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.ledger.models import AuditFilter, Outcome

PAGE = Path(__file__).parents[2] / "docs" / "identity.md"
ADMINS = {Permission.MEMBERS_WRITE, Permission.ADMINISTER}
EVERYBODY = (
    set(Permission)
    - ADMINS
    - {Permission.ACT_FOR_USERS, Permission.LEDGER_READ, Permission.TOKENS_READ}
)


def principal(
    role: Role = Role.MEMBER,
    kind: Kind = Kind.PERSON,
    scopes: frozenset[Permission] | None = None,
    actor_id: UUID | None = None,
) -> Principal:
    return Principal(UUID(int=1), UUID(int=2), UUID(int=3), role, kind, actor_id, scopes)


def test_what_each_kind_and_role_may_be_allowed() -> None:
    assert permissions_of(Kind.GUEST, Role.MEMBER) == EVERYBODY
    assert permissions_of(Kind.PERSON, Role.MEMBER) == EVERYBODY | {Permission.LEDGER_READ}
    assert permissions_of(Kind.PERSON, Role.ADMIN) == set(Permission) - {Permission.ACT_FOR_USERS}
    assert permissions_of(Kind.SERVICE, Role.ADMIN) == set(Permission)
    assert permissions_of(Kind.SERVICE, Role.MEMBER) == set(Permission) - ADMINS
    writing = {asked for asked in Permission if asked.endswith(":write")}
    asking = {Permission.SHARING_WRITE, Permission.RESPONSES_WRITE}
    assert permissions_of(Kind.LINK, Role.MEMBER) & writing == asking
    assert permissions_of(Kind.LINK, Role.MEMBER) < EVERYBODY - {Permission.KEYS}


@pytest.mark.parametrize("permission", Permission)
def test_a_credential_without_scopes_carries_all_but_what_has_to_be_named(
    permission: Permission,
) -> None:
    service = principal(Role.ADMIN, Kind.SERVICE)
    assert is_allowed(service, permission) is (permission is not Permission.ACT_FOR_USERS)


@pytest.mark.parametrize("permission", Permission)
def test_a_scope_allows_itself_alone_and_never_what_its_user_may_not(
    permission: Permission,
) -> None:
    narrowed = principal(Role.ADMIN, Kind.SERVICE, frozenset({permission}))
    assert [asked for asked in Permission if is_allowed(narrowed, asked)] == [permission]
    guest = replace(narrowed, role=Role.MEMBER, kind=Kind.GUEST)
    assert is_allowed(guest, permission) is (permission in EVERYBODY)


def test_a_service_that_acts_for_a_user_makes_no_keys_for_them() -> None:
    itself = principal()
    acted_for = replace(itself, actor_id=UUID(int=4))
    narrowed = replace(acted_for, scopes=frozenset(Permission))
    assert is_allowed(itself, Permission.KEYS)
    for delegated in (acted_for, narrowed):
        assert not is_allowed(delegated, Permission.KEYS)
        assert is_allowed(delegated, Permission.SEARCH)
        assert not is_allowed(delegated, Permission.ACT_FOR_USERS), "no token is exchanged twice"


def test_the_docs_list_every_scope_and_no_other() -> None:
    (section,) = re.findall(
        r"^## Scopes$(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE) == list(Permission)


async def test_what_is_refused_is_on_record_for_the_admins(
    database: Database, make_scope: MakeScope
) -> None:
    parts = make_parts(database)
    identity = IdentityService(database, parts.ledger, IdSource(), SystemClock())
    ann = await make_scope()
    member = Principal(ann.tenant_id, ann.principal_id, UUID(int=3), Role.MEMBER)
    await identity.require(member, Permission.SEARCH)
    with pytest.raises(ForbiddenError, match="'members:write'"):
        await identity.require(member, Permission.MEMBERS_WRITE)
    await parts.sequencer.sequence(ann.tenant_id)
    (entry,) = await parts.audit.list_entries(member, None, AuditFilter(), limit=9)
    assert (entry.action, entry.outcome) == ("permission.use", Outcome.DENIED)
    assert (entry.purpose, entry.actor_id) == ("members:write", ann.principal_id)
    assert entry.resource == f"tenant_{ann.tenant_id.hex}"
    assert await parts.audit.list_entries(member, ann.principal_id, AuditFilter(), limit=9) == []
