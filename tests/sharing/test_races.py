"""What is shared on, used and revoked at the same instant: one order or the other, and never both."""

import asyncio
from dataclasses import replace

import pytest

from tests.sharing.conftest import READ, SHARE, Office, to
from tests.stepping import rolled_back, until_blocked
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.sharing.errors import GrantEndedError
from undercroft.sharing.models import (
    Ending,
    GrantAction,
    Grantee,
    GranteeKind,
    GrantLimits,
    Terms,
    Way,
)
from undercroft.sharing.repository import GrantRepository
from undercroft.sharing.uses import GrantUses


async def test_a_grant_that_is_revoked_while_it_is_shared_on_takes_the_new_one_along(
    office: Office,
) -> None:
    document = await office.put_document(office.ann)
    first = await office.share(office.ann, document, office.bob, SHARE)
    second = await office.share(office.bob, document, office.cem, SHARE)
    async with office.database.transaction(office.cem) as transaction:
        made = await office.grants.create_in(
            transaction, office.cem, document, to(office.dee), READ
        )
        revoking = asyncio.create_task(office.grants.revoke(office.ann, first.id))
        await until_blocked(office.database)
    await revoking
    assert (await office.grants.get(office.cem, second.id)).ending is Ending.REVOKED
    assert (await office.grants.get(office.dee, made.id)).ending is Ending.REVOKED
    assert not await office.ways(office.dee, document)


async def test_what_is_revoked_first_can_no_more_be_shared_on(office: Office) -> None:
    document = await office.put_document(office.ann)
    first = await office.share(office.ann, document, office.bob, SHARE)
    async with office.database.transaction(office.ann) as transaction:
        await office.grants.end(transaction, office.ann, first, Ending.REVOKED)
        sharing = asyncio.create_task(office.share(office.bob, document, office.cem))
        await until_blocked(office.database)
    with pytest.raises(GrantEndedError):
        await sharing
    with pytest.raises(NotFoundError):
        await office.share(office.bob, document, office.cem)


async def test_whoever_is_taken_out_of_a_group_while_they_share_on_takes_it_along(
    office: Office,
) -> None:
    document = await office.put_document(office.ann)
    group_id = await office.make_group(office.bob)
    await office.grants.create(office.ann, document, Grantee(GranteeKind.GROUP, group_id), SHARE)
    async with office.database.transaction(office.bob) as transaction:
        await office.grants.create_in(transaction, office.bob, document, to(office.dee), READ)
        removing = asyncio.create_task(
            office.execute(office.ann, "DELETE FROM group_members WHERE group_id = $1", group_id)
        )
        await until_blocked(office.database)
    await removing
    assert not await office.ways(office.dee, document)


async def test_whoever_uses_two_grants_and_whoever_ends_both_do_not_wait_for_each_other(
    office: Office,
) -> None:
    document, other = [await office.put_document(office.ann) for _ in range(2)]
    first = await office.share(office.ann, document, office.bob, SHARE)
    counted = replace(READ, max_uses=9)
    derived = await office.share(office.bob, document, office.cem, counted)
    last = await office.share(office.ann, other, office.cem, counted)
    assert first.id < derived.id < last.id
    async with office.database.transaction(office.cem) as using:
        assert await GrantRepository().use_grants(using, [derived.id])
        ending = asyncio.create_task(
            office.execute(
                office.ann, "SELECT end_grants($1::uuid[], 'revoked')", [first.id, last.id]
            )
        )
        await until_blocked(office.database)
        assert await GrantRepository().use_grants(using, [last.id])
    await ending
    for grant in (first, derived, last):
        assert (await office.grants.get(office.ann, grant.id)).ending is Ending.REVOKED


async def test_of_two_who_want_the_last_use_one_gets_it(office: Office) -> None:
    document = await office.put_document(office.ann)
    download = Terms(frozenset({GrantAction.DOWNLOAD}), max_uses=1)
    grant = await office.share(office.ann, document, office.bob, download)
    way = Way((GrantLimits(grant.id, is_counted=True),))

    async def use() -> None:
        async with office.database.transaction(office.bob) as transaction:
            await GrantUses().count(transaction, way)

    async with office.database.transaction(office.bob) as transaction:
        await GrantUses().count(transaction, way)
        second = asyncio.create_task(use())
        await until_blocked(office.database)
    with pytest.raises(GrantEndedError):
        await second
    used = await office.grants.get(office.bob, grant.id)
    assert (used.uses, used.ending) == (1, Ending.USED_UP)


async def test_uses_are_counted_along_the_chain(office: Office) -> None:
    document = await office.put_document(office.ann)
    terms = replace(SHARE, max_uses=2)
    first = await office.share(office.ann, document, office.bob, terms)
    for person in (office.cem, office.dee):
        await office.share(office.bob, document, person)
    for person in (office.cem, office.dee):
        [way] = await office.ways(person, document)
        async with office.database.transaction(person) as transaction:
            await GrantUses().count(transaction, way)
    assert (await office.grants.get(office.ann, first.id)).ending is Ending.USED_UP
    for person in (office.bob, office.cem, office.dee):
        assert not await office.ways(person, document)


async def test_a_use_that_comes_to_nothing_counts_nothing(
    office: Office, database: Database
) -> None:
    document = await office.put_document(office.ann)
    grant = await office.share(office.ann, document, office.bob, replace(READ, max_uses=1))
    async with rolled_back(database, office.bob) as transaction:
        assert await GrantRepository().use_grants(transaction, [grant.id])
    assert (await office.grants.get(office.bob, grant.id)).uses == 0
