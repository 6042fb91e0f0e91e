"""A batch against whatever comes at the same time: what both do is done one after the other."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest
from asyncpg import Record

from tests.conftest import MakeScope
from tests.retrieval.collections.test_batches import acts, begin, files, members, named, put
from tests.shelf import Shelf
from tests.stepping import Gate, until_blocked, until_blocked_or_done
from undercroft.kit.database import Transaction
from undercroft.kit.errors import NotFoundError
from undercroft.retrieval.collections.batches.models import BatchStatus
from undercroft.retrieval.collections.batches.repository import FileBatchRepository
from undercroft.retrieval.collections.models import MemberStatus, StatusCounts
from undercroft.retrieval.collections.repository import CollectionRepository

COLLECTIONS = CollectionRepository()


def hold_stopped(patch: pytest.MonkeyPatch) -> Gate:
    """Stops whoever cancels once files are taken out."""
    gate, stop = Gate(), FileBatchRepository.stop_files

    async def stop_and_wait(
        self: FileBatchRepository,
        transaction: Transaction,
        collection_id: UUID,
        document_ids: Sequence[UUID],
    ) -> list[Record]:
        stopped = await stop(self, transaction, collection_id, document_ids)
        await gate.pass_through()
        return stopped

    patch.setattr(FileBatchRepository, "stop_files", stop_and_wait)
    return gate


async def test_of_two_who_cancel_one_stops_it(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    collection, documents, first = await begin(shelf, ann, "One.", "Two.", "Three.")
    second = await shelf.batches.create(ann, collection, named(documents[1:]))
    before = len(await acts(shelf, ann))
    gate = hold_stopped(monkeypatch)
    cancelling = [asyncio.create_task(shelf.batches.cancel(ann, collection, first.id))]
    await gate.wait_until_reached()
    cancelling += [
        asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
        for batch in (first, second)
    ]
    await until_blocked(shelf.stepped, 2)
    gate.open()
    told = await asyncio.gather(*cancelling)
    assert [(batch.status, batch.counts) for batch in told] == [
        (BatchStatus.CANCELLED, StatusCounts(0, 0, 0, 3)),
        (BatchStatus.CANCELLED, StatusCounts(0, 0, 0, 3)),
        (BatchStatus.CANCELLED, StatusCounts(0, 0, 0, 2)),
    ]
    assert len(await acts(shelf, ann)) == before + 4, "of the collection once, and of each file"


async def test_what_is_indexed_while_it_is_cancelled_stays(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents, batch = await begin(shelf, ann, "One.", "Two.")
    async with shelf.database.transaction(ann) as transaction:
        # As the end of the job that indexes it.
        await transaction.execute(
            "UPDATE blobs SET index_state = 'indexed' WHERE id = (SELECT v.blob_id"
            " FROM document_versions AS v WHERE v.document_id = $1)",
            documents[0],
        )
        cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
        assert await until_blocked_or_done(shelf.stepped, cancelling)
    batch = await cancelling
    assert (batch.status, batch.counts) == (BatchStatus.CANCELLED, StatusCounts(0, 1, 0, 1))
    assert await members(shelf, ann, collection) == documents[:1]


async def test_the_last_file_indexed_while_it_is_cancelled_leaves_nothing_to_stop(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents, batch = await begin(shelf, ann, "One.")
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE blobs SET index_state = 'indexed'")
        cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
        assert await until_blocked_or_done(shelf.stepped, cancelling)
    batch = await cancelling
    assert (batch.status, batch.counts) == (BatchStatus.COMPLETED, StatusCounts(0, 1, 0))
    assert await members(shelf, ann, collection) == documents


async def test_a_job_that_ends_while_it_is_cancelled_brings_nothing_back(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    collection, documents, batch = await begin(shelf, ann, "One.")
    gate = hold_stopped(monkeypatch)
    cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
    await gate.wait_until_reached()
    running = asyncio.create_task(shelf.run_jobs(ann))
    await until_blocked_or_done(shelf.stepped, running)
    gate.open()
    batch = await cancelling
    await running
    assert (batch.status, batch.counts) == (BatchStatus.CANCELLED, StatusCounts(0, 0, 0, 1))
    assert await shelf.batches.get(ann, collection, batch.id) == batch
    assert await members(shelf, ann, collection) == []
    assert await files(shelf, ann, batch) == {documents[0]: MemberStatus.CANCELLED}


async def test_cancelling_waits_for_whoever_adds_to_the_collection(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents, batch = await begin(shelf, ann, "One.", "Two.")
    (other,) = await put(shelf, ann, "Other.")
    async with shelf.database.transaction(ann) as adding:
        assert await COLLECTIONS.lock_collection(adding, collection)
        # They put it in a second time, and another file: each in its turn.
        assert await COLLECTIONS.insert_member(adding, collection, documents[1], {"kind": "new"})
        assert await COLLECTIONS.insert_member(adding, collection, other, {})
        cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
        assert await until_blocked_or_done(shelf.stepped, cancelling)
        assert await COLLECTIONS.insert_member(adding, collection, documents[0], {"kind": "new"})
    assert (await cancelling).counts == StatusCounts(0, 0, 0, 2)
    assert await members(shelf, ann, collection) == [other]


async def test_cancelling_waits_for_somebody_who_adds_something_else(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _, batch = await begin(shelf, ann, "One.")
    async with shelf.database.transaction(ann) as adding:
        assert await COLLECTIONS.lock_collection(adding, collection)
        cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
        assert await until_blocked_or_done(shelf.stepped, cancelling)
    await cancelling


async def test_what_is_put_in_again_while_it_is_cancelled_is_there_by_that(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    collection, documents, first = await begin(shelf, ann, "One.", "Two.")
    gate = hold_stopped(monkeypatch)
    cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, first.id))
    await gate.wait_until_reached()
    adding = asyncio.create_task(shelf.batches.create(ann, collection, named(documents)))
    await until_blocked(shelf.stepped)
    gate.open()
    await cancelling
    second = await adding
    await shelf.run_jobs(ann)
    for batch, counts in ((first, StatusCounts(0, 0, 0, 2)), (second, StatusCounts(0, 2, 0))):
        assert (await shelf.batches.get(ann, collection, batch.id)).counts == counts


async def test_a_document_that_is_erased_while_it_is_cancelled_is_gone(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents, batch = await begin(shelf, ann, "One.", "Two.")
    async with shelf.database.transaction(ann) as erasing:
        # What delete_document does, in its two steps: the document, then its content.
        await erasing.execute("DELETE FROM documents WHERE id = $1", documents[0])
        cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
        await until_blocked(shelf.stepped)
        await erasing.execute("SELECT id FROM blobs FOR UPDATE")
    batch = await cancelling
    assert (batch.status, batch.counts) == (BatchStatus.CANCELLED, StatusCounts(0, 0, 0, 1))
    assert await files(shelf, ann, batch) == {documents[1]: MemberStatus.CANCELLED}


async def test_a_version_that_comes_while_it_is_cancelled_is_stopped_as_well(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, (document,), batch = await begin(shelf, ann, "One.")
    (other,) = await put(shelf, ann, "Two.")
    async with shelf.database.transaction(ann) as adding:
        await adding.execute(
            "INSERT INTO document_versions (tenant_id, document_id, number, blob_id)"
            " SELECT tenant_id, $1, 2, current_blob_id FROM documents WHERE id = $2",
            document,
            other,
        )
        await adding.execute("UPDATE documents SET current_version = 2 WHERE id = $1", document)
        cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
        await until_blocked(shelf.stepped)
    assert (await cancelling).counts == StatusCounts(0, 0, 0, 1)
    assert await members(shelf, ann, collection) == []


async def test_a_file_that_is_taken_out_while_it_is_cancelled_is_on_record_once(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents, batch = await begin(shelf, ann, "One.", "Two.")
    before = len(await acts(shelf, ann))
    async with shelf.database.transaction(ann) as removing:
        assert await COLLECTIONS.delete_member(removing, collection, documents[0])
        cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
        await until_blocked(shelf.stepped)
    assert (await cancelling).counts == StatusCounts(0, 0, 0, 2)
    assert len(await acts(shelf, ann)) == before + 2, "of the collection, and of the other file"


async def test_none_is_made_in_a_collection_that_is_being_deleted(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    documents = await put(shelf, ann, "One.")
    collection = (await shelf.collections.create(ann, "papers", {})).id
    async with shelf.database.transaction(ann) as transaction:
        assert await COLLECTIONS.delete_collection(transaction, collection)
        adding = asyncio.create_task(shelf.batches.create(ann, collection, named(documents)))
        await until_blocked(shelf.stepped)
    with pytest.raises(NotFoundError, match="vector store"):
        await adding


async def test_a_collection_in_which_one_is_cancelled_is_deleted_afterwards(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    collection, _, batch = await begin(shelf, ann, "One.")
    gate = hold_stopped(monkeypatch)
    cancelling = asyncio.create_task(shelf.batches.cancel(ann, collection, batch.id))
    await gate.wait_until_reached()
    deleting = asyncio.create_task(shelf.collections.delete(ann, collection))
    await until_blocked(shelf.stepped)
    gate.open()
    assert (await cancelling).status is BatchStatus.CANCELLED
    await deleting
    with pytest.raises(NotFoundError):
        await shelf.batches.cancel(ann, collection, batch.id)


async def test_two_of_the_same_files_in_another_order_do_not_wait_for_each_other(
    shelf: Shelf, make_scope: MakeScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await make_scope()
    documents = await put(shelf, ann, "One.", "Two.")
    collection = (await shelf.collections.create(ann, "papers", {})).id
    gates, insert = [Gate(), Gate()], CollectionRepository.insert_member

    async def insert_and_wait(
        self: CollectionRepository,
        transaction: Transaction,
        collection_id: UUID,
        document_id: UUID,
        attributes: Mapping[str, str | float | bool],
        grant_id: UUID | None = None,
    ) -> UUID:
        blob = await insert(self, transaction, collection_id, document_id, attributes, grant_id)
        if attributes:
            await gates[int(attributes["request"])].pass_through()
        return blob

    async def add(request: int, order: Sequence[UUID]) -> None:
        additions = [
            type(each)(each.document_id, {"request": float(request)}, each.param)
            for each in named(order)
        ]
        await shelf.batches.create(ann, collection, additions)

    monkeypatch.setattr(CollectionRepository, "insert_member", insert_and_wait)
    first = asyncio.create_task(add(0, documents))
    await gates[0].wait_until_reached()
    second = asyncio.create_task(add(1, documents[::-1]))
    # It waits for the first one's, or in a wrong order has put in the other one.
    await until_blocked_or_done(shelf.stepped, asyncio.create_task(gates[1].wait_until_reached()))
    for gate in gates:
        gate.open()
    await asyncio.gather(first, second)
    assert await members(shelf, ann, collection) == sorted(documents)
