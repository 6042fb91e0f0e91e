"""A batch is put in whole or not at all, tells the state of its files as they are, and stops what is not indexed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.collections.test_lent import lend
from tests.retrieval.search.test_shared import grants_of, share
from tests.shelf import Shelf
from undercroft.kit.errors import NotFoundError, UndercroftError
from undercroft.kit.ids import IdSource, render_id
from undercroft.retrieval.collections.batches.models import BatchStatus, FileBatch
from undercroft.retrieval.collections.errors import DocumentSealedError
from undercroft.retrieval.collections.intake import Addition
from undercroft.retrieval.collections.models import MemberStatus, Page, StatusCounts
from undercroft.sharing.errors import NotGrantedError
from undercroft.sharing.models import GrantAction, ResourceKind, Terms
from undercroft.vault.models import DocumentChanges

ALL = Page(limit=100)
BROKEN = b"%PDF-1.7\ncut off"


def named(documents: Sequence[UUID]) -> list[Addition]:
    """Documents as a request names them."""
    return [Addition(each, {}, f"file_ids.{place}") for place, each in enumerate(documents)]


async def put(shelf: Shelf, scope: Member, *texts: str) -> list[UUID]:
    return [await shelf.put(scope, f"{number}.txt", text) for number, text in enumerate(texts)]


async def begin(shelf: Shelf, scope: Member, *texts: str) -> tuple[UUID, list[UUID], FileBatch]:
    """A collection, documents, and the batch of them in it."""
    documents = await put(shelf, scope, *texts)
    collection = (await shelf.collections.create(scope, "papers", {})).id
    return collection, documents, await shelf.batches.create(scope, collection, named(documents))


async def members(shelf: Shelf, scope: Member, collection: UUID) -> list[UUID]:
    """The documents of a collection, oldest first."""
    page = Page(100, None, ascending=True)
    listed = await shelf.collections.list_members(scope, collection, page, None)
    return [member.document_id for member in listed]


async def files(
    shelf: Shelf, scope: Member, batch: FileBatch, status: MemberStatus | None = None
) -> dict[UUID, MemberStatus]:
    """The files of a batch, and how far each is."""
    listed = await shelf.batches.list_files(scope, batch.collection_id, batch.id, ALL, status)
    return {member.document_id: member.status for member in listed}


async def acts(shelf: Shelf, scope: Member) -> list[tuple[str, str]]:
    """What went on record of what somebody did, in its order."""
    async with shelf.database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT action, resource FROM ledger_pending WHERE actor_id = $1 AND outcome = 'allowed'"
            " AND action LIKE '%collection%' ORDER BY ordinal",
            scope.principal_id,
        )
    return [(row["action"], row["resource"]) for row in rows]


async def test_it_tells_how_far_its_files_are(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    good, late = await put(shelf, ann, "Good.", "Late.")
    broken = await shelf.put(ann, "broken.pdf", BROKEN)
    collection = (await shelf.collections.create(ann, "papers", {})).id
    batch = await shelf.batches.create(
        ann, collection, [Addition(good, {"kind": "letter"}, "files.0"), *named([broken])]
    )
    assert (batch.status, batch.counts) == (BatchStatus.IN_PROGRESS, StatusCounts(2, 0, 0))
    await shelf.run_jobs(ann)
    batch = await shelf.batches.get(ann, collection, batch.id)
    assert (batch.status, batch.counts) == (BatchStatus.COMPLETED, StatusCounts(0, 1, 1))
    assert await files(shelf, ann, batch) == {
        good: MemberStatus.COMPLETED,
        broken: MemberStatus.FAILED,
    }
    for status, document in ((MemberStatus.COMPLETED, good), (MemberStatus.FAILED, broken)):
        assert await files(shelf, ann, batch, status) == {document: status}
    for status in (MemberStatus.IN_PROGRESS, MemberStatus.CANCELLED):
        assert await files(shelf, ann, batch, status) == {}
    member = await shelf.collections.get_member(ann, collection, good)
    assert member in await shelf.batches.list_files(ann, collection, batch.id, ALL, None)
    assert member.attributes == {"kind": "letter"}
    again = await shelf.batches.create(ann, collection, named([broken, late]))
    assert again.counts == StatusCounts(2, 0, 0), "what failed is tried again"
    await shelf.batches.cancel(ann, collection, again.id)
    assert (await shelf.batches.get(ann, collection, batch.id)).counts == StatusCounts(0, 1, 0, 1)


async def test_one_of_which_nothing_can_be_read_has_failed(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    broken = await shelf.put(ann, "broken.pdf", BROKEN)
    collection = (await shelf.collections.create(ann, "papers", {})).id
    batch = await shelf.batches.create(ann, collection, named([broken]))
    await shelf.run_jobs(ann)
    batch = await shelf.batches.get(ann, collection, batch.id)
    assert (batch.status, batch.counts) == (BatchStatus.FAILED, StatusCounts(0, 0, 1))


async def test_it_is_put_in_whole_or_not_at_all(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob, stranger = await make_scope(ann.tenant_id), await make_scope()
    (mine,), (theirs,) = await put(shelf, ann, "Mine."), await put(shelf, stranger, "Theirs.")
    (shown,), (sealed,) = await put(shelf, bob, "Shown."), await put(shelf, ann, "Sealed.")
    read = Terms(frozenset({GrantAction.READ}))
    await share(shelf, bob, ResourceKind.DOCUMENT, shown, ann, read)
    await shelf.documents.update(ann, sealed, DocumentChanges(None, None, True), None)
    collection = (await shelf.collections.create(ann, "papers", {})).id
    refusals: list[tuple[UUID, type[UndercroftError]]] = [
        (theirs, NotFoundError),
        (IdSource().new(), NotFoundError),
        (shown, NotGrantedError),
        (sealed, DocumentSealedError),
    ]
    for wrong, refusal in refusals:
        for place, documents in ((0, [wrong, mine]), (1, [mine, wrong])):
            with pytest.raises(refusal) as refused:
                await shelf.batches.create(ann, collection, named(documents))
            assert refused.value.param == f"file_ids.{place}"
    assert await members(shelf, ann, collection) == []
    assert await shelf.claim(ann) is None, "nothing is indexed for a batch that was not made"
    async with shelf.database.transaction(ann) as transaction:
        for table in ("file_batches", "file_batch_files"):
            assert await transaction.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert [action for action, _ in await acts(shelf, ann)] == ["collection.create"]


async def test_cancelling_it_keeps_what_is_indexed_and_stops_the_rest(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, (first,), _ = await begin(shelf, ann, "First.")
    await shelf.run_jobs(ann)
    second, third = await put(shelf, ann, "Second.", "Third.")
    batch = await shelf.batches.create(ann, collection, named([first, second, third]))
    assert batch.counts == StatusCounts(2, 1, 0)
    before = await acts(shelf, ann)
    for _ in range(2):
        batch = await shelf.batches.cancel(ann, collection, batch.id)
        assert (batch.status, batch.counts) == (BatchStatus.CANCELLED, StatusCounts(0, 1, 0, 2))
    assert await members(shelf, ann, collection) == [first]
    stopped = {second: MemberStatus.CANCELLED, third: MemberStatus.CANCELLED}
    assert await files(shelf, ann, batch, MemberStatus.CANCELLED) == stopped
    assert await files(shelf, ann, batch) == {first: MemberStatus.COMPLETED, **stopped}
    place = render_id("vs_", collection)
    added, removed = "document.add_to_collection", "document.remove_from_collection"
    assert before[-4:] == [
        ("collection.add_document", place),
        *((added, render_id("file-", each)) for each in (first, second, third)),
    ]
    recorded = (await acts(shelf, ann))[len(before) :]
    assert recorded[0] == ("collection.remove_document", place)
    assert sorted(recorded[1:]) == [
        (removed, render_id("file-", each)) for each in (second, third)
    ], "once, however often it is cancelled"
    await shelf.run_jobs(ann)
    assert (await shelf.batches.get(ann, collection, batch.id)) == batch
    await shelf.collections.add(ann, collection, second, {})
    assert (await shelf.batches.get(ann, collection, batch.id)) == batch, "that is another request"
    await shelf.run_jobs(ann)
    assert await members(shelf, ann, collection) == [first, second]


async def test_a_batch_that_is_done_has_nothing_to_stop(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents, batch = await begin(shelf, ann, "One.", "Two.")
    await shelf.run_jobs(ann)
    before = await acts(shelf, ann)
    batch = await shelf.batches.cancel(ann, collection, batch.id)
    assert (batch.status, batch.counts) == (BatchStatus.COMPLETED, StatusCounts(0, 2, 0))
    assert await members(shelf, ann, collection) == documents
    assert await acts(shelf, ann) == before


async def test_what_is_taken_out_deleted_or_erased_is_not_waited_for(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents, batch = await begin(shelf, ann, "One.", "Two.", "Three.")
    await shelf.collections.remove(ann, collection, documents[0])
    await shelf.documents.delete(ann, documents[1])
    batch = await shelf.batches.get(ann, collection, batch.id)
    assert (batch.status, batch.counts) == (BatchStatus.IN_PROGRESS, StatusCounts(1, 0, 0, 1))
    await shelf.run_jobs(ann)
    batch = await shelf.batches.get(ann, collection, batch.id)
    assert (batch.status, batch.counts) == (BatchStatus.COMPLETED, StatusCounts(0, 1, 0, 1))
    assert await files(shelf, ann, batch) == {
        documents[0]: MemberStatus.CANCELLED,
        documents[2]: MemberStatus.COMPLETED,
    }
    await shelf.documents.delete(ann, documents[0])
    await shelf.collections.delete(ann, collection)
    with pytest.raises(NotFoundError):
        await shelf.batches.get(ann, collection, batch.id)
    async with shelf.database.transaction(ann) as transaction:
        for table in ("file_batches", "file_batch_files"):
            assert await transaction.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_a_file_of_two_batches_counts_in_both(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    collection, documents, first = await begin(shelf, ann, "One.", "Two.")
    second = await shelf.batches.create(ann, collection, named(documents[1:]))
    await shelf.batches.cancel(ann, collection, second.id)
    first = await shelf.batches.get(ann, collection, first.id)
    assert (first.status, first.counts) == (BatchStatus.IN_PROGRESS, StatusCounts(1, 0, 0, 1))
    third = await shelf.batches.create(ann, collection, named(documents[1:]))
    await shelf.run_jobs(ann)
    for batch, status, counts in (
        (first, BatchStatus.COMPLETED, StatusCounts(0, 1, 0, 1)),
        (second, BatchStatus.CANCELLED, StatusCounts(0, 0, 0, 1)),
        (third, BatchStatus.COMPLETED, StatusCounts(0, 1, 0)),
    ):
        told = await shelf.batches.get(ann, collection, batch.id)
        assert (told.status, told.counts) == (status, counts)


async def test_pages_of_its_files_meet_without_a_gap(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    collection, documents, batch = await begin(shelf, ann, *(f"Number {n}." for n in range(5)))
    for ascending in (True, False):
        listed: list[UUID] = []
        while found := await shelf.batches.list_files(
            ann,
            collection,
            batch.id,
            Page(2, listed[-1] if listed else None, ascending),
            MemberStatus.IN_PROGRESS,
        ):
            listed += [member.document_id for member in found]
        assert listed == sorted(documents, reverse=not ascending)


async def test_it_is_for_the_owner_of_the_collection_alone(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    colleague, reader = (
        await make_scope(ann.tenant_id, role="admin"),
        await make_scope(ann.tenant_id),
    )
    collection, _, batch = await begin(shelf, ann, "Mine.")
    every = Terms(frozenset(GrantAction) - {GrantAction.READ_PARTS})
    await share(shelf, ann, ResourceKind.COLLECTION, collection, reader, every)
    of = shelf.batches
    for who, refusal in (
        (stranger, NotFoundError),
        (colleague, NotFoundError),
        (reader, NotGrantedError),
    ):
        (own,) = await put(shelf, who, "Theirs.")
        other = (await shelf.collections.create(who, "other", {})).id
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda s=who, d=own: of.create(s, collection, named([d])),
            lambda s=who: of.get(s, collection, batch.id),
            lambda s=who: of.list_files(s, collection, batch.id, ALL, None),
            lambda s=who: of.cancel(s, collection, batch.id),
        ]
        for attempt in attempts:
            with pytest.raises(refusal):
                await attempt()
        for attempt in (of.get, of.cancel):
            with pytest.raises(NotFoundError, match="file batch"):
                await attempt(who, other, batch.id)
    assert (await of.get(ann, collection, batch.id)) == batch


async def test_of_a_lent_file_no_more_is_told_than_may_be_known(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = replace(await make_scope(ann.tenant_id), purpose="audit")
    document, papers, given = await lend(shelf, ann, bob)
    (own,) = await put(shelf, bob, "Own.")
    batch = await shelf.batches.create(bob, papers, named([document, own]))
    assert (given.id, batch.counts) == (given.id, StatusCounts(2, 0, 0))
    batch = await shelf.batches.cancel(bob, papers, batch.id)
    assert (batch.status, batch.counts) == (BatchStatus.CANCELLED, StatusCounts(0, 0, 0, 2))
    await grants_of(shelf).revoke(ann, given.id)
    assert (await shelf.batches.get(bob, papers, batch.id)).counts == StatusCounts(0, 0, 0, 1)
    assert await files(shelf, bob, batch) == {own: MemberStatus.CANCELLED}
