"""Thoughts that clients carry, and that are kept: given back to their model while what they rest on may be used."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.chat.conversations.conftest import said
from tests.chat.conversations.test_turns import conversations_of
from tests.chat.responses.test_sources import ASKED, RENT, id_of, service
from tests.chat.scripted import SCRIPTED, CallingModel
from tests.conftest import MakeScope, Member
from tests.documents import make_trash
from tests.shelf import Shelf
from tests.stepping import PATIENCE, until_blocked
from undercroft.chat.conversations.models import NewItem
from undercroft.chat.providers.protocol import (
    GenerationEvent,
    Message,
    Reasoning,
    ReasoningDelta,
    ReasoningEnded,
    Role,
    TextDelta,
)
from undercroft.chat.questions import FileSearch, Question
from undercroft.chat.responses.carried import find_response_id
from undercroft.chat.responses.errors import ThoughtNotOpenedError
from undercroft.chat.responses.models import ResponseRequest
from undercroft.kit.ids import render_id
from undercroft.vault.models import DOCUMENT_PREFIX

THOUGHT = Reasoning("calling", SCRIPTED, {"reasoning_content": "The rent, they ask."})
THINKS: list[GenerationEvent] = [
    ReasoningDelta("The rent, they ask."),
    ReasoningEnded(THOUGHT),
    TextDelta("The monthly rent is £1,250.00."),
]


def asked(
    *collections: UUID, previous_id: UUID | None = None, store: bool = True
) -> ResponseRequest:
    search = FileSearch(collections, 8) if collections else None
    question = Question((Message(Role.USER, ASKED),), SCRIPTED, search=search)
    return ResponseRequest(
        question,
        {"model": SCRIPTED},
        store,
        include_sealed=True,
        previous_id=previous_id,
        input_items=(said(ASKED),),
    )


def carrying(sealed: str) -> ResponseRequest:
    """A client that keeps no responses passes back what it was answered, and asks on."""
    messages = (
        Message(Role.USER, ASKED),
        Message(Role.ASSISTANT, "So much.", sealed=(sealed,)),
        Message(Role.USER, "Why?"),
    )
    return ResponseRequest(Question(messages, SCRIPTED), {"model": SCRIPTED})


def sealed_of(response: dict[str, Any]) -> str:
    (thought,) = [item for item in response["output"] if item["type"] == "reasoning"]
    sealed: str = thought["encrypted_content"]
    return sealed


def given(model: CallingModel) -> list[Reasoning]:
    """What thoughts the model was given last."""
    return [thought for message in model.requests[-1].messages for thought in message.reasoning]


async def test_who_goes_on_gives_the_model_its_thoughts_back(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    model = CallingModel(THINKS)
    responses = service(shelf, model)
    first = await responses.create(ann, asked())
    assert find_response_id(sealed_of(first)) == id_of(first)
    await responses.create(ann, asked(previous_id=id_of(first)))
    assert given(model) == [THOUGHT]
    # And so does whoever carries it.
    await responses.create(ann, carrying(sealed_of(first)))
    assert given(model) == [THOUGHT]
    assert not any(message.sealed for message in model.requests[-1].messages)


async def test_what_is_sealed_is_shown_only_where_it_is_asked_for(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    responses = service(shelf, CallingModel(THINKS))
    first = await responses.create(ann, asked())
    shown = await responses.get(ann, id_of(first))
    assert "encrypted_content" not in shown["output"][0]
    shown = await responses.get(ann, id_of(first), include_sealed=True)
    assert sealed_of(shown) == sealed_of(first)


@pytest.mark.parametrize("store", [True, False])
async def test_what_is_not_kept_is_carried_by_whoever_was_answered(
    shelf: Shelf, make_scope: MakeScope, store: bool
) -> None:
    ann = await make_scope()
    model = CallingModel(THINKS)
    responses = service(shelf, model)
    sealed = sealed_of(await responses.create(ann, asked(store=False)))
    assert "rent" not in sealed
    assert find_response_id(sealed) is None
    on = await responses.create(ann, replace(carrying(sealed), store=store, include_sealed=True))
    assert given(model) == [THOUGHT]
    # And so on, in another process as well.
    await service(shelf, model).create(ann, carrying(sealed_of(on)))
    assert given(model) == [THOUGHT]


async def test_a_thought_is_sealed_only_for_who_asks_for_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    responses = service(shelf, CallingModel(THINKS))
    made = await responses.create(ann, replace(asked(store=False), include_sealed=False))
    assert "encrypted_content" not in made["output"][0]


@pytest.mark.parametrize("first", ["searched", "gone on"])
async def test_what_rests_on_documents_is_sealed_under_nobodys_own_key(
    shelf: Shelf, make_scope: MakeScope, first: str
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": RENT})
    responses = service(shelf, CallingModel(THINKS))
    kept = await responses.create(ann, asked(collection))
    wanted = {
        "searched": asked(collection, store=False),
        "gone on": asked(previous_id=id_of(kept), store=False),
    }
    made = await responses.create(ann, wanted[first])
    assert "encrypted_content" not in str(made["output"])


@pytest.mark.parametrize(
    "whose", ["another tenant", "a colleague", "altered", "cut", "nothing", "moved"]
)
async def test_an_own_thought_that_does_not_open_is_refused(
    shelf: Shelf, make_scope: MakeScope, whose: str
) -> None:
    ann = await make_scope()
    model = CallingModel(THINKS)
    responses = service(shelf, model)
    sealed, asker = sealed_of(await responses.create(ann, asked(store=False))), ann
    if whose == "another tenant":
        asker = await make_scope()
    elif whose == "a colleague":
        asker = await make_scope(ann.tenant_id)
    elif whose == "altered":
        sealed = sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:]
    elif whose == "cut":
        sealed = sealed[:20]
    elif whose == "nothing":
        sealed = "own.?"
    else:
        # Of a kept response, under the name of another kind.
        sealed = "own." + sealed_of(await responses.create(ann, asked()))
    before = len(model.requests)
    for store in (True, False):
        with pytest.raises(ThoughtNotOpenedError):
            async with aclosing(
                responses.stream(asker, replace(carrying(sealed), store=store))
            ) as events:
                await anext(events)
    assert len(model.requests) == before


@pytest.mark.parametrize(
    "whose", ["another tenant", "a colleague", "altered", "nothing", "deleted"]
)
async def test_what_cannot_be_opened_is_left_out(
    shelf: Shelf, make_scope: MakeScope, whose: str
) -> None:
    ann = await make_scope()
    model = CallingModel(THINKS)
    responses = service(shelf, model)
    made = await responses.create(ann, asked())
    sealed, asker = sealed_of(made), ann
    if whose == "another tenant":
        asker = await make_scope()
    elif whose == "a colleague":
        asker = await make_scope(ann.tenant_id)
    elif whose == "altered":
        sealed = sealed[:-8] + "AAAAAAA="
    elif whose == "nothing":
        sealed = "none"
    else:
        await responses.delete(ann, id_of(made))
    await responses.create(asker, carrying(sealed))
    assert given(model) == []


async def test_what_rests_on_a_lost_document_gets_into_no_prompt(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    model = CallingModel(THINKS)
    responses = service(shelf, model)
    first = await responses.create(ann, asked(collection))
    sealed = sealed_of(first)
    carried = await responses.create(ann, carrying(sealed))
    assert given(model) == [THOUGHT]
    # What is made with it rests on what it rests on: on record, and lost with it.
    assert await sources_of(shelf, ann, id_of(carried)) == [documents["lease.txt"]]
    # By the search, and through what is carried.
    assert await used_of(shelf, ann, documents["lease.txt"]) == 2
    await make_trash(shelf.documents).put(ann, documents["lease.txt"])
    shown = await responses.get(ann, id_of(carried))
    assert "£1,250.00" not in str(shown)
    await responses.create(ann, carrying(sealed))
    assert given(model) == []


async def sources_of(shelf: Shelf, scope: Member, response_id: UUID) -> list[UUID]:
    async with shelf.database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT document_id FROM response_passages WHERE response_id = $1", response_id
        )
    return [row["document_id"] for row in rows]


async def used_of(shelf: Shelf, scope: Member, document_id: UUID) -> int:
    """How often it is on record that an answer after others uses a document."""
    reference = render_id(DOCUMENT_PREFIX, document_id)
    async with shelf.database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT resource FROM ledger_pending WHERE action = 'document.answer' AND resource = $1",
            reference,
        )
    return len(rows)


@pytest.mark.parametrize("goes_on", ["response", "conversation"])
async def test_what_is_carried_and_what_it_goes_on_from_are_locked_in_one_order(
    shelf: Shelf, make_scope: MakeScope, goes_on: str
) -> None:
    ann = await make_scope()
    lower, first = await shelf.fill(ann, {"lease.txt": RENT})
    higher, second = await shelf.fill(ann, {"other.txt": RENT})
    one, other = sorted((first["lease.txt"], second["other.txt"]))
    assert one == first["lease.txt"]
    model = CallingModel(THINKS)
    responses = service(shelf, model)
    carried = sealed_of(await responses.create(ann, asked(lower)))
    answer = [{"type": "output_text", "text": "So much.", "annotations": []}]
    items = (
        NewItem("reasoning", {"summary": [], "encrypted_content": carried}),
        NewItem("message", {"role": "assistant", "status": "completed", "content": answer}),
        said("Why?"),
    )
    wanted = replace(carrying(carried), input_items=items)
    if goes_on == "response":
        before = await responses.create(ann, asked(higher))
        wanted = replace(wanted, previous_id=id_of(before))
    else:
        begun = await conversations_of(shelf).create(ann, {}, [])
        await responses.create(ann, replace(asked(higher), conversation_id=begun.id))
        wanted = replace(wanted, conversation_id=begun.id)
    async with shelf.database.transaction(ann) as erasing:
        # Somebody erases both, the lower one first.
        await erasing.execute("SELECT FROM documents WHERE id = $1 FOR UPDATE", one)
        answering = asyncio.create_task(responses.create(ann, wanted))
        async with asyncio.timeout(PATIENCE):
            await until_blocked(shelf.database, 1)
        # Whoever waits for that holds none that comes after it.
        free = await erasing.fetch(
            "SELECT id FROM documents WHERE id = $1 FOR UPDATE SKIP LOCKED", other
        )
    assert (await answering)["status"] == "completed"
    assert [row["id"] for row in free] == [other]
