"""What the legs propose when all is searched: what may be searched and nothing else, listed or asked for one by one.

What they propose too much is not released, but it takes places, and ranks would tell of it.
"""

from dataclasses import replace
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import SEARCH, add_under, everywhere, grants_of, share
from tests.shelf import Shelf
from undercroft.retrieval.search.models import Leg, SearchQuery
from undercroft.sharing.models import GrantAction, ResourceKind, Terms
from undercroft.vault.models import DocumentChanges

ASKED = "the town clock"
READ = Terms(frozenset({GrantAction.READ, GrantAction.SHARE}))
FOR_AUDIT = replace(SEARCH, purpose="audit")


@pytest.fixture(params=[2_000, 0], ids=["listed", "asked for one by one"], autouse=True)
def listed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("undercroft.retrieval.search.repository._LISTED_CONTENTS", request.param)


def text_of(name: str) -> str:
    return f"The town clock, according to {name}."


async def put(shelf: Shelf, owner: Member, name: str) -> tuple[UUID, UUID]:
    """A collection, and the one document in it: its text says which it is."""
    collection, documents = await shelf.fill(owner, {name: text_of(name)})
    return collection, documents[name]


async def trash(shelf: Shelf, owner: Member, document: UUID) -> None:
    async with shelf.database.transaction(owner) as transaction:
        await transaction.execute(
            "UPDATE documents SET deleted_at = now(), purge_at = now() WHERE id = $1", document
        )


async def proposed(shelf: Shelf, scope: Member, leg: Leg) -> set[str]:
    """The names in the passages that a leg proposes; the index keeps their words."""
    query = SearchQuery((), ASKED, 10, frozenset({leg}), is_everywhere=True)
    proposals, _ = await shelf.search._ask_legs(scope, query, 300)
    async with shelf.database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT DISTINCT term FROM chunks, unnest(tsvector_to_array(lexemes)) AS term"
            " WHERE id = ANY($1::bigint[]) AND term LIKE '%1'",
            proposals.chunk_ids,
        )
    return {row["term"] for row in rows}


async def check(shelf: Shelf, scope: Member, expected: set[str]) -> None:
    for leg in Leg:
        assert await proposed(shelf, scope, leg) == expected, leg
    assert await everywhere(shelf, scope, ASKED) == expected


async def test_a_document_is_proposed_to_whoever_may_search_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, cem, eve = (
        await make_scope(ann.tenant_id),
        await make_scope(ann.tenant_id),
        await make_scope(),
    )
    collection, own = await put(shelf, bob, "own1")
    await shelf.collections.remove(bob, collection, own)
    _, trashed = await put(shelf, bob, "trashed1")
    await trash(shelf, bob, trashed)
    await put(shelf, ann, "private1")
    await put(shelf, eve, "foreign1")
    for name, grantee, terms in [
        ("granted1", bob, SEARCH),
        ("readonly1", bob, READ),
        ("audit1", bob, FOR_AUDIT),
        ("cem1", cem, SEARCH),
    ]:
        _, document = await put(shelf, ann, name)
        await share(shelf, ann, ResourceKind.DOCUMENT, document, grantee, terms)
    await check(shelf, bob, {"own1", "granted1"})
    await check(shelf, replace(bob, purpose="audit"), {"own1", "granted1", "audit1"})


async def test_a_collection_opens_what_is_in_it_to_whoever_may_search_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, cem = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    for name, grantee, terms in [
        ("granted1", bob, SEARCH),
        ("readonly1", bob, READ),
        ("audit1", bob, FOR_AUDIT),
        ("cem1", cem, SEARCH),
    ]:
        collection, _ = await put(shelf, ann, name)
        await share(shelf, ann, ResourceKind.COLLECTION, collection, grantee, terms)
    await check(shelf, bob, {"granted1"})
    await check(shelf, replace(bob, purpose="audit"), {"granted1", "audit1"})


async def test_what_is_lent_to_a_collection_is_proposed_as_far_as_its_own_grant_goes(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, cem = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    papers = (await shelf.collections.create(cem, "papers", {})).id
    await share(shelf, cem, ResourceKind.COLLECTION, papers, bob)
    for name, terms in [
        ("granted1", SEARCH),
        ("readonly1", READ),
        ("audit1", FOR_AUDIT),
    ]:
        _, document = await put(shelf, ann, name)
        lent = await share(shelf, ann, ResourceKind.DOCUMENT, document, cem, terms)
        await add_under(shelf, cem, papers, lent)
    for person in (bob, cem):
        await check(shelf, person, {"granted1"})
        everything = {"granted1", "audit1"}
        await check(shelf, replace(person, purpose="audit"), everything)


@pytest.mark.parametrize("change", ["revoked", "sealed", "in the trash", "another version"])
async def test_a_content_is_proposed_by_the_document_that_was_granted_and_not_by_its_twin(
    shelf: Shelf, make_scope: MakeScope, change: str
) -> None:
    """The other document of the same content keeps it in the index, and is nobody else's."""
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    # Where nothing can be listed nothing is asked for one by one.
    await put(shelf, bob, "own1")
    text = text_of("twin1")
    _, documents = await shelf.fill(ann, {"twin1": text, "another": text})
    document = documents["twin1"]
    lent = await share(shelf, ann, ResourceKind.DOCUMENT, document, bob)
    await check(shelf, bob, {"own1", "twin1"})
    match change:
        case "revoked":
            await grants_of(shelf).revoke(ann, lent.id)
        case "sealed":
            sealed = DocumentChanges(is_sealed=True)
            await shelf.documents.update(ann, document, sealed, None)
        case "in the trash":
            await trash(shelf, ann, document)
        case _:
            await shelf.put_version(ann, document, "It says nothing of that any more.")
    await check(shelf, bob, {"own1"})
