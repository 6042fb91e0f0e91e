"""A thing is deleted while somebody decides about it: one waits for the other, and never both."""

import asyncio
from dataclasses import replace

import pytest

from tests.sharing.consents.conftest import READ, Practice
from tests.stepping import until_blocked
from undercroft.kit.errors import NotFoundError
from undercroft.sharing.models import Ending, GrantAction, Terms
from undercroft.sharing.requests.models import Wish
from undercroft.sharing.requests.service import AccessRequests

SHARE = Terms(frozenset({GrantAction.READ, GrantAction.SHARE}))
_DELETE = "DELETE FROM documents WHERE id = $1"


async def test_a_deletion_waits_for_a_revocation_that_takes_it_out_of_a_collection(
    practice: Practice,
) -> None:
    document, collection = await practice.put_document(), await practice.put_collection()
    grant = await practice.share(document, practice.cem, SHARE)
    await practice.execute(
        "INSERT INTO collection_documents (tenant_id, collection_id, document_id, added_by, grant_id)"
        " VALUES ($1, $2, $3, $4, $5)",
        practice.ann.tenant_id,
        collection.id,
        document.id,
        practice.cem.principal_id,
        grant.id,
    )
    async with practice.database.transaction(practice.ann) as revoking:
        await revoking.execute("SELECT FROM grants WHERE id = $1 FOR NO KEY UPDATE", grant.id)
        deleting = asyncio.create_task(practice.execute(_DELETE, document.id))
        await until_blocked(practice.database)
        await practice.grants.end(revoking, practice.ann, grant, Ending.REVOKED)
    await deleting
    assert await practice.cabinet.count(practice.ann, "collection_documents") == 0


async def test_a_deletion_waits_for_a_withdrawal(practice: Practice) -> None:
    document = await practice.put_document(about=practice.bob)
    given = await practice.agree(document, practice.bob)
    await practice.share(document, practice.cem)
    async with practice.database.transaction(practice.bob) as withdrawing:
        await withdrawing.execute("SELECT FROM consents WHERE id = $1 FOR UPDATE", given.consent.id)
        deleting = asyncio.create_task(practice.execute(_DELETE, document.id))
        await until_blocked(practice.database)
        await practice.grants.end_under_consent(withdrawing, practice.bob, given.consent.id)
    await deleting
    assert await practice.cabinet.count(practice.ann, "grants") == 0


async def test_an_answer_waits_for_a_deletion_without_holding_it_up(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    request_id = await requests.ask(practice.cem, document, Wish(READ, None))
    async with practice.database.transaction(practice.ann) as deleting:
        await deleting.execute("SELECT FROM documents WHERE id = $1 FOR UPDATE", document.id)
        approving = asyncio.create_task(requests.approve(practice.ann, request_id))
        await until_blocked(practice.database)
        await deleting.execute(_DELETE, document.id)
    with pytest.raises(NotFoundError):
        await approving


async def test_asking_again_waits_for_a_deletion_without_holding_it_up(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    await requests.ask(practice.cem, document, Wish(READ, None))
    async with practice.database.transaction(practice.ann) as deleting:
        await deleting.execute("SELECT FROM documents WHERE id = $1 FOR UPDATE", document.id)
        wish = Wish(replace(READ, max_uses=1), None)
        asking = asyncio.create_task(requests.ask(practice.cem, document, wish))
        await until_blocked(practice.database)
        await deleting.execute(_DELETE, document.id)
    await asking
    assert await practice.cabinet.count(practice.ann, "access_requests") == 0
