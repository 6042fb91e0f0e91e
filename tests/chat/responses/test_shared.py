"""What was said before is read again under the rights of now: the reader's, to the response and to every source."""

from dataclasses import replace
from uuid import UUID

import pytest

from tests.chat.responses.test_sources import ANSWER, RENT, id_of, request, service
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import SEARCH, add_under, grants_of, share
from tests.shelf import Shelf
from undercroft.chat.responses.service import ResponseService
from undercroft.chat.sources import REDACTED
from undercroft.kit.errors import ErrorKind, NotFoundError, UndercroftError
from undercroft.sharing.models import GrantAction, ModelUse, Parts, ResourceKind, Terms

LEASE = f"# Lease\n\n## Rent\n\n{RENT}\n"
READ = Terms(frozenset({GrantAction.READ}))


async def lend(shelf: Shelf, ann: Member, bob: Member, parts: Parts | None) -> tuple[UUID, UUID]:
    """A collection of Bob's with a document of Ann's in it, and the document."""
    _, documents = await shelf.fill(ann, {"lease.md": LEASE})
    papers = (await shelf.collections.create(bob, "papers", {})).id
    lent = await share(
        shelf, ann, ResourceKind.DOCUMENT, documents["lease.md"], bob, replace(SEARCH, parts=parts)
    )
    await add_under(shelf, bob, papers, lent)
    return papers, documents["lease.md"]


async def text_for(responses: ResponseService, scope: Member, response_id: UUID) -> str:
    shown = await responses.get(scope, response_id)
    assert (shown["usage"] is None) == (REDACTED in str(shown))
    return shown["output"][-1]["content"][0]["text"]


@pytest.mark.parametrize("parts", [None, Parts(sections=("Rent",))], ids=["whole", "a section"])
async def test_an_answer_from_shared_documents_is_redacted_when_the_grant_ends(
    shelf: Shelf, make_scope: MakeScope, parts: Parts | None
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, document = await lend(shelf, ann, bob, parts)
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = id_of(await responses.create(bob, request(papers)))
    assert "1,250" in await text_for(responses, bob, made)
    # Of another section there would be nothing in it.
    again = await share(
        shelf,
        ann,
        ResourceKind.DOCUMENT,
        document,
        bob,
        replace(SEARCH, parts=Parts(sections=("Keys",))),
    )
    for grant in await grants_of(shelf).list_given(ann, limit=9):
        if grant.id != again.id:
            await grants_of(shelf).revoke(ann, grant.id)
    assert await text_for(responses, bob, made) == REDACTED
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, READ)
    assert "1,250" in await text_for(responses, bob, made)


async def test_of_an_older_version_only_the_owner_reads_what_was_said(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, document = await lend(shelf, ann, bob, None)
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = id_of(await responses.create(bob, request(papers)))
    await shelf.put_version(ann, document, "Nothing is said of any rent.")
    assert await text_for(responses, bob, made) == REDACTED


async def test_a_shared_response_shows_its_text_to_whoever_may_see_its_documents(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, {"lease.md": LEASE})
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = id_of(await responses.create(ann, request(collection)))
    with pytest.raises(NotFoundError):
        await responses.get(bob, made)
    given = await share(shelf, ann, ResourceKind.RESPONSE, made, bob, READ)
    shown = await responses.get(bob, made)
    for content in ("1,250", "lease.md"):
        assert content not in str(shown["output"])
    assert await text_for(responses, bob, made) == REDACTED
    await share(shelf, ann, ResourceKind.DOCUMENT, documents["lease.md"], bob)
    assert "1,250" in await text_for(responses, bob, made)
    with pytest.raises(UndercroftError) as refused:
        await responses.delete(bob, made)
    assert refused.value.kind is ErrorKind.FORBIDDEN
    async with shelf.database.transaction(bob) as transaction:
        read = await transaction.fetch(
            "SELECT DISTINCT owner_id, grant_id FROM ledger_pending"
            " WHERE action = 'response.read' AND outcome = 'allowed'"
        )
    assert [tuple(row) for row in read] == [(ann.principal_id, given.id)]
    await grants_of(shelf).revoke(ann, given.id)
    with pytest.raises(NotFoundError):
        await responses.get(bob, made)


async def test_what_may_not_be_quoted_is_cited_without_its_words(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, _ = await shelf.fill(ann, {"lease.md": LEASE})
    terms = replace(SEARCH, model_use=frozenset({ModelUse.SUMMARISE}))
    await share(shelf, ann, ResourceKind.COLLECTION, collection, bob, terms)
    responses = service(shelf, ScriptedModel(*ANSWER))
    quotes = {
        person.email: [
            annotation["undercroft"]["quote"]
            for annotation in (await responses.create(person, request(collection)))["output"][-1][
                "content"
            ][0]["annotations"]
        ]
        for person in (ann, bob)
    }
    assert quotes[ann.email] == ["The monthly rent is £1,250.00"]
    assert quotes[bob.email] == [None]
