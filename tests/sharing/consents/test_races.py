"""Withdrawing against reading, sharing, sharing on, giving and expiring: whoever is second sees the first."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest

from tests.sharing.consents.conftest import CONTENT, READ, TERMS, Practice
from tests.stepping import PATIENCE, until_blocked
from undercroft.kit.database import Transaction
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.consents.errors import ConsentStateError
from undercroft.sharing.consents.models import ConsentRecord, ConsentState
from undercroft.sharing.errors import ConsentRequiredError
from undercroft.sharing.models import GrantAction, Grantee, GranteeKind, Terms
from undercroft.sharing.policy import read_ways

SHARE = Terms(frozenset({GrantAction.READ, GrantAction.SHARE}))
_WAYS = "SELECT ways_to_document($1, 'read')"


@asynccontextmanager
async def withdrawing_half_way(
    practice: Practice, given: ConsentRecord
) -> AsyncGenerator[Transaction]:
    """A withdrawal that has the consent and has ended no grant yet; it does so at the end, and commits."""
    async with practice.database.transaction(practice.bob) as transaction:
        await transaction.execute("SELECT FROM consents WHERE id = $1 FOR UPDATE", given.consent.id)
        yield transaction
        await transaction.execute(
            "UPDATE consents SET state = 'withdrawn', ended_at = now() WHERE id = $1",
            given.consent.id,
        )
        await practice.grants.end_under_consent(transaction, practice.bob, given.consent.id)


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


async def test_a_withdrawal_waits_for_a_grant_and_ends_it(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    grantee = Grantee(GranteeKind.USER, practice.cem.principal_id)
    async with practice.database.transaction(practice.ann) as sharing:
        await practice.grants.create_in(sharing, practice.ann, document, grantee, SHARE)
        withdrawing = asyncio.create_task(
            practice.consents.withdraw(practice.bob, given.consent.id)
        )
        await until_blocked(practice.database)
    await withdrawing
    assert not await practice.ways(practice.cem, document)


async def test_a_withdrawal_waits_for_what_is_shared_on_and_ends_it(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    await practice.share(document, practice.cem, SHARE)
    cem = replace(practice.cem, purpose="second-opinion")
    grantee = Grantee(GranteeKind.USER, practice.dee.principal_id)
    async with practice.database.transaction(cem) as sharing:
        await practice.grants.create_in(sharing, cem, document, grantee, READ)
        withdrawing = asyncio.create_task(
            practice.consents.withdraw(practice.bob, given.consent.id)
        )
        await until_blocked(practice.database)
    await withdrawing
    assert not await practice.ways(practice.dee, document)


async def test_a_grant_waits_for_a_withdrawal_and_is_refused(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    async with withdrawing_half_way(practice, given):
        sharing = asyncio.create_task(practice.share(document, practice.cem))
        await until_blocked(practice.database)
    with pytest.raises(ConsentRequiredError):
        await sharing


async def test_what_is_shared_on_waits_for_a_withdrawal_without_holding_it_up(
    practice: Practice,
) -> None:
    """It waits for the consent before it holds the grants that it derives from; else it were a deadlock."""
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    await practice.share(document, practice.cem, SHARE)
    cem = replace(practice.cem, purpose="second-opinion")
    async with withdrawing_half_way(practice, given):
        sharing = asyncio.create_task(practice.share(document, practice.dee, giver=cem))
        await until_blocked(practice.database)
    with pytest.raises(ConsentRequiredError):
        await sharing
    assert not await practice.ways(practice.dee, document)


async def test_of_several_answers_at_once_one_counts(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    asked = await practice.ask(document)
    consents, bob, consent_id = practice.consents, practice.bob, asked.consent.id
    async with practice.database.transaction(bob) as holding:
        await holding.execute("SELECT FROM consents WHERE id = $1 FOR UPDATE", consent_id)
        answers = [
            asyncio.create_task(answer)
            for answer in (
                consents.give(bob, consent_id, 1),
                consents.give(bob, consent_id, 1),
                consents.refuse(bob, consent_id),
            )
        ]
        await until_blocked(practice.database, 3)
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert sum(isinstance(result, ConsentStateError) for result in results) == 2
    assert sum(isinstance(result, ConsentRecord) for result in results) == 1
    seen = await consents.get(bob, consent_id)
    assert [event.kind.value for event in seen.events] in (["asked", "given"], ["asked", "refused"])


async def test_of_two_who_withdraw_one_does(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    async with practice.database.transaction(practice.bob) as holding:
        await holding.execute("SELECT FROM consents WHERE id = $1 FOR UPDATE", given.consent.id)
        both = [
            asyncio.create_task(practice.consents.withdraw(practice.bob, given.consent.id))
            for _ in range(2)
        ]
        await until_blocked(practice.database, 2)
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == [
        "ConsentRecord",
        "ConsentStateError",
    ]
    seen = await practice.consents.get(practice.bob, given.consent.id)
    assert [event.kind.value for event in seen.events] == ["asked", "given", "withdrawn"]


@pytest.mark.parametrize("is_renewal", [False, True], ids=["given", "renewed"])
async def test_what_is_agreed_to_while_all_is_withdrawn_is_withdrawn_too(
    practice: Practice, database_urls: DatabaseUrls, *, is_renewal: bool
) -> None:
    document = await practice.put_document(about=practice.bob)
    asked = await practice.ask(document)
    consent_id, agree = asked.consent.id, practice.consents.give
    if is_renewal:
        await practice.consents.give(practice.bob, consent_id, 1)
        await practice.expire(consent_id)
        await practice.consents.expire()
        agree = practice.consents.renew
    owner = await asyncpg.connect(database_urls.migration)
    try:
        # It has agreed, and does not commit before its event is kept.
        await owner.execute("BEGIN; LOCK TABLE consent_events IN SHARE MODE")
        agreeing = asyncio.create_task(agree(practice.bob, consent_id, 1))
        await until_blocked(practice.database)
        withdrawing = asyncio.create_task(practice.consents.withdraw_all(practice.bob))
        await until_blocked(practice.database, 2)
    finally:
        await owner.close()
    await agreeing
    assert [record.consent.id for record in await withdrawing] == [consent_id]
    seen = await practice.consents.get(practice.bob, consent_id)
    assert seen.consent.state is ConsentState.WITHDRAWN


async def test_what_is_renewed_while_a_worker_looks_goes_on(practice: Practice) -> None:
    """The worker does not wait for it either: there are other consents."""
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    await practice.expire(given.consent.id)
    async with practice.database.transaction(practice.bob) as renewing:
        await renewing.execute(
            "UPDATE consents SET given_at = now(), valid_until = now() + interval '1 day' WHERE id = $1",
            given.consent.id,
        )
        async with asyncio.timeout(PATIENCE):
            assert await practice.consents.expire() == 1
    seen = await practice.consents.get(practice.bob, given.consent.id)
    assert seen.consent.state is ConsentState.GIVEN


async def test_two_who_add_to_a_notice_add_two_versions(practice: Practice) -> None:
    notice = await practice.publish()
    async with practice.database.transaction(practice.ann) as holding:
        await holding.execute("SELECT FROM notices WHERE id = $1 FOR NO KEY UPDATE", notice.id)
        both = [
            asyncio.create_task(
                practice.notices.add_version(practice.ann, notice.id, CONTENT, TERMS)
            )
            for _ in range(2)
        ]
        await until_blocked(practice.database, 2)
    added = await asyncio.gather(*both)
    assert sorted(notice.version for notice in added) == [2, 3]
