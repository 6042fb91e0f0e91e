"""A response under an idempotency key: made once, and whoever asks again watches that."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from uuid import UUID

import pytest

from tests.chat.responses.test_chain import ask
from tests.chat.responses.test_sources import ANSWER, id_of, request, service
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate, rolled_back
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.service import ResponseService
from undercroft.idempotency.errors import AnswerErasedError, OtherRequestError, StillGoingOnError
from undercroft.idempotency.models import RequestKey
from undercroft.idempotency.service import IdempotencyKeys, MadeBeforeError, Once
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.ids import IdSource, parse_id
from undercroft.metering.errors import LargerThanQuotaError, QuotaSpentError
from undercroft.metering.models import Period, Quota, QuotaKind, Whose
from undercroft.metering.quotas import QuotaService
from undercroft.metering.service import Charge, UsageRounds

AT_ONCE = 8
SAID = "So it is."
ROUTE = "POST /v1/responses"


def keys_of(shelf: Shelf) -> IdempotencyKeys:
    return IdempotencyKeys(shelf.database, shelf.keys, IdSource())


def once(shelf: Shelf, scope: Member, text: str = "key", asked: bytes = b"r" * 32) -> Once:
    return Once(keys_of(shelf), scope, RequestKey(ROUTE, text, asked))


async def made_under(shelf: Shelf, scope: Member, text: str = "key") -> UUID | None:
    made_id = await keys_of(shelf).find_made(scope, RequestKey(ROUTE, text, b"r" * 32))
    return None if made_id is None else parse_id("resp_", made_id)


async def count(shelf: Shelf, scope: Member) -> int:
    async with shelf.database.transaction(scope) as transaction:
        return int(await transaction.fetchval("SELECT count(*) FROM responses"))


async def test_the_second_finds_what_the_first_made(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    model = ScriptedModel(SAID)
    responses = service(shelf, model)
    assert await made_under(shelf, ann) is None
    first = await responses.create(ann, ask("Is it?"), once(shelf, ann))
    with pytest.raises(MadeBeforeError) as known:
        await responses.create(ann, ask("Is it?"), once(shelf, ann))
    assert known.value.made_id == first["id"]
    assert await made_under(shelf, ann) == id_of(first)
    assert await responses.wait(ann, id_of(first)) == first
    assert (len(model.requests), await count(shelf, ann)) == (1, 1)
    with pytest.raises(OtherRequestError):
        await responses.create(ann, ask("Is it not?"), once(shelf, ann, asked=b"s" * 32))
    # Another one's key is another one.
    bob = await make_scope(ann.tenant_id)
    other = await responses.create(bob, ask("Is it?"), once(shelf, bob))
    assert other["id"] != first["id"]


async def test_many_at_once_are_one(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    model = ScriptedModel(SAID)
    # Processes of their own.
    processes = [service(shelf, model) for _ in range(AT_ONCE)]
    barrier = asyncio.Barrier(AT_ONCE)

    async def send(responses: ResponseService) -> str:
        await barrier.wait()
        while True:
            try:
                return str((await responses.create(ann, ask("Is it?"), once(shelf, ann)))["id"])
            except MadeBeforeError as known:
                return known.made_id
            except StillGoingOnError:
                continue

    async with asyncio.timeout(PATIENCE):
        ids = await asyncio.gather(*map(send, processes))
    assert len(set(ids)) == 1
    assert (len(model.requests), await count(shelf, ann)) == (1, 1)


async def test_key_response_and_stream_are_kept_together_or_not_at_all(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    responses = service(shelf, ScriptedModel(SAID))
    key = once(shelf, ann)
    async with rolled_back(shelf.database, ann) as transaction:
        await key.claim(transaction, "resp_" + "1" * 32)
        # Whoever comes in that moment waits for a part of a second, and comes again.
        with pytest.raises(StillGoingOnError):
            await responses.create(ann, ask("Is it?"), once(shelf, ann))
    assert await made_under(shelf, ann) is None
    previous = IdSource().new()
    broken = ask("Is it?", previous)
    with pytest.raises(UndercroftError):
        await responses.runs.begin(
            ann, broken, (await responses._prepare(ann, ask("?")))[1], Charge(ann), key
        )
    assert await made_under(shelf, ann) is None
    await responses.create(ann, ask("Is it?"), key)
    assert await count(shelf, ann) == 1


async def test_whoever_lost_the_answer_goes_on_with_it(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    gate = Gate()
    model = ScriptedModel("So ", "it is.", gate=gate)
    responses = service(shelf, model)
    async with aclosing(responses.stream(ann, ask("Is it?"), once(shelf, ann))) as events:
        begun = [await anext(events)]
        await gate.wait_until_reached()
        response_id = await made_under(shelf, ann)
        assert response_id is not None
        waiting = asyncio.create_task(responses.wait(ann, response_id))
        watching = responses.watch(ann, response_id, -1)
        again = [await anext(watching)]
        gate.open()
        begun += [event async for event in events]
        async with asyncio.timeout(PATIENCE):
            again += [event async for event in watching]
    assert again == begun
    assert await waiting == begun[-1]["response"]
    assert len(model.requests) == 1


async def test_what_failed_is_told_to_have_failed(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    failure = UndercroftError("No more.", kind=ErrorKind.RATE_LIMITED, code="rate_limited")
    model = ScriptedModel(SAID, failure=failure)
    responses = service(shelf, model)
    with pytest.raises(UndercroftError):
        await responses.create(ann, ask("Is it?"), once(shelf, ann))
    response_id = await made_under(shelf, ann)
    assert response_id is not None
    with pytest.raises(UndercroftError, match=r"No more\.") as again:
        await responses.wait(ann, response_id)
    assert (again.value.kind, again.value.code) == (failure.kind, failure.code)
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("DELETE FROM response_streams")
    with pytest.raises(UndercroftError, match=r"No more\."):
        await responses.wait(ann, response_id)
    assert len(model.requests) == 1


async def test_what_was_deleted_is_not_made_anew(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"fog.txt": "The fog bell rings at six."})
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = await responses.create(ann, request(collection), once(shelf, ann))
    await responses.delete(ann, id_of(made))
    with pytest.raises(AnswerErasedError):
        await responses.create(ann, request(collection), once(shelf, ann))
    assert await count(shelf, ann) == 0


def choices_of(shelf: Shelf, scope: Member, number: int) -> list[tuple[ResponseRequest, Once]]:
    """A request for several answers, each under a key of its own."""
    question = replace(ask("Is it?").question, max_output_tokens=100)
    asked = replace(ask("Is it?"), question=question)
    return [(asked, once(shelf, scope, f"choice {each}")) for each in range(number)]


async def set_quota(
    shelf: Shelf, scope: Member, requests: int | None, tokens: int | None = None
) -> None:
    quota = Quota(Whose(QuotaKind.TENANT), Period.DAY, requests, tokens)
    await QuotaService(shelf.database, shelf.ledger).set(scope, quota)


async def test_several_under_keys_are_one_request(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    model = ScriptedModel(SAID)
    responses = service(shelf, model)
    await set_quota(shelf, ann, requests=1)
    charge = Charge(ann)
    made = await responses.stream_several(ann, choices_of(shelf, ann, 3), charge)
    ends = [[event async for event in events] for events in made]
    assert [[event["sequence_number"] for event in each] for each in ends] == [
        list(range(len(each))) for each in ends
    ]
    assert [each[-1]["type"] for each in ends] == ["response.completed"] * 3
    assert [(standing.used, standing.most) for standing in charge.standings] == [(1, 1)]
    with pytest.raises(MadeBeforeError):
        await responses.stream_several(ann, choices_of(shelf, ann, 3), Charge(ann))
    with pytest.raises(QuotaSpentError):
        await responses.create(ann, ask("And now?"))
    assert len(model.requests) == 3
    await UsageRounds(shelf.database).add_up()
    async with shelf.database.transaction(ann) as transaction:
        row = await transaction.fetchrow("SELECT requests, output_tokens FROM usage_days")
    assert row is not None
    assert (row["requests"], row["output_tokens"]) == (1, 3 * 7)


async def test_of_several_all_are_begun_or_none(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    model = ScriptedModel(SAID)
    responses = service(shelf, model)
    # There is room for two of the three.
    await set_quota(shelf, ann, None, tokens=250)
    with pytest.raises(LargerThanQuotaError):
        await responses.stream_several(ann, choices_of(shelf, ann, 3), Charge(ann))
    assert (len(model.requests), await count(shelf, ann)) == (0, 0)
    # Nothing was counted of it, and the keys are as good as new.
    made = await responses.stream_several(ann, choices_of(shelf, ann, 2), Charge(ann))
    for events in made:
        assert [event["type"] async for event in events][-1] == "response.completed"
    assert len(model.requests) == 2


async def test_who_leaves_several_leaves_all_of_them(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    responses = service(shelf, ScriptedModel(SAID, endless=True))
    made = await responses.stream_several(ann, choices_of(shelf, ann, 2), Charge(ann))
    for events in made:
        assert (await anext(events))["type"] == "response.created"
        await events.aclose()
    async with shelf.database.transaction(ann) as transaction:
        rows = await transaction.fetch("SELECT status FROM responses")
    assert [row["status"] for row in rows] == ["cancelled"] * 2
