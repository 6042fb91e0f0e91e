"""Who may do what, and why: the question and its reverses answer what statements decide by."""

from dataclasses import replace
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.sharing.conftest import READ, SHARE, Office
from undercroft.kit.clock import SystemClock
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.ledger.service import Ledger
from undercroft.sharing.access import AccessService
from undercroft.sharing.models import GrantAction, Grantee, GranteeKind, Resource, Terms


@pytest.fixture
def access(office: Office) -> AccessService:
    return AccessService(office.database, Ledger(office.database, IdSource(), SystemClock()))


async def everybody(access: AccessService, office: Office, resource: Resource) -> list[UUID]:
    """In pages of one."""
    found: list[UUID] = []
    while True:
        page = await access.list_principals(
            office.ann,
            resource,
            after=found[-1] if found else None,
            limit=1,
        )
        if not page:
            return found
        found.append(page[0].principal_id)


async def test_a_decision_names_the_chain_of_grants(office: Office, access: AccessService) -> None:
    document = await office.put_document(office.ann)
    first = await office.share(office.ann, document, office.bob, SHARE)
    second = await office.share(office.bob, document, office.cem)
    explained = await access.explain(office.cem, document)
    assert set(explained.ways) == {GrantAction.READ}
    [way] = explained.ways[GrantAction.READ]
    assert [limits.id for limits in way.grants] == [second.id]
    assert explained.chains[second.id].parent_id == first.id
    assert explained.chains[first.id].parent_id is None


async def test_an_owner_asks_of_others_and_nobody_else_does(
    office: Office, access: AccessService
) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob)
    asked = await access.explain(office.ann, document, office.bob.principal_id)
    assert set(asked.ways) == {GrantAction.READ}
    assert not (await access.explain(office.ann, document, office.cem.principal_id)).ways
    with pytest.raises(NotFoundError):
        await access.explain(office.bob, document, office.cem.principal_id)
    with pytest.raises(NotFoundError):
        await access.explain(office.cem, document)


async def test_everybody_who_can_see_something_is_listed(
    office: Office, access: AccessService, make_scope: MakeScope
) -> None:
    document = await office.put_document(office.ann)
    assert await everybody(access, office, document) == [office.ann.principal_id]
    await office.share(office.ann, document, office.bob)
    group_id = await office.make_group(office.cem)
    await office.grants.create(office.ann, document, Grantee(GranteeKind.GROUP, group_id), READ)
    collection = await office.put_collection(office.ann)
    await office.add(office.ann, collection, document)
    given = await office.share(office.ann, collection, office.dee)
    people = [office.ann, office.bob, office.cem, office.dee]
    assert await everybody(access, office, document) == sorted(p.principal_id for p in people)
    await office.grants.revoke(office.ann, given.id)
    everyone = Grantee(GranteeKind.TENANT, office.ann.tenant_id)
    await office.grants.create(office.ann, document, everyone, READ)
    new = await make_scope(office.ann.tenant_id)
    assert await everybody(access, office, document) == sorted(
        p.principal_id for p in [*people, new]
    )
    with pytest.raises(NotFoundError):
        await access.list_principals(office.bob, document, after=None, limit=9)


async def test_everything_that_one_can_see_is_listed(office: Office, access: AccessService) -> None:
    own = await office.put_document(office.bob)
    lent, hidden = await office.put_document(office.ann), await office.put_document(office.ann)
    inside, collection = (
        await office.put_document(office.ann),
        await office.put_collection(office.ann),
    )
    await office.add(office.ann, collection, inside)
    await office.share(office.ann, lent, office.bob)
    await office.share(office.ann, collection, office.bob, Terms(frozenset({GrantAction.SEARCH})))
    ended = await office.share(office.ann, hidden, office.bob)
    await office.grants.revoke(office.ann, ended.id)
    found: list[UUID] = []
    while page := await access.list_resources(
        office.bob, after=found[-1] if found else None, limit=1
    ):
        found.append(page[0].resource.id)
    assert found == sorted(thing.id for thing in (own, lent, inside, collection))


