"""What an answer uses through the turns before it: on record, bounded, and there for as long as it is read."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import pytest

from tests.chat.conversations.conftest import said
from tests.chat.conversations.test_turns import ask as ask_in
from tests.chat.conversations.test_turns import conversations_of, lend, shown
from tests.chat.responses import test_cut
from tests.chat.responses.test_chain import READ, ask, made
from tests.chat.responses.test_sources import ANSWER, ASKED, RENT, service
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import share
from tests.shelf import Shelf
from tests.stepping import PATIENCE, until_blocked
from undercroft.chat.conversations.errors import NotForModelsError, TurnsChangedError
from undercroft.chat.responses import chain
from undercroft.chat.responses.errors import PreviousNotForModelsError, SourceErasedError
from undercroft.chat.responses.service import ResponseService
from undercroft.chat.uses.errors import MOST_INHERITED, TooManySourcesError
from undercroft.kit.ids import render_id
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.sharing.models import GrantAction, ResourceKind, Terms

LOADING = 3
"""Which transaction of a send reads the turns before it: the one before begins it."""


async def uses_of(shelf: Shelf, scope: Member, thing: str) -> list[tuple[str, int | None, bool]]:
    """What others did with a thing, as the ledger has it: what, with which version, and whether under a grant."""
    async with shelf.database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT action, version, grant_id FROM ledger_pending"
            " WHERE resource = $1 AND actor_id <> owner_id ORDER BY xid, ordinal",
            thing,
        )
    return [(row["action"], row["version"], row["grant_id"] is not None) for row in rows]


Send = Callable[[ResponseService, Member, str, bool], Coroutine[Any, Any, object]]


async def begin_chain(shelf: Shelf, bob: Member, papers: UUID, model: ScriptedModel) -> Send:
    first = await made(service(shelf, model), bob, ask(ASKED, None, papers))

    async def send(responses: ResponseService, scope: Member, text: str, store: bool) -> object:
        return await responses.create(scope, ask(text, first, store=store))

    return send


async def begin_conversation(shelf: Shelf, bob: Member, papers: UUID, model: ScriptedModel) -> Send:
    begun = await conversations_of(shelf).create(bob, {})
    await service(shelf, model).create(bob, ask_in(begun, ASKED, papers))

    async def send(responses: ResponseService, scope: Member, text: str, store: bool) -> object:
        del store
        return await responses.create(scope, ask_in(begun, text))

    return send


BEGINNINGS = {"chain": begin_chain, "conversation": begin_conversation}
SENDS = [("chain", True), ("chain", False), ("conversation", True)]
"""What goes on from what, and whether it is kept itself: what is said in a conversation always is."""


@pytest.mark.parametrize(("beginning", "store"), SENDS)
async def test_an_answer_after_one_from_a_document_is_a_use_of_it(
    shelf: Shelf, make_scope: MakeScope, beginning: str, store: bool
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, document = await lend(shelf, ann, bob)
    model = ScriptedModel(*ANSWER)
    send = await BEGINNINGS[beginning](shelf, bob, papers, model)
    thing = render_id("file-", document)
    used = ("document.answer", 1, True)
    assert (await uses_of(shelf, ann, thing)).count(used) == 1
    await send(service(shelf, model), bob, "Say it again.", store)
    assert any("£1,250.00" in text for _, text in shown(model))
    assert (await uses_of(shelf, ann, thing)).count(used) == 2


async def test_each_response_of_others_that_a_model_is_shown_is_on_record(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    model = ScriptedModel("So it is.")
    responses = service(shelf, model)
    first = await made(responses, ann, ask("One?"))
    second = await made(responses, ann, ask("Two?", first))
    third = await made(responses, ann, ask("Three?", second))
    for each in (first, third):
        await share(shelf, ann, ResourceKind.RESPONSE, each, bob, READ)
    await made(responses, bob, ask("And?", third))
    assert [text for role, text in shown(model) if role == "user"] == ["One?", "Three?", "And?"]
    read = ("response.read", None, True)
    assert read in await uses_of(shelf, ann, render_id("resp_", first))
    assert read in await uses_of(shelf, ann, render_id("resp_", third))
    # Of what was not shown to them nothing was read.
    assert await uses_of(shelf, ann, render_id("resp_", second)) == []


async def test_anothers_conversation_that_a_model_is_shown_is_on_record(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    begun = await conversations_of(shelf).create(ann, {}, [said("I am Ann.")])
    both = Terms(frozenset({GrantAction.READ, GrantAction.WRITE}))
    await share(shelf, ann, ResourceKind.CONVERSATION, begun.id, bob, both)
    await service(shelf, ScriptedModel("So it is.")).create(bob, ask_in(begun, "Who is it?"))
    uses = await uses_of(shelf, ann, render_id("conv_", begun.id))
    assert ("conversation.read", None, True) in uses


REST = {
    "chain": (
        "INSERT INTO response_passages (tenant_id, response_id, number, document_id, document_version,"
        " start_offset, end_offset, score)"
        " SELECT p.tenant_id, p.response_id, 10 + n, p.document_id, p.document_version, n, n + 1, 0"
        " FROM response_passages AS p, generate_series($1::int, $2::int) AS n"
        " WHERE p.response_id = (SELECT min(r.id::text)::uuid FROM responses AS r) AND p.number = 1"
    ),
    "conversation": (
        "INSERT INTO conversation_item_passages (tenant_id, conversation_id, item_number, number, document_id,"
        " document_version, start_offset, end_offset)"
        " SELECT p.tenant_id, p.conversation_id, p.item_number, 10 + n, p.document_id, p.document_version, n, n + 1"
        " FROM conversation_item_passages AS p, generate_series($1::int, $2::int) AS n"
        " WHERE p.item_number = 2 AND p.number = 1"
    ),
}
"""Has the first answer rest on passages more, with numbers from $1 to $2, than the one that it was made from."""


@pytest.mark.parametrize("beginning", BEGINNINGS)
async def test_what_an_answer_inherits_is_bounded(
    shelf: Shelf, make_scope: MakeScope, beginning: str
) -> None:
    ann = await make_scope()
    papers, _ = await shelf.fill(ann, {"lease.txt": RENT})
    model = ScriptedModel(*ANSWER)
    send = await BEGINNINGS[beginning](shelf, ann, papers, model)
    responses = service(shelf, model)
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(REST[beginning], 1, MOST_INHERITED - 1)
    await send(responses, ann, "Say it again.", True)
    asked = len(model.requests)
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(REST[beginning], MOST_INHERITED, MOST_INHERITED)
    with pytest.raises(TooManySourcesError, match="1000 passages"):
        await send(responses, ann, "And again.", True)
    assert len(model.requests) == asked


@pytest.mark.parametrize(("beginning", "store"), SENDS)
async def test_what_is_erased_while_it_is_read_is_shown_to_no_model(
    shelf: Shelf, make_scope: MakeScope, beginning: str, store: bool
) -> None:
    ann = await make_scope()
    papers, documents = await shelf.fill(ann, {"lease.txt": RENT})
    model = ScriptedModel(*ANSWER)
    send = await BEGINNINGS[beginning](shelf, ann, papers, model)
    asked = len(model.requests)
    # What is not kept has no beginning of its own.
    gate = shelf.stepped.step(LOADING if store else LOADING - 1)
    sending = asyncio.create_task(send(service(shelf, model), ann, "Say it again.", store))
    await gate.wait_until_reached()
    async with asyncio.timeout(PATIENCE):
        async with shelf.database.transaction(ann) as transaction:
            document = documents["lease.txt"]
            await transaction.execute("SELECT FROM documents WHERE id = $1 FOR UPDATE", document)
            gate.open()
            # It has read what was said, and waits for what that was made from.
            await until_blocked(shelf.database)
            await shelf.documents._erasure.erase(transaction, document)
        with pytest.raises((SourceErasedError, TurnsChangedError)):
            await sending
    assert len(model.requests) == asked


async def erase(shelf: Shelf, owner: Member, document: UUID) -> None:
    await shelf.documents.delete(owner, document)


CHANGES = {"erased": erase, "sealed": test_cut.seal}


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("step", [LOADING - 1, LOADING])
async def test_what_is_erased_or_sealed_before_it_is_read_is_shown_to_no_model(
    shelf: Shelf, make_scope: MakeScope, beginning: str, change: str, step: int
) -> None:
    ann = await make_scope()
    papers, documents = await shelf.fill(ann, {"lease.txt": RENT})
    model = ScriptedModel(*ANSWER)
    send = await BEGINNINGS[beginning](shelf, ann, papers, model)
    asked = len(model.requests)
    gate = shelf.stepped.step(step)
    sending = asyncio.create_task(send(service(shelf, model), ann, "Say it again.", True))
    await gate.wait_until_reached()
    shelf.stepped.gate = None
    await CHANGES[change](shelf, ann, documents["lease.txt"])
    gate.open()
    if beginning == "chain" and change == "erased":
        with pytest.raises(SourceErasedError):
            await sending
        assert len(model.requests) == asked
    else:
        await sending
        assert not any("£1,250.00" in text for _, text in shown(model))


async def test_a_chain_is_read_off_the_event_loop(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    responses = service(shelf, ScriptedModel("So it is."))
    first = await made(responses, ann, ask("One?"))
    threads: list[threading.Thread] = []
    opening = chain.open_kept

    def open_kept(*row: Any) -> Any:  # noqa: ANN401 - as it is
        threads.append(threading.current_thread())
        return opening(*row)

    monkeypatch.setattr(chain, "open_kept", open_kept)
    await made(responses, ann, ask("Two?", first))
    assert threads
    assert threading.main_thread() not in threads


async def test_an_old_grant_that_counts_lets_no_model_be_shown_what_it_is_of(
    shelf: Shelf, database_urls: DatabaseUrls, make_scope: MakeScope
) -> None:
    """Such grants are refused now, and nothing counts the answers under those that were given before."""
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    model = ScriptedModel("So it is.")
    responses = service(shelf, model)
    first = await made(responses, ann, ask("One?"))
    begun = await conversations_of(shelf).create(ann, {}, [said("I am Ann.")])
    both = Terms(frozenset({GrantAction.READ, GrantAction.WRITE}))
    await share(shelf, ann, ResourceKind.RESPONSE, first, bob, READ)
    await share(shelf, ann, ResourceKind.CONVERSATION, begun.id, bob, both)
    await test_cut.execute_as_owner(database_urls, "UPDATE grants SET max_uses = 1")
    asked = len(model.requests)
    for store in (True, False):
        with pytest.raises(PreviousNotForModelsError):
            await responses.create(bob, ask("And?", first, store=store))
    with pytest.raises(NotForModelsError):
        await responses.create(bob, ask_in(begun, "And?"))
    assert len(model.requests) == asked
    # It is read as before.
    assert (await responses.get(bob, first))["status"] == "completed"
