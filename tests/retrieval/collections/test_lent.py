"""Another's document in one's own collection: there by a grant to share it, on record as that, and gone with it."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.search.test_shared import find, grants_of, names, share
from tests.shelf import Shelf
from tests.stepping import Gate, until_blocked
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.collections.errors import DocumentSealedError
from undercroft.retrieval.collections.models import Page
from undercroft.retrieval.collections.repository import CollectionRepository
from undercroft.sharing.errors import GrantEndedError, NotGrantedError
from undercroft.sharing.models import Grant, GrantAction, ResourceKind, Terms
from undercroft.vault.models import DocumentChanges

LEND = Terms(frozenset({GrantAction.SEARCH, GrantAction.READ, GrantAction.SHARE}))
CLOCK = "The town clock was repaired by Marta Quill in 1987."


async def listed(shelf: Shelf, scope: Member, collection: UUID) -> set[UUID]:
    members = await shelf.collections.list_members(scope, collection, Page(100), None)
    return {member.document_id for member in members}


async def lend(
    shelf: Shelf, ann: Member, bob: Member, terms: Terms = LEND
) -> tuple[UUID, UUID, Grant]:
    """A document of the one, an empty collection of the other, and the grant between them."""
    document = await shelf.put(ann, "clock.txt", CLOCK)
    papers = (await shelf.collections.create(bob, "papers", {})).id
    return document, papers, await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, terms)


async def test_it_is_found_there_by_everybody_until_the_grant_ends(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, cem = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    document, papers, given = await lend(shelf, ann, bob)
    member = await shelf.collections.add(bob, papers, document, {"kind": "lent"})
    assert (member.document_id, member.attributes) == (document, {"kind": "lent"})
    await shelf.run_jobs(ann)
    await share(shelf, bob, ResourceKind.COLLECTION, papers, cem, LEND)
    for who in (bob, cem):
        assert await listed(shelf, who, papers) == {document}
        assert names(await find(shelf, who, papers)) == {"clock.txt"}
    [passage] = await find(shelf, cem, papers)
    assert given.id in {grant.id for grant in passage.way.grants}
    await grants_of(shelf).revoke(ann, given.id)
    for who in (bob, cem):
        assert await listed(shelf, who, papers) == set()
        assert (await shelf.collections.get(who, papers)).counts.total == 0
        assert await find(shelf, who, papers) == []
    assert await shelf.documents.get(ann, document)


async def test_adding_and_removing_it_are_on_its_owners_record(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = replace(await make_scope(ann.tenant_id), purpose="audit")
    document, papers, given = await lend(shelf, ann, bob)
    await shelf.collections.add(bob, papers, document, {})
    await shelf.collections.update_member(bob, papers, document, {"kind": "lent"})
    with pytest.raises(NotGrantedError):
        await shelf.collections.read_member(bob, papers, document)
    await shelf.collections.remove(bob, papers, document)
    assert await listed(shelf, bob, papers) == set()
    async with shelf.database.transaction(bob) as transaction:
        rows = await transaction.fetch(
            "SELECT action, owner_id, grant_id, purpose FROM ledger_pending"
            " WHERE actor_id = $1 AND resource = $2 AND outcome = 'allowed' ORDER BY ordinal",
            bob.principal_id,
            render_id("file-", document),
        )
    assert {tuple(row) for row in rows} == {
        ("document.add_to_collection", ann.principal_id, given.id, "audit"),
        ("document.remove_from_collection", ann.principal_id, None, None),
    }


async def test_it_takes_a_grant_to_share_the_document_itself(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob, cem, eve = [await make_scope(ann.tenant_id) for _ in range(3)]
    without = Terms(frozenset(GrantAction) - {GrantAction.SHARE})
    document, papers, _ = await lend(shelf, ann, bob, without)
    hers = await shelf.collections.create(ann, "hers", {}, [document])
    await share(shelf, ann, ResourceKind.COLLECTION, hers.id, cem, LEND)
    theirs = (await shelf.collections.create(cem, "theirs", {})).id
    for who, collection in ((bob, papers), (cem, theirs)):
        with pytest.raises(NotGrantedError, match="'share'"):
            await shelf.collections.add(who, collection, document, {})
        with pytest.raises(NotGrantedError, match="'share'"):
            await shelf.collections.create(who, "others", {}, [document])
        assert await listed(shelf, who, collection) == set()
    others = (await shelf.collections.create(eve, "others", {})).id
    with pytest.raises(NotFoundError, match="file-"):
        await shelf.collections.add(eve, others, document, {})
    given = await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, LEND)
    await shelf.collections.add(bob, papers, document, {})
    await grants_of(shelf).revoke(ann, given.id)
    with pytest.raises(NotGrantedError):
        await shelf.collections.add(bob, papers, document, {})
    await share(shelf, ann, ResourceKind.DOCUMENT, document, bob, LEND)
    await shelf.collections.add(bob, papers, document, {})
    assert await listed(shelf, bob, papers) == {document}
    await shelf.documents.update(ann, document, DocumentChanges(None, None, True), None)
    with pytest.raises(DocumentSealedError):
        await shelf.collections.add(bob, papers, document, {})
    assert await listed(shelf, bob, papers) == set()


async def test_who_revokes_while_it_is_added_takes_it_out_again(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document, papers, given = await lend(shelf, ann, bob)
    gate, insert = Gate(), CollectionRepository.insert_member

    async def insert_and_wait(
        self: CollectionRepository,
        transaction: Transaction,
        collection_id: UUID,
        document_id: UUID,
        attributes: Mapping[str, str | float | bool],
        grant_id: UUID | None = None,
    ) -> UUID:
        blob = await insert(self, transaction, collection_id, document_id, attributes, grant_id)
        await gate.pass_through()
        return blob

    monkeypatch.setattr(CollectionRepository, "insert_member", insert_and_wait)
    adding = asyncio.create_task(shelf.collections.add(bob, papers, document, {}))
    await gate.wait_until_reached()
    revoking = asyncio.create_task(grants_of(shelf).revoke(ann, given.id))
    await until_blocked(shelf.stepped)
    gate.open()
    await adding
    await revoking
    assert await listed(shelf, bob, papers) == set()
    async with shelf.database.transaction(bob) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM collection_documents") == 0


async def test_who_adds_it_while_the_grant_is_revoked_is_refused(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document, papers, given = await lend(shelf, ann, bob)
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("SELECT end_grants(ARRAY[$1::uuid], 'revoked')", given.id)
        adding = asyncio.create_task(shelf.collections.add(bob, papers, document, {}))
        await until_blocked(shelf.stepped)
    with pytest.raises(GrantEndedError):
        await adding
    assert await listed(shelf, bob, papers) == set()


async def test_it_is_gone_when_the_grants_time_is_over(
    shelf: Shelf, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    document, papers, given = await lend(shelf, ann, bob)
    await shelf.collections.add(bob, papers, document, {})
    async with (
        Database(database_urls.migration, clock=SystemClock(), size=1) as owner,
        owner.transaction(ann) as transaction,
    ):
        changed = await transaction.execute(
            "UPDATE grants SET not_before = now() - interval '2 hours',"
            " expires_at = now() - interval '1 hour' WHERE id = $1",
            given.id,
        )
    assert changed == "UPDATE 1"
    assert await listed(shelf, bob, papers) == set()
    assert (await shelf.collections.get(bob, papers)).counts.total == 0
    with pytest.raises(NotFoundError):
        await shelf.collections.get_member(bob, papers, document)
