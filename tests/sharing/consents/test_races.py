"""Withdrawing against reading, sharing and sharing on; marking against sharing: whoever is second sees the first."""

import asyncio
from dataclasses import replace

import pytest

from tests.sharing.consents.conftest import READ, Practice
from tests.stepping import until_blocked
from undercroft.kit.errors import NotFoundError
from undercroft.sharing.consents.models import ConsentState
from undercroft.sharing.errors import ConsentRequiredError, GrantEndedError
from undercroft.sharing.models import GrantAction, Grantee, GranteeKind, Terms
from undercroft.sharing.policy import read_ways

_WAYS = "SELECT ways_to_document($1, 'read')"


async def test_a_reader_under_way_sees_nothing_from_the_next_statement_on(
    practice: Practice,
) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    await practice.share(document, practice.cem)
    cem = replace(practice.cem, purpose="second-opinion")
    async with practice.database.transaction(cem) as reading:
        assert read_ways(await reading.fetchval(_WAYS, document.id))
        await practice.consents.withdraw(practice.bob, given.consent.id)
        assert not read_ways(await reading.fetchval(_WAYS, document.id))


async def test_of_sharing_and_withdrawing_at_once_no_grant_is_left(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    grantee = Grantee(GranteeKind.USER, practice.cem.principal_id)
    async with practice.database.transaction(practice.ann) as sharing:
        await practice.grants.create_in(sharing, practice.ann, document, grantee, READ)
        withdrawing = asyncio.create_task(
            practice.consents.withdraw(practice.bob, given.consent.id)
        )
        await until_blocked(practice.database)
    await withdrawing
    assert not await practice.ways(practice.cem, document)


async def test_a_grant_waits_for_a_withdrawal_and_is_refused(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    async with practice.database.transaction(practice.bob) as withdrawing:
        await withdrawing.execute("SELECT FROM consents WHERE id = $1 FOR UPDATE", given.consent.id)
        sharing = asyncio.create_task(practice.share(document, practice.cem))
        await until_blocked(practice.database)
        await withdrawing.execute(
            "UPDATE consents SET state = 'withdrawn', ended_at = now() WHERE id = $1",
            given.consent.id,
        )
    with pytest.raises(ConsentRequiredError):
        await sharing


async def test_of_sharing_on_and_withdrawing_at_once_no_grant_is_left(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    share = Terms(frozenset({GrantAction.READ, GrantAction.SHARE}))
    await practice.share(document, practice.cem, share)
    cem = replace(practice.cem, purpose="second-opinion")
    for _ in range(5):
        _, shared = await asyncio.gather(
            practice.consents.withdraw(practice.bob, given.consent.id),
            practice.share(document, practice.dee, giver=cem),
            return_exceptions=True,
        )
        # The consent had gone, or the grant to share on, and the right to know of the document with it.
        if isinstance(shared, BaseException):
            assert isinstance(shared, ConsentRequiredError | GrantEndedError | NotFoundError)
        assert not await practice.ways(practice.dee, document)
        given = await practice.agree(document, practice.bob)
        await practice.share(document, practice.cem, share)


async def test_of_sharing_and_marking_at_once_no_grant_is_left(practice: Practice) -> None:
    document = await practice.put_document()
    grantee = Grantee(GranteeKind.USER, practice.cem.principal_id)
    async with practice.database.transaction(practice.ann) as sharing:
        await practice.grants.create_in(sharing, practice.ann, document, grantee, READ)
        marking = asyncio.create_task(
            practice.subjects.mark(practice.ann, document, practice.bob.email)
        )
        await until_blocked(practice.database)
    await marking
    assert not await practice.ways(practice.cem, document)


async def test_a_grant_waits_for_marking_and_is_refused(practice: Practice) -> None:
    document = await practice.put_document()
    async with practice.database.transaction(practice.ann) as marking:
        await marking.execute("SELECT FROM documents WHERE id = $1 FOR UPDATE", document.id)
        await marking.execute(
            "UPDATE documents SET data_subject_id = $2 WHERE id = $1",
            document.id,
            practice.bob.principal_id,
        )
        sharing = asyncio.create_task(practice.share(document, practice.cem))
        await until_blocked(practice.database)
    with pytest.raises(ConsentRequiredError):
        await sharing


async def test_of_two_who_withdraw_one_does(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    results = await asyncio.gather(
        *(practice.consents.withdraw(practice.bob, given.consent.id) for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    seen = await practice.consents.get(practice.bob, given.consent.id)
    assert seen.consent.state is ConsentState.WITHDRAWN
    assert [event.kind.value for event in seen.events] == ["asked", "given", "withdrawn"]
