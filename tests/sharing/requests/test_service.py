"""Asking tells nothing, the owner alone answers and never grants more than was asked, and of two answers one counts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.sharing.consents.conftest import Practice
from tests.sharing.requests.conftest import BOTH, READ, WISH, put_overdue
from undercroft.kit.errors import InvalidRequestError, NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.sharing.errors import ConsentRequiredError
from undercroft.sharing.models import GrantAction, PageRange, Parts, Resource, ResourceKind, Terms
from undercroft.sharing.requests.errors import (
    RequestClosedError,
    TooManyRequestsError,
    WiderThanAskedError,
)
from undercroft.sharing.requests.models import RequestState, Wish, decode_wish, encode_wish
from undercroft.sharing.requests.service import MOST_A_DAY, AccessRequests


def test_what_is_asked_for_is_read_as_it_was_written() -> None:
    now = datetime.now(UTC)
    for terms in (
        READ,
        Terms(
            actions=frozenset({GrantAction.READ_PARTS}),
            fields=frozenset({"/a/b"}),
            parts=Parts((PageRange(2, 4),), ("Ends", "")),
            purpose="audit",
            not_before=now,
            expires_at=now + timedelta(days=1),
            max_uses=3,
            model_use=frozenset(),
        ),
    ):
        assert decode_wish(encode_wish(Wish(terms, None))) == Wish(terms, None)


async def test_the_owner_reads_and_approves_what_is_asked(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    request_id = await requests.ask(practice.cem, document, WISH)
    [seen] = await requests.list_requests(practice.ann, limit=9)
    assert (seen.id, seen.wish, seen.asker_id) == (request_id, WISH, practice.cem.principal_id)
    approved = await requests.approve(practice.ann, request_id)
    assert approved.state is RequestState.APPROVED
    assert approved.wish is None
    [way] = await practice.ways(practice.cem, document)
    assert way.grants[0].id == approved.grant_id
    mine = await requests.get(practice.cem, request_id)
    assert mine == approved
    assert (await practice.actions())[-2:] == ["grant.create", "access_request.approve"]


async def test_asking_tells_nothing(practice: Practice, requests: AccessRequests) -> None:
    there = await practice.put_document()
    absent = Resource(ResourceKind.DOCUMENT, IdSource().new())
    other_kind = Resource(ResourceKind.RECORD, there.id)
    before = await practice.actions()
    for resource in (there, absent, other_kind):
        request_id = await requests.ask(practice.cem, resource, WISH)
        with pytest.raises(NotFoundError):
            await requests.get(practice.cem, request_id)
    assert await requests.list_requests(practice.cem, asked=True, limit=9) == []
    assert await practice.actions() == before
    assert await practice.cabinet.count(practice.ann, "access_requests") == 1


async def test_the_bound_counts_what_is_not_there_as_well(
    practice: Practice, requests: AccessRequests
) -> None:
    there = await practice.put_document()
    absent = Resource(ResourceKind.DOCUMENT, IdSource().new())
    await practice.execute(
        "INSERT INTO access_request_counts (tenant_id, asker_id, day, asked) VALUES ($1, $2, current_date, $3)",
        practice.ann.tenant_id,
        practice.cem.principal_id,
        MOST_A_DAY - 1,
    )
    await requests.ask(practice.cem, absent, WISH)
    for resource in (absent, there):
        with pytest.raises(TooManyRequestsError):
            await requests.ask(practice.cem, resource, WISH)
    await requests.ask(practice.dee, there, WISH)


async def test_asking_again_takes_the_place_of_what_was_asked(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    await requests.ask(practice.cem, document, WISH)
    second = await requests.ask(practice.cem, document, Wish(READ, None))
    assert [one.id for one in await requests.list_requests(practice.ann, limit=9)] == [second]


async def test_only_the_owner_answers(practice: Practice, requests: AccessRequests) -> None:
    document = await practice.put_document()
    request_id = await requests.ask(practice.cem, document, WISH)
    for other in (practice.cem, practice.dee):
        with pytest.raises(NotFoundError):
            await requests.approve(other, request_id)
        with pytest.raises(NotFoundError):
            await requests.deny(other, request_id)
    await requests.deny(practice.ann, request_id)
    assert (await requests.get(practice.cem, request_id)).state is RequestState.DENIED
    assert not await practice.ways(practice.cem, document)
    with pytest.raises(RequestClosedError):
        await requests.approve(practice.ann, request_id)


@pytest.mark.parametrize(
    "narrowed",
    [READ, replace(READ, purpose="audit"), replace(BOTH, max_uses=1)],
    ids=["action", "purpose", "uses"],
)
async def test_the_owner_may_grant_less(
    practice: Practice, requests: AccessRequests, narrowed: Terms
) -> None:
    document = await practice.put_document()
    request_id = await requests.ask(practice.cem, document, WISH)
    approved = await requests.approve(practice.ann, request_id, narrowed)
    assert approved.grant_id is not None
    terms = (await practice.grants.get(practice.ann, approved.grant_id)).terms
    assert (terms.actions, terms.purpose, terms.max_uses) == (
        narrowed.actions,
        narrowed.purpose,
        narrowed.max_uses,
    )


async def test_the_owner_never_grants_more_by_approving(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    asked = replace(READ, purpose="audit", max_uses=2)
    request_id = await requests.ask(practice.cem, document, Wish(asked, None))
    for terms, param in (
        (BOTH, "actions"),
        (replace(READ, purpose="sales"), "purpose"),
        (replace(READ, max_uses=3), "max_uses"),
    ):
        with pytest.raises(WiderThanAskedError) as refused:
            await requests.approve(practice.ann, request_id, terms)
        assert refused.value.param == param
    assert not await practice.ways(practice.cem, document, purpose="audit")


async def test_what_nobody_answers_is_over_before_a_worker_says_so(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    await requests.ask(practice.dee, document, WISH)
    assert await requests.expire() == 0
    request_id = await put_overdue(practice, document)
    assert await requests.expire() == 1
    assert (await requests.get(practice.ann, request_id)).state is RequestState.EXPIRED
    with pytest.raises(RequestClosedError):
        await requests.approve(practice.ann, request_id)
    with pytest.raises(NotFoundError):
        await requests.get(practice.cem, request_id)


async def test_approval_of_something_personal_takes_consent(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document(about=practice.bob)
    request_id = await requests.ask(practice.cem, document, Wish(READ, None))
    with pytest.raises(ConsentRequiredError):
        await requests.approve(practice.ann, request_id)
    assert (await requests.get(practice.ann, request_id)).state is RequestState.PENDING
    await practice.agree(document, practice.bob)
    await requests.approve(practice.ann, request_id)
    assert await practice.ways(practice.cem, document)


async def test_what_makes_no_sense_is_not_asked(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    over = replace(READ, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for terms in (replace(READ, fields=frozenset({"/a"})), over):
        with pytest.raises(InvalidRequestError):
            await requests.ask(practice.cem, document, Wish(terms, None))
    with pytest.raises(InvalidRequestError):
        await requests.ask(practice.ann, document, WISH)


async def test_a_request_goes_with_its_thing(practice: Practice, requests: AccessRequests) -> None:
    document = await practice.put_document()
    await requests.ask(practice.cem, document, WISH)
    await practice.execute("DELETE FROM documents WHERE id = $1", document.id)
    assert await practice.cabinet.count(practice.ann, "access_requests") == 0