async def test_whoever_has_to_state_a_purpose_is_listed_with_it(
    office: Office, access: AccessService
) -> None:
    """What is personal is always shared for one, and nobody has to know for which to learn with whom."""
    document = await office.put_document(office.ann)
    collection = await office.put_collection(office.bob)
    care, audit = (
        replace(SHARE, purpose="care"),
        replace(READ, purpose="audit"),
    )
    lent = await office.share(office.ann, document, office.bob, care)
    await office.add(office.bob, collection, document, lent)
    # It stands there for care alone, so that nobody comes to it by this.
    await office.share(office.bob, collection, office.cem, audit)
    assert await everybody(access, office, document) == sorted(
        one.principal_id for one in (office.ann, office.bob)
    )
    through = await office.share(office.bob, collection, office.cem)
    second = await office.share(office.ann, document, office.cem, audit)
    listed = await access.list_principals(office.ann, document, after=None, limit=9)
    ways = {
        one.principal_id: {
            tuple(grant.id for grant in way.grants) for way in one.ways[GrantAction.READ]
        }
        for one in listed
    }
    assert ways == {
        office.ann.principal_id: {()},
        office.bob.principal_id: {(lent.id,), (lent.id,)},
        office.cem.principal_id: {(through.id, lent.id), (second.id,)},
    }
    for_audit = replace(office.ann, purpose="audit")
    listed = await access.list_principals(for_audit, document, after=None, limit=9)
    assert {one.principal_id for one in listed} == {
        office.ann.principal_id,
        office.cem.principal_id,
    }


async def test_nobody_is_hidden_behind_purposes_that_lead_nowhere(
    office: Office, access: AccessService
) -> None:
    """Whoever passes something on cannot keep it from its owner by grants of a collection that never count with it."""
    document = await office.put_document(office.ann)
    care = replace(SHARE, purpose="care")
    lent = await office.share(office.ann, document, office.bob, care)
    for_care = replace(office.bob, purpose="care")
    await office.share(for_care, document, office.cem, replace(READ, purpose="care"))
    collection = await office.put_collection(office.bob)
    await office.add(office.bob, collection, document, lent)
    for number in range(20):
        terms = replace(READ, purpose=f"a{number}")
        await office.share(office.bob, collection, office.cem, terms)
    assert await everybody(access, office, document) == sorted(
        one.principal_id for one in (office.ann, office.bob, office.cem)
    )
    assert document in {
        one.resource for one in await access.list_resources(office.cem, after=None, limit=9)
    }


async def test_what_one_sees_for_a_purpose_is_listed_with_it(
    office: Office, access: AccessService
) -> None:
    document = await office.put_document(office.ann)
    given = await office.share(office.ann, document, office.bob, replace(READ, purpose="audit"))
    [seen] = await access.list_resources(office.bob, after=None, limit=9)
    assert (seen.resource, set(seen.ways)) == (document, {GrantAction.READ})
    assert seen.chains[given.id].terms.purpose == "audit"
    other, right = [replace(office.bob, purpose=purpose) for purpose in ("care", "audit")]
    assert await access.list_resources(other, after=None, limit=9) == []
    assert len(await access.list_resources(right, after=None, limit=9)) == 1
    # What is asked about oneself is decided for what one states, as every reading is.
    with pytest.raises(NotFoundError):
        await access.explain(office.bob, document)


async def test_what_is_in_the_trash_is_its_owners_alone(
    office: Office, access: AccessService
) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob)
    trash = "UPDATE documents SET deleted_at = now(), purge_at = now() WHERE id = $1"
    await office.execute(office.ann, trash, document.id)
    assert not await office.ways(office.bob, document)
    with pytest.raises(NotFoundError):
        await access.explain(office.bob, document)


async def test_that_somebody_looked_is_on_record(office: Office, access: AccessService) -> None:
    document = await office.put_document(office.ann)
    await access.list_principals(office.ann, document, after=None, limit=9)
    async with office.database.transaction(office.ann) as transaction:
        actions = await transaction.fetch("SELECT action FROM ledger_pending")
    assert [row["action"] for row in actions] == ["access.read"]


async def test_another_tenants_things_are_not_there(
    office: Office, access: AccessService, make_scope: MakeScope
) -> None:
    stranger: Member = await make_scope()
    document = await office.put_document(office.ann)
    with pytest.raises(NotFoundError):
        await access.explain(stranger, document)
    assert await access.list_resources(stranger, after=None, limit=9) == []
