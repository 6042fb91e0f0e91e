"""A grant counts for its grantee, its actions, its time and purpose; what is shared on is no more, and ends with it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import MakeScope
from tests.sharing.conftest import READ, SHARE, Office
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.sharing.errors import WideningError
from undercroft.sharing.models import (
    Ending,
    GrantAction,
    Grantee,
    GranteeKind,
    Invitee,
    ModelUse,
    PageRange,
    Parts,
    Terms,
)

HOUR = timedelta(hours=1)


async def test_nothing_is_anothers_without_a_grant(office: Office) -> None:
    document = await office.put_document(office.ann)
    assert not await office.ways(office.bob, document)
    with pytest.raises(NotFoundError):
        await office.share(office.bob, document, office.cem)


async def test_a_grant_holds_for_its_grantee_and_its_actions(office: Office) -> None:
    document = await office.put_document(office.ann)
    grant = await office.share(office.ann, document, office.bob)
    [way] = await office.ways(office.bob, document)
    assert [limits.id for limits in way.grants] == [grant.id]
    assert not await office.ways(office.cem, document)
    for action in set(GrantAction) - {GrantAction.READ}:
        assert not await office.ways(office.bob, document, action)


async def test_a_group_and_the_tenant_can_be_granted_and_guests_are_not_the_tenant(
    office: Office,
) -> None:
    document, other = await office.put_document(office.ann), await office.put_document(office.ann)
    group_id = await office.make_group(office.bob)
    await office.grants.create(office.ann, document, Grantee(GranteeKind.GROUP, group_id), READ)
    everyone = Grantee(GranteeKind.TENANT, office.ann.tenant_id)
    await office.grants.create(office.ann, other, everyone, READ)
    await office.execute(
        office.dee, "UPDATE users SET kind = 'guest' WHERE id = $1", office.dee.principal_id
    )
    assert await office.ways(office.bob, document)
    assert not await office.ways(office.cem, document)
    assert await office.ways(office.cem, other)
    assert not await office.ways(office.dee, other)


async def test_a_strangers_address_makes_a_guest_once(office: Office) -> None:
    document = await office.put_document(office.ann)
    grants = [
        await office.grants.create(office.ann, document, Invitee("New@elsewhere.example"), READ)
        for _ in range(2)
    ]
    assert grants[0].grantee == grants[1].grantee
    async with office.database.transaction(office.ann) as transaction:
        kind = "SELECT kind FROM users WHERE email = 'new@elsewhere.example'"
        assert await transaction.fetchval(kind) == "guest"


async def test_another_tenants_people_have_no_way(office: Office, make_scope: MakeScope) -> None:
    document = await office.put_document(office.ann)
    everyone = Grantee(GranteeKind.TENANT, office.ann.tenant_id)
    await office.grants.create(office.ann, document, everyone, READ)
    assert not await office.ways(await make_scope(), document)


@pytest.mark.parametrize(
    "terms",
    [
        replace(READ, not_before=datetime.now(UTC) + HOUR),
        replace(READ, not_before=datetime.now(UTC) - 2 * HOUR, expires_at=datetime.now(UTC) - HOUR),
        replace(READ, purpose="audit"),
    ],
    ids=["not yet", "no more", "for another purpose"],
)
async def test_it_counts_only_in_its_time_and_for_its_purpose(office: Office, terms: Terms) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob, terms)
    assert not await office.ways(office.bob, document)


async def test_a_stated_purpose_opens_what_was_given_for_it(office: Office) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob, replace(READ, purpose="audit"))
    assert await office.ways(replace(office.bob, purpose="audit"), document)
    assert not await office.ways(replace(office.bob, purpose="sales"), document)


async def test_what_ends_takes_along_what_derives_from_it(office: Office) -> None:
    document, collection = (
        await office.put_document(office.ann),
        await office.put_collection(office.cem),
    )
    first = await office.share(office.ann, document, office.bob, SHARE)
    second = await office.share(office.bob, document, office.cem, SHARE)
    await office.share(office.cem, document, office.dee)
    await office.add(office.cem, collection, document, second)
    assert await office.ways(office.dee, document)
    await office.grants.revoke(office.ann, first.id)
    for person in (office.bob, office.cem, office.dee):
        assert not await office.ways(person, document)
    ended = await office.grants.get(office.cem, second.id)
    assert ended.ending is Ending.REVOKED
    async with office.database.transaction(office.cem) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM collection_documents") == 0


async def test_a_grant_is_revoked_by_its_giver_the_owner_and_who_it_derives_from(
    office: Office,
) -> None:
    document = await office.put_document(office.ann)
    for revoker in (office.ann, office.bob, office.cem):
        await office.share(office.ann, document, office.bob, SHARE)
        await office.share(office.bob, document, office.cem, SHARE)
        last = await office.share(office.cem, document, office.dee)
        with pytest.raises(NotFoundError):
            await office.grants.revoke(office.dee, last.id)
        await office.grants.revoke(revoker, last.id)
        assert not await office.ways(office.dee, document)


async def test_whoever_may_not_revoke_a_grant_is_put_on_record(office: Office) -> None:
    document = await office.put_document(office.ann)
    grant = await office.share(office.ann, document, office.bob)
    with pytest.raises(NotFoundError):
        await office.grants.revoke(office.cem, grant.id)
    assert await office.denials() == [(office.cem.principal_id, "grant.revoke")]


@pytest.mark.parametrize(
    ("given", "wanted", "widened"),
    [
        ({}, {"actions": frozenset({GrantAction.WRITE})}, "actions"),
        ({"expires_at": datetime.now(UTC) + HOUR}, {"expires_at": datetime.now(UTC) + 2 * HOUR}, "expires_at"),
        ({"purpose": "audit"}, {"purpose": "sales"}, "purpose"),
        ({"max_uses": 3}, {"max_uses": 4}, "max_uses"),
        ({"model_use": frozenset({ModelUse.QUOTE})}, {"model_use": frozenset(ModelUse)}, "model_use"),
    ],
)  # fmt: skip
async def test_sharing_on_never_widens(
    office: Office, given: dict[str, object], wanted: dict[str, object], widened: str
) -> None:
    document = await office.put_document(office.ann)
    await office.share(office.ann, document, office.bob, replace(SHARE, **given))  # pyright: ignore[reportArgumentType] - the cases above
    bob = replace(office.bob, purpose="audit")
    with pytest.raises(WideningError) as refused:
        await office.share(bob, document, office.cem, replace(READ, **wanted))  # pyright: ignore[reportArgumentType] - the cases above
    assert refused.value.param == widened


async def test_of_many_grants_the_one_that_is_wide_enough_is_found(office: Office) -> None:
    document = await office.put_document(office.ann)
    narrow = Terms(frozenset({GrantAction.SEARCH, GrantAction.SHARE}))
    # More than a page of them.
    for _ in range(21):
        await office.share(office.ann, document, office.bob, narrow)
    with pytest.raises(WideningError):
        await office.share(office.bob, document, office.cem, READ)
    wide = await office.share(office.ann, document, office.bob, SHARE)
    assert (await office.share(office.bob, document, office.cem, READ)).parent_id == wide.id


async def test_what_a_re_share_does_not_say_it_inherits(office: Office) -> None:
    document = await office.put_document(office.ann)
    parts = Parts((PageRange(2, 4),), ("Terms",))
    terms = Terms(frozenset({GrantAction.SEARCH, GrantAction.SHARE}), parts=parts, max_uses=3)
    given = await office.share(office.ann, document, office.bob, terms)
    search = Terms(frozenset({GrantAction.SEARCH}))
    derived = await office.share(office.bob, document, office.cem, search)
    assert derived.parent_id == given.id
    assert (derived.terms.parts, derived.terms.max_uses) == (parts, 3)
    inside = replace(search, parts=Parts((PageRange(3, 3),)))
    assert (await office.share(office.bob, document, office.cem, inside)).terms.parts is not None
    outside = replace(search, parts=Parts((PageRange(4, 5),)))
    with pytest.raises(WideningError):
        await office.share(office.bob, document, office.cem, outside)


async def test_terms_that_make_no_sense_are_refused(office: Office) -> None:
    document = await office.put_document(office.ann)
    past = datetime.now(UTC) - timedelta(days=2)
    for terms in (
        replace(READ, expires_at=past),
        replace(READ, not_before=past, expires_at=past - timedelta(days=1)),
        Terms(frozenset({GrantAction.READ}), fields=frozenset({"/a"})),
        Terms(frozenset({GrantAction.READ}), parts=Parts((PageRange(1, 2),))),
        Terms(frozenset({GrantAction.READ_PARTS})),
    ):
        with pytest.raises(InvalidRequestError):
            await office.share(office.ann, document, office.bob, terms)


async def test_whoever_leaves_a_group_takes_along_what_they_shared_on_in_it(office: Office) -> None:
    document = await office.put_document(office.ann)
    group_id = await office.make_group(office.bob, office.cem)
    await office.grants.create(office.ann, document, Grantee(GranteeKind.GROUP, group_id), SHARE)
    derived = await office.share(office.bob, document, office.dee)
    kept = await office.share(office.cem, document, office.dee)
    await office.execute(
        office.ann, "DELETE FROM group_members WHERE user_id = $1", office.bob.principal_id
    )
    assert (await office.grants.get(office.dee, derived.id)).ending is Ending.LEFT_GROUP
    [way] = await office.ways(office.dee, document)
    assert [limits.id for limits in way.grants] == [kept.id]


async def test_a_grant_goes_with_its_group_and_with_its_resource(office: Office) -> None:
    document = await office.put_document(office.ann)
    group_id = await office.make_group(office.bob)
    await office.grants.create(office.ann, document, Grantee(GranteeKind.GROUP, group_id), READ)
    await office.execute(office.ann, "DELETE FROM groups")
    assert not await office.ways(office.bob, document)
    collection = await office.put_collection(office.ann)
    await office.share(office.ann, collection, office.cem)
    await office.execute(office.ann, "DELETE FROM collections")
    async with office.database.transaction(office.ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM grants") == 0


async def test_a_collection_shows_what_is_in_it_and_never_more_than_its_adder_may_give(
    office: Office,
) -> None:
    own, others = await office.put_document(office.bob), await office.put_document(office.ann)
    collection = await office.put_collection(office.bob)
    terms = Terms(frozenset({GrantAction.SEARCH, GrantAction.WRITE, GrantAction.SHARE}))
    lent = await office.share(office.ann, others, office.bob, terms)
    await office.add(office.bob, collection, own)
    await office.add(office.bob, collection, others, lent)
    both = Terms(frozenset({GrantAction.SEARCH, GrantAction.READ, GrantAction.WRITE}))
    given = await office.share(office.bob, collection, office.cem, both)
    [way] = await office.ways(office.cem, others, GrantAction.SEARCH)
    assert [limits.id for limits in way.grants] == [given.id, lent.id]
    assert await office.ways(office.cem, own, GrantAction.WRITE)
    assert not await office.ways(office.cem, others, GrantAction.READ)
    assert not await office.ways(office.cem, others, GrantAction.WRITE)
    await office.grants.revoke(office.ann, lent.id)
    assert not await office.ways(office.cem, others, GrantAction.SEARCH)
    assert not await office.ways(office.bob, others, GrantAction.SEARCH)


async def test_grants_are_listed_for_the_owner_and_for_those_they_concern(office: Office) -> None:
    document = await office.put_document(office.ann)
    first = await office.share(office.ann, document, office.bob, SHARE)
    second = await office.share(office.bob, document, office.cem)
    third = await office.share(office.ann, document, office.dee)
    seen = {
        person.email: [grant.id for grant in await office.grants.list_of(person, document, limit=9)]
        for person in (office.ann, office.bob, office.cem)
    }
    assert list(seen.values()) == [
        [first.id, second.id, third.id],
        [first.id, second.id],
        [second.id],
    ]
    await office.grants.revoke(office.ann, third.id)
    assert len(await office.grants.list_given(office.ann, limit=9)) == 2
    stranger = await office.put_document(office.ann)
    with pytest.raises(NotFoundError):
        await office.grants.list_of(office.bob, stranger, limit=9)
