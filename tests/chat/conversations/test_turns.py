"""Responses in a conversation: what they are asked after, what they leave there, and who may see that later."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from tests.chat.conversations.conftest import said
from tests.chat.responses.test_sources import ANSWER, ASKED, RENT, id_of, service
from tests.chat.scripted import SCRIPTED, ScriptedModel
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import SEARCH, add_under, grants_of, share
from tests.shelf import Shelf
from tests.stepping import PATIENCE
from undercroft.chat.conversations.errors import NotForModelsError
from undercroft.chat.conversations.models import Conversation, ItemPage
from undercroft.chat.conversations.reading import ReadItem
from undercroft.chat.conversations.service import ConversationService
from undercroft.chat.providers.protocol import Message, Role
from undercroft.chat.questions import FileSearch, Question
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.sources import REDACTED
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction, ModelUse, ResourceKind, Terms

SENDERS = 8
SAID = "".join(ANSWER)
CITED = f"{SAID} [1]"


def conversations_of(shelf: Shelf) -> ConversationService:
    return ConversationService(shelf.stepped, shelf.keys, shelf.ledger, IdSource())


def ask(conversation: Conversation, text: str, *collections: UUID) -> ResponseRequest:
    search = FileSearch(collections, 8) if collections else None
    question = Question((Message(Role.USER, text),), SCRIPTED, search=search)
    return ResponseRequest(
        question,
        {"model": SCRIPTED},
        conversation_id=conversation.id,
        input_items=(said(text),),
    )


async def items_for(shelf: Shelf, scope: Member, conversation: Conversation) -> list[ReadItem]:
    page = ItemPage(100, is_ascending=True)
    return await conversations_of(shelf).list_items(scope, conversation.id, page)


async def texts_for(shelf: Shelf, scope: Member, conversation: Conversation) -> list[str]:
    return [
        item.wire["content"][0]["text"]
        for item in await items_for(shelf, scope, conversation)
        if item.wire["type"] == "message"
    ]


def shown(model: ScriptedModel) -> list[tuple[str, str]]:
    """What the model was shown last."""
    return [(message.role.value, message.content) for message in model.requests[-1].messages]


async def test_each_is_asked_after_what_was_said_before(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {}, [said("I am Ann.")])
    model = ScriptedModel("So ", "it is.")
    responses = service(shelf, model)
    first = await responses.create(ann, ask(begun, "Who am I?"))
    assert shown(model) == [("user", "I am Ann."), ("user", "Who am I?")]
    await responses.create(ann, ask(begun, "Really?"))
    assert shown(model) == [
        ("user", "I am Ann."),
        ("user", "Who am I?"),
        ("assistant", "So it is."),
        ("user", "Really?"),
    ]
    items = await items_for(shelf, ann, begun)
    assert [item.number for item in items] == [0, 1, 2, 3, 4]
    assert items[2].wire == first["output"][0]
    assert await texts_for(shelf, ann, begun) == [
        "I am Ann.",
        "Who am I?",
        "So it is.",
        "Really?",
        "So it is.",
    ]


async def test_what_does_not_fit_is_left_out_from_the_oldest_on(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    long = "b" * 7000
    begun = await conversations_of(shelf).create(ann, {}, [said("a" * 7000), said(long)])
    model = ScriptedModel("So it is.")
    await service(shelf, model).create(ann, ask(begun, "And now?"))
    assert shown(model) == [("user", long), ("user", "And now?")]


async def test_many_at_once_leave_neither_gaps_nor_answers_without_a_question(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    begun = await conversations_of(shelf).create(ann, {})
    responses = service(shelf, ScriptedModel("So it is."))
    async with asyncio.timeout(PATIENCE * 3), asyncio.TaskGroup() as group:
        for number in range(SENDERS):
            group.create_task(responses.create(ann, ask(begun, f"{number}?")))
    items = await items_for(shelf, ann, begun)
    assert [item.number for item in items] == list(range(2 * SENDERS))
    texts = await texts_for(shelf, ann, begun)
    assert sorted(texts) == sorted(
        [f"{number}?" for number in range(SENDERS)] + ["So it is."] * SENDERS
    )


async def lend(shelf: Shelf, ann: Member, bob: Member) -> tuple[UUID, UUID]:
    """A collection of Bob's with a document of Ann's in it, and the document."""
    _, documents = await shelf.fill(ann, {"lease.md": f"# Lease\n\n## Rent\n\n{RENT}\n"})
    papers = (await shelf.collections.create(bob, "papers", {})).id
    lent = await share(shelf, ann, ResourceKind.DOCUMENT, documents["lease.md"], bob, SEARCH)
    await add_under(shelf, bob, papers, lent)
    return papers, documents["lease.md"]


async def revoke_all(shelf: Shelf, ann: Member) -> None:
    for grant in await grants_of(shelf).list_given(ann, limit=9):
        await grants_of(shelf).revoke(ann, grant.id)


async def test_what_was_answered_from_a_document_goes_from_sight_and_prompt_with_the_right_to_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, document = await lend(shelf, ann, bob)
    begun = await conversations_of(shelf).create(bob, {})
    model = ScriptedModel(*ANSWER)
    responses = service(shelf, model)
    first = await responses.create(bob, ask(begun, ASKED, papers))
    second = await responses.create(bob, ask(begun, "Say it again."))
    assert ("assistant", CITED) in shown(model)
    assert await texts_for(shelf, bob, begun) == [
        ASKED,
        CITED,
        "Say it again.",
        SAID,
    ]
    # What it was made from is kept with the item: it holds when the response is gone.
    await responses.delete(bob, id_of(first))
    await revoke_all(shelf, ann)
    assert await texts_for(shelf, bob, begun) == [ASKED, REDACTED, "Say it again.", REDACTED]
    # The second has the words of the first, of which nothing was searched.
    again = await responses.get(bob, id_of(second))
    assert again["output"][-1]["content"][0]["text"] == REDACTED
    await responses.create(bob, ask(begun, "And now?"))
    assert shown(model) == [
        ("user", ASKED),
        ("user", "Say it again."),
        ("user", "And now?"),
    ]
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, SEARCH)
    assert (await texts_for(shelf, bob, begun))[1] == CITED


async def test_a_model_is_shown_no_turn_that_its_use_is_not_allowed_for(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, document = await lend(shelf, ann, bob)
    begun = await conversations_of(shelf).create(bob, {})
    model = ScriptedModel(*ANSWER)
    responses = service(shelf, model)
    await responses.create(bob, ask(begun, ASKED, papers))
    await revoke_all(shelf, ann)
    quoting = replace(SEARCH, model_use=frozenset({ModelUse.QUOTE}))
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, quoting)
    assert (await texts_for(shelf, bob, begun))[1] == CITED
    await responses.create(bob, ask(begun, "Say it again."))
    assert shown(model) == [("user", ASKED), ("user", "Say it again.")]


async def test_items_are_erased_with_the_document_they_were_made_from(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    begun = await conversations_of(shelf).create(ann, {})
    responses = service(shelf, ScriptedModel(*ANSWER))
    await responses.create(ann, ask(begun, ASKED, collection))
    await responses.create(ann, ask(begun, "Say it again."))
    await shelf.documents.delete(ann, documents["lease.txt"])
    async with shelf.database.transaction(ann) as transaction:
        rows = await transaction.fetch(
            "SELECT number, ending, sealed_item IS NULL AS is_gone, data_key_id FROM conversation_items"
            " ORDER BY number"
        )
        keys = await transaction.fetchval(
            "SELECT count(*) FROM data_keys AS k WHERE EXISTS"
            " (SELECT FROM conversation_items AS i WHERE i.data_key_id = k.id)"
        )
    asked, made = (None, False, None), ("erased", True, None)
    assert [tuple(row)[1:] for row in rows] == [asked, made, made, asked, made]
    assert keys == 0
    assert await texts_for(shelf, ann, begun) == [ASKED, REDACTED, "Say it again.", REDACTED]


async def test_others_answer_in_it_with_grants_to_read_and_to_write(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    begun = await conversations_of(shelf).create(ann, {}, [said("I am Ann.")])
    model = ScriptedModel("So it is.")
    responses = service(shelf, model)
    with pytest.raises(NotFoundError):
        await responses.create(bob, ask(begun, "Who is it?"))
    kind = ResourceKind.CONVERSATION
    read, write = Terms(frozenset({GrantAction.READ})), Terms(frozenset({GrantAction.WRITE}))
    for terms in (read, write):
        one = await share(shelf, ann, kind, begun.id, bob, terms)
        with pytest.raises(NotGrantedError):
            await responses.create(bob, ask(begun, "Who is it?"))
        await grants_of(shelf).revoke(ann, one.id)
    assert len(await items_for(shelf, ann, begun)) == 1
    both = Terms(frozenset({GrantAction.READ, GrantAction.WRITE}))
    await share(shelf, ann, kind, begun.id, bob, both)
    await responses.create(bob, ask(begun, "Who is it?"))
    assert shown(model) == [("user", "I am Ann."), ("user", "Who is it?")]
    assert (await texts_for(shelf, ann, begun))[1:] == ["Who is it?", "So it is."]


async def test_a_conversation_that_was_not_shared_for_models_is_shown_to_none(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    begun = await conversations_of(shelf).create(ann, {}, [said("I am Ann.")])
    terms = Terms(frozenset({GrantAction.READ, GrantAction.WRITE}), model_use=frozenset())
    await share(shelf, ann, ResourceKind.CONVERSATION, begun.id, bob, terms)
    model = ScriptedModel("So it is.")
    with pytest.raises(NotForModelsError):
        await service(shelf, model).create(bob, ask(begun, "Who is it?"))
    assert model.requests == []
