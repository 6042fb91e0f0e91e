"""Answers, questions and the worker at the same instant: one counts, and the others see it."""

import asyncio
from typing import Final

from tests.sharing.consents.conftest import Practice
from tests.sharing.requests.conftest import WISH, put_overdue
from tests.stepping import PATIENCE, until_blocked
from undercroft.sharing.requests.errors import RequestClosedError
from undercroft.sharing.requests.models import RequestState
from undercroft.sharing.requests.service import AccessRequests

DENY: Final = (
    "UPDATE access_requests SET state = 'denied', sealed_content = NULL, answered_at = now()"
)


async def test_of_several_answers_at_once_one_counts(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    request_id = await requests.ask(practice.cem, document, WISH)
    async with practice.database.transaction(practice.ann) as holding:
        await holding.execute(
            "SELECT FROM access_requests WHERE id = $1 FOR NO KEY UPDATE", request_id
        )
        answers = [
            asyncio.create_task(answer(practice.ann, request_id))
            for answer in (requests.approve, requests.approve, requests.deny)
        ]
        await until_blocked(practice.database, 3)
    results = await asyncio.gather(*answers, return_exceptions=True)
    assert sum(isinstance(result, RequestClosedError) for result in results) == 2
    answered = await requests.get(practice.ann, request_id)
    granted = await practice.cabinet.count(practice.ann, "grants")
    assert (answered.state, granted) in ((RequestState.APPROVED, 1), (RequestState.DENIED, 0))


async def test_of_two_questions_at_once_one_is_kept(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    await requests.ask(practice.cem, document, WISH)
    async with practice.database.transaction(practice.ann) as holding:
        await holding.execute("SELECT FROM access_requests FOR UPDATE")
        both = [asyncio.create_task(requests.ask(practice.cem, document, WISH)) for _ in range(2)]
        await until_blocked(practice.database, 2)
    asked = await asyncio.gather(*both)
    [kept] = await requests.list_requests(practice.ann, limit=10)
    assert kept.id in asked


async def test_what_is_asked_while_an_answer_is_given_is_another_question(
    practice: Practice, requests: AccessRequests
) -> None:
    document = await practice.put_document()
    first = await requests.ask(practice.cem, document, WISH)
    async with practice.database.transaction(practice.ann) as answering:
        await answering.execute(DENY)
        asking = asyncio.create_task(requests.ask(practice.cem, document, WISH))
        await until_blocked(practice.database)
    second = await asking
    kept = await requests.list_requests(practice.ann, limit=10)
    assert [(one.id, one.state) for one in kept] == [
        (second, RequestState.PENDING),
        (first, RequestState.DENIED),
    ]


async def test_what_is_answered_while_a_worker_looks_stays_answered(
    practice: Practice, requests: AccessRequests
) -> None:
    """The worker does not wait for it either: there are other requests."""
    document = await practice.put_document()
    request_id = await put_overdue(practice, document)
    async with practice.database.transaction(practice.ann) as answering:
        await answering.execute(DENY)
        async with asyncio.timeout(PATIENCE):
            assert await requests.expire() == 0
    assert (await requests.get(practice.ann, request_id)).state is RequestState.DENIED
