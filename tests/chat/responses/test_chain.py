"""Responses that go on from another one: what they are asked after, who may, and what becomes of a chain."""

import asyncio
from contextlib import aclosing
from typing import Any
from uuid import UUID

import pytest

from tests.chat.conversations.conftest import said
from tests.chat.conversations.test_turns import lend, revoke_all, shown
from tests.chat.responses.test_ledgered import acts
from tests.chat.responses.test_sources import ANSWER, ASKED, RENT, id_of, service
from tests.chat.scripted import SCRIPTED, ScriptedModel
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import grants_of, share
from tests.shelf import Shelf
from tests.stepping import PATIENCE, Gate, until_blocked
from undercroft.chat.conversations.models import NewItem
from undercroft.chat.prompt import TurnsDoNotFitError
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import Message, Role
from undercroft.chat.questions import FileSearch, Question
from undercroft.chat.responses.errors import (
    PreviousGoesOnError,
    PreviousNotForModelsError,
    PreviousNotFoundError,
    SourceErasedError,
)
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.reading import open_kept, seal_resource
from undercroft.chat.responses.service import ResponseService
from undercroft.chat.sources import REDACTED
from undercroft.kit.errors import InvalidRequestError
from undercroft.sharing.models import GrantAction, ResourceKind, Terms

SAID = "So it is."
READ = Terms(frozenset({GrantAction.READ}))


class CallingModel(ScriptedModel):
    """One that may be given calls."""

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset({Ability.TOOLS})


def ask(
    text: str,
    previous: UUID | None = None,
    *collections: UUID,
    store: bool = True,
    whole: bool = False,
) -> ResponseRequest:
    search = FileSearch(collections, 8) if collections else None
    messages = (Message(Role.USER, text),)
    question = Question(messages, SCRIPTED, search=search, keeps_all_turns=whole)
    return ResponseRequest(
        question, {"model": SCRIPTED}, store, previous_id=previous, input_items=(said(text),)
    )


async def made(responses: ResponseService, scope: Member, request: ResponseRequest) -> UUID:
    return id_of(await responses.create(scope, request))


async def chain(responses: ResponseService, scope: Member, *texts: str) -> list[UUID]:
    """Responses, each going on from the one before."""
    ids: list[UUID] = []
    for text in texts:
        ids.append(await made(responses, scope, ask(text, ids[-1] if ids else None)))
    return ids


