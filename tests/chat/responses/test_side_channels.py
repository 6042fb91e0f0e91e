"""What an answer must not tell of what its reader may not see: by ids and numbers of citations, by its tokens."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.chat.conversations.test_turns import ask, conversations_of, items_for
from tests.chat.responses.test_provenance import bundle_for
from tests.chat.responses.test_shared import lend
from tests.chat.responses.test_sources import ANSWER, id_of, service
from tests.chat.responses.test_streams import read
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.ledger.conftest import make_parts
from tests.retrieval.search.test_shared import (
    ASKED,
    SEARCH,
    TEXTS,
    add_under,
    grants_of,
    share,
)
from tests.shelf import Shelf
from undercroft.chat.providers.extractive import MODEL_ID, ExtractiveProvider
from undercroft.chat.providers.protocol import Message, Role
from undercroft.chat.questions import FileSearch, Question
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.sources import REDACTED
from undercroft.sharing.errors import AccessRevokedError
from undercroft.sharing.models import ModelUse, Parts, ResourceKind


async def test_no_id_of_a_source_is_in_what_its_reader_may_no_more_read(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    """In no form in which an answer is kept: itself, its events, its conversation, where it comes from."""
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, document = await lend(shelf, ann, bob, None)
    begun = await conversations_of(shelf).create(bob, {})
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = id_of(
        await responses.create(
            bob, replace(ask(begun, "How much is the rent?", papers), include_results=True)
        )
    )
    parts = make_parts(shelf.database)

    async def shown_to_bob() -> dict[str, str]:
        return {
            "response": str(await responses.get(bob, made)),
            "conversation": str([item.wire for item in await items_for(shelf, bob, begun)]),
            "provenance": str((await bundle_for(shelf, parts, bob, made))["passages"]),
        }

    given = await grants_of(shelf).list_given(ann, limit=9)
    async with shelf.database.transaction(ann) as transaction:
        blob = await transaction.fetchval("SELECT id FROM blobs")
    telling = {document.hex, blob.hex, *(grant.id.hex for grant in given)}
    assert document.hex in str(await read(responses.watch(bob, made, -1)))
    for where, text in (await shown_to_bob()).items():
        assert document.hex in text, where
    for grant in given:
        await grants_of(shelf).revoke(ann, grant.id)
    # Of its events not one is shown.
    with pytest.raises(AccessRevokedError):
        await read(responses.watch(bob, made, -1))
    for where, text in (await shown_to_bob()).items():
        assert not {each for each in telling if each in text}, where
        assert "lease" not in text, where


@pytest.mark.parametrize("hidden", ["elsewhere", "other sections", "not for models"])
async def test_what_is_hidden_changes_neither_citations_nor_tokens(
    shelf: Shelf, make_scope: MakeScope, hidden: str
) -> None:
    """Whether colleagues keep what would answer better, or what stands beside it is shared with the asker in part."""
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    mine, _ = await shelf.fill(bob, TEXTS)
    before = await answer(shelf, bob, mine)
    assert before["usage"]["total_tokens"] > 0
    texts = {f"{n}.md": f"# Clock {n}\n\n{ASKED} Ann did, in 199{n}." for n in range(3)}
    _, documents = await shelf.fill(ann, texts)
    terms = {
        "other sections": replace(SEARCH, parts=Parts(sections=("Nothing of it",))),
        "not for models": replace(SEARCH, model_use=frozenset[ModelUse]()),
    }
    if hidden in terms:
        for document in documents.values():
            lent = await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms[hidden])
            await add_under(shelf, bob, mine, lent)
    after = await answer(shelf, bob, mine)
    assert after["usage"] == before["usage"]
    assert cited(after) == cited(before) != []


async def answer(shelf: Shelf, scope: Member, collection: UUID) -> dict[str, Any]:
    """By a model whose tokens are counted of the very prompt that it is shown."""
    question = Question((Message(Role.USER, ASKED),), MODEL_ID, search=FileSearch((collection,), 8))
    responses = service(shelf, ScriptedModel(), others=[ExtractiveProvider()])
    return await responses.create(scope, ResponseRequest(question, {"model": MODEL_ID}))


def cited(response: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations of an answer."""
    (part,) = response["output"][-1]["content"]
    assert part["text"] != REDACTED
    return part["annotations"]