async def test_each_is_asked_after_all_that_came_before(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    model = ScriptedModel("So ", "it is.")
    responses = service(shelf, model)
    _, second = await chain(responses, ann, "Who am I?", "Really?")
    await made(responses, ann, ask("And now?", second))
    turns = [("user", "Who am I?"), ("assistant", SAID), ("user", "Really?"), ("assistant", SAID)]
    assert shown(model) == [*turns, ("user", "And now?")]
    # A branch: nobody else's turns are in it.
    await made(responses, ann, ask("Or so?", second))
    assert shown(model) == [*turns, ("user", "Or so?")]
    # What is not kept itself goes on as well, and nothing goes on from it.
    unkept = await responses.create(ann, ask("Secretly?", second, store=False))
    assert shown(model) == [*turns, ("user", "Secretly?")]
    with pytest.raises(PreviousNotFoundError):
        await responses.create(ann, ask("And?", id_of(unkept)))


async def test_what_was_asked_is_listed(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    responses = service(shelf, ScriptedModel(SAID))
    first, second = await chain(responses, ann, "Who am I?", "Really?")
    for response_id, text in ((first, "Who am I?"), (second, "Really?")):
        (item,) = await responses.list_input(ann, response_id)
        assert item["content"] == [{"type": "input_text", "text": text}]
        assert item["id"].startswith("msg_")
        assert "input" not in await responses.get(ann, response_id)


async def test_only_who_may_read_a_response_goes_on_from_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    model = ScriptedModel(SAID)
    responses = service(shelf, model)
    first, second = await chain(responses, ann, "Who am I?", "Really?")
    asked = len(model.requests)
    for store in (True, False):
        with pytest.raises(PreviousNotFoundError):
            await responses.create(bob, ask("Who is it?", second, store=store))
    assert len(model.requests) == asked
    kind = ResourceKind.RESPONSE
    unused = Terms(frozenset({GrantAction.READ}), model_use=frozenset())
    grant = await share(shelf, ann, kind, second, bob, unused)
    with pytest.raises(PreviousNotForModelsError):
        await responses.create(bob, ask("Who is it?", second))
    await grants_of(shelf).revoke(ann, grant.id)
    grant = await share(shelf, ann, kind, second, bob, READ)
    # The first is still Ann's alone: of it there is nothing.
    third = await made(responses, bob, ask("Who is it?", second))
    assert shown(model) == [("user", "Really?"), ("assistant", SAID), ("user", "Who is it?")]
    await share(shelf, ann, kind, first, bob, READ)
    await made(responses, bob, ask("Who is it?", second))
    assert shown(model)[0] == ("user", "Who am I?")
    # What was Bob's right is not for ever.
    await grants_of(shelf).revoke(ann, grant.id)
    await made(responses, bob, ask("Still?", third))
    assert [text for _, text in shown(model)] == ["Who am I?", SAID, "Who is it?", SAID, "Still?"]


async def test_who_may_see_and_is_refused_is_on_record(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    responses = service(shelf, ScriptedModel(SAID))
    (first,) = await chain(responses, ann, "Who am I?")
    with pytest.raises(PreviousNotFoundError):
        await responses.create(bob, ask("Who is it?", first))
    await made(responses, ann, ask("And?", first))
    reads = [act for act in await acts(shelf.database, ann) if act[0] == "response.read"]
    assert [outcome for _, _, outcome in reads] == ["denied", "allowed"]


async def test_what_was_answered_from_a_document_goes_from_the_chain_with_the_right_to_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, _ = await lend(shelf, ann, bob)
    model = ScriptedModel(*ANSWER)
    responses = service(shelf, model)
    first = await made(responses, bob, ask(ASKED, None, papers))
    second = await made(responses, bob, ask("Say it again.", first))
    assert any("£1,250.00" in text for _, text in shown(model))
    await revoke_all(shelf, ann)
    # The second has the words of the first, of which nothing was searched.
    again = await responses.get(bob, second)
    assert again["output"][-1]["content"][0]["text"] == REDACTED
    await made(responses, bob, ask("And now?", second))
    assert shown(model) == [("user", "And now?")]


async def test_what_functions_returned_is_hidden_with_what_they_were_asked(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, _ = await lend(shelf, ann, bob)
    model = CallingModel(*ANSWER)
    responses = service(shelf, model)
    first = await made(responses, bob, ask(ASKED, None, papers))
    await add_call(shelf, responses, bob, first)
    output = NewItem(
        "function_call_output", {"call_id": "c", "output": f"{RENT}!", "status": "completed"}
    )
    question = Question((Message(Role.TOOL, f"{RENT}!", tool_call_id="c"),), SCRIPTED)
    request = ResponseRequest(
        question, {"model": SCRIPTED}, previous_id=first, input_items=(output,)
    )
    second = await made(responses, bob, request)
    assert [message.role.value for message in model.requests[-1].messages] == [
        "user",
        "assistant",
        "tool",
    ]
    (item,) = await responses.list_input(bob, second)
    assert item["output"] == f"{RENT}!"
    # Also of one that comes to nothing before its model is asked.
    gate = shelf.stepped.step(3)
    cut = asyncio.create_task(responses.create(bob, request))
    await gate.wait_until_reached()
    async with shelf.database.transaction(bob) as transaction:
        sources = await transaction.fetchval(
            "SELECT count(*) FROM response_passages WHERE response_id ="
            " (SELECT max(id::text)::uuid FROM responses)"
        )
    assert sources > 0
    gate.open()
    await cut
    third = await made(responses, bob, ask("And?", second))
    await revoke_all(shelf, ann)
    (item,) = await responses.list_input(bob, second)
    assert item["output"] == REDACTED
    assert (await responses.list_input(bob, third))[0]["content"][0]["text"] == "And?"
    with pytest.raises(InvalidRequestError, match="no such call"):
        await responses.create(bob, request)


async def add_call(
    shelf: Shelf, responses: ResponseService, scope: Member, response_id: UUID
) -> None:
    """Have a kept response end with a call, as one of a model that makes them."""
    async with shelf.database.transaction(scope) as transaction:
        row = await responses._kept._repository.find_response(transaction, response_id)
        assert row is not None
        key = await shelf.keys.open(row)
        kept, asked = open_kept(key, scope.tenant_id, response_id, row["sealed_resource"])
        call = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "c",
            "name": "pay",
            "arguments": "{}",
        }
        kept["output"].append(call)
        sealed = seal_resource(key, scope.tenant_id, response_id, kept, asked)
        await transaction.execute(
            "UPDATE responses SET sealed_resource = $2 WHERE id = $1", response_id, sealed
        )


async def test_a_result_of_no_call_is_refused(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    responses = service(shelf, CallingModel(SAID))
    (first,) = await chain(responses, ann, "Who am I?")
    output = NewItem("function_call_output", {"call_id": "c", "output": "x"})
    question = Question((Message(Role.TOOL, "x", tool_call_id="c"),), SCRIPTED)
    request = ResponseRequest(
        question, {"model": SCRIPTED}, previous_id=first, input_items=(output,)
    )
    with pytest.raises(InvalidRequestError, match="'c'") as refused:
        await responses.create(ann, request)
    assert refused.value.param == "input"


async def test_the_oldest_turns_are_left_out_where_all_do_not_fit_or_nothing_is_answered(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    model = ScriptedModel(SAID)
    responses = service(shelf, model)
    _, second = await chain(responses, ann, "a" * 7000, "b" * 7000)
    await made(responses, ann, ask("And now?", second))
    assert shown(model) == [("user", "b" * 7000), ("assistant", SAID), ("user", "And now?")]
    with pytest.raises(TurnsDoNotFitError):
        await responses.create(ann, ask("And now?", second, whole=True))


async def test_it_is_waited_for_its_end(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    gate = Gate()
    responses = service(shelf, ScriptedModel("So ", "it is.", gate=gate))
    async with aclosing(responses.stream(ann, ask("Who am I?"))) as events:
        begun = await anext(events)
        await gate.wait_until_reached()
        with pytest.raises(PreviousGoesOnError):
            await responses.create(ann, ask("And?", id_of(begun["response"])))
        gate.open()
        async for _ in events:
            pass
    await made(responses, ann, ask("And?", id_of(begun["response"])))


async def test_a_response_made_from_what_was_erased_is_gone_and_left_out_of_chains(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    model = ScriptedModel(*ANSWER)
    responses = service(shelf, model)
    (first,) = await chain(responses, ann, "Hello?")
    second = await made(responses, ann, ask(ASKED, first, collection))
    # It was shown nothing of the second.
    async with shelf.database.transaction(ann) as transaction:
        other = await made(responses, ann, ask("And?", first))
        await transaction.execute(
            "UPDATE responses SET previous_id = $2 WHERE id = $1", other, second
        )
    await shelf.documents.delete(ann, documents["lease.txt"])
    with pytest.raises(SourceErasedError):
        await responses.create(ann, ask("And?", second))
    with pytest.raises(SourceErasedError):
        await responses.list_input(ann, second)
    await made(responses, ann, ask("Now?", other))
    asked = [text for role, text in shown(model) if role == "user"]
    assert asked == ["Hello?", "And?", "Now?"]


async def test_a_chain_begins_after_what_is_deleted(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    model = ScriptedModel(SAID)
    responses = service(shelf, model)
    _, second, third = await chain(responses, ann, "One?", "Two?", "Three?")
    await responses.delete(ann, second)
    await made(responses, ann, ask("Four?", third))
    assert shown(model) == [("user", "Three?"), ("assistant", SAID), ("user", "Four?")]


@pytest.mark.parametrize("step", range(1, 5))
async def test_a_response_that_is_deleted_meanwhile_is_answered_after_or_not_gone_on_from(
    shelf: Shelf, make_scope: MakeScope, step: int
) -> None:
    ann = await make_scope()
    model = ScriptedModel(SAID)
    responses = service(shelf, model)
    (first,) = await chain(responses, ann, "One?")
    gate = shelf.stepped.step(step)
    task = asyncio.create_task(responses.create(ann, ask("Two?", first)))
    await gate.wait_until_reached()
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("DELETE FROM responses WHERE id = $1", first)
    gate.open()
    if step <= 3:
        with pytest.raises(PreviousNotFoundError):
            await task
        # Never an answer that was made as if there had been nothing before.
        assert len(model.requests) == 1
    else:
        await task
        assert shown(model) == [("user", "One?"), ("assistant", SAID), ("user", "Two?")]


async def test_a_deletion_waits_for_what_goes_on_from_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    responses = service(shelf, ScriptedModel(SAID))
    first, second = await chain(responses, ann, "One?", "Two?")

    async def delete() -> None:
        async with shelf.database.transaction(ann) as transaction:
            await transaction.execute("DELETE FROM responses WHERE id = $1", first)

    async with asyncio.timeout(PATIENCE):
        async with shelf.stepped.transaction(ann) as transaction:
            await responses._chain.hold(transaction, first)
            deletion = asyncio.create_task(delete())
            await until_blocked(shelf.database)
            await transaction.execute(
                "UPDATE responses SET previous_id = $2 WHERE id = $1", second, first
            )
        await deletion
    assert await previous_of(shelf, ann, second) is None


async def test_erasing_and_deleting_lock_what_goes_on_in_one_order(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    responses = service(shelf, ScriptedModel(SAID))
    (first,) = await chain(responses, ann, "One?")
    branches = [await made(responses, ann, ask(f"{number}?", first)) for number in range(3)]
    # The rows lie in another order than that of their ids.
    async with shelf.database.transaction(ann) as transaction:
        for branch in (branches[1], branches[0]):
            await transaction.execute(
                "UPDATE responses SET previous_id = NULL WHERE id = $1", branch
            )
            await transaction.execute(
                "UPDATE responses SET previous_id = $2 WHERE id = $1", branch, first
            )

    async def delete() -> None:
        async with shelf.database.transaction(ann) as transaction:
            # As a planner may that finds the table small.
            for scan in ("indexscan", "bitmapscan", "indexonlyscan"):
                await transaction.execute(f"SET LOCAL enable_{scan} = off")
            await transaction.execute("DELETE FROM responses WHERE id = $1", first)

    async with asyncio.timeout(PATIENCE):
        async with shelf.database.transaction(ann) as transaction:
            lock = "SELECT FROM responses WHERE id = $1 FOR UPDATE"
            await transaction.execute(lock, branches[0])
            deletion = asyncio.create_task(delete())
            await until_blocked(shelf.database)
            await transaction.execute(lock, branches[1])
            await transaction.execute(lock, branches[2])
        await deletion
    assert [await previous_of(shelf, ann, each) for each in branches] == [None] * 3


async def previous_of(shelf: Shelf, scope: Member, response_id: UUID) -> Any:  # noqa: ANN401 - an id or none
    async with shelf.database.transaction(scope) as transaction:
        return await transaction.fetchval(
            "SELECT previous_id FROM responses WHERE id = $1", response_id
        )
