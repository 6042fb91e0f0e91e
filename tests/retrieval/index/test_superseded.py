"""What is current nowhere leaves the index, and what becomes current again is in it, whichever comes first."""

import asyncio
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from tests.stepping import until_blocked
from undercroft.jobs.service import JobQueue
from undercroft.kit.ids import IdSource
from undercroft.retrieval.index.repository import IndexRepository
from undercroft.retrieval.index.service import IndexService
from undercroft.vault.repository import DocumentRepository

OLD = "The boat is moored at the third pier."
NEW = "The boat lies at the ninth pier."


async def indexed(shelf: Shelf, scope: Member) -> dict[UUID, tuple[str, int]]:
    """State and number of passages of each content."""
    async with shelf.database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT b.id, b.index_state, count(c.id) AS passages"
            " FROM blobs AS b LEFT JOIN chunks AS c ON c.blob_id = b.id GROUP BY b.id"
        )
    return {row["id"]: (row["index_state"], row["passages"]) for row in rows}


async def two_versions(shelf: Shelf, ann: Member) -> tuple[UUID, UUID, UUID]:
    """A document in a collection whose first version is indexed and superseded; the contents, the old one first."""
    _, documents = await shelf.fill(ann, {"boat.txt": OLD})
    (old,) = await indexed(shelf, ann)
    await shelf.put_version(ann, documents["boat.txt"], NEW)
    (new,) = set(await indexed(shelf, ann)) - {old}
    return documents["boat.txt"], old, new


@pytest.fixture
async def ann(make_scope: MakeScope) -> Member:
    return await make_scope()


async def test_what_is_superseded_leaves_the_index_and_comes_back(
    shelf: Shelf, ann: Member
) -> None:
    document, old, new = await two_versions(shelf, ann)
    await shelf.run_jobs(ann)
    assert await indexed(shelf, ann) == {old: ("unindexed", 0), new: ("indexed", 1)}
    await shelf.versions.restore(ann, document, 1, None)
    await shelf.run_jobs(ann)
    assert await indexed(shelf, ann) == {old: ("indexed", 1), new: ("unindexed", 0)}


async def test_what_is_current_elsewhere_stays(shelf: Shelf, ann: Member) -> None:
    _, documents = await shelf.fill(ann, {"boat.txt": OLD, "copy.txt": OLD})
    (old,) = await indexed(shelf, ann)
    await shelf.put_version(ann, documents["boat.txt"], NEW)
    await shelf.run_jobs(ann)
    assert (await indexed(shelf, ann))[old] == ("indexed", 1)


async def test_what_is_superseded_before_it_was_indexed_never_is(shelf: Shelf, ann: Member) -> None:
    document = await shelf.put(ann, "boat.txt", OLD)
    await shelf.collections.create(ann, "papers", {}, [document])
    (old,) = await indexed(shelf, ann)
    indexing = await shelf.claim(ann)
    assert indexing is not None
    await shelf.put_version(ann, document, NEW)
    await shelf.run_jobs(ann)
    await shelf.handler(indexing).run(shelf.context(indexing))
    assert (await indexed(shelf, ann))[old] == ("unindexed", 0)


async def test_what_becomes_current_while_it_is_forgotten_is_indexed_again(
    shelf: Shelf, ann: Member
) -> None:
    document, old, _ = await two_versions(shelf, ann)
    async with shelf.database.transaction(ann) as transaction:
        await IndexRepository().forget_superseded(transaction, old)
        restoring = asyncio.create_task(shelf.versions.restore(ann, document, 1, None))
        await until_blocked(shelf.database)
    await restoring
    await shelf.run_jobs(ann)
    assert (await indexed(shelf, ann))[old] == ("indexed", 1)


async def test_what_has_just_become_current_is_not_forgotten(shelf: Shelf, ann: Member) -> None:
    document, old, _ = await two_versions(shelf, ann)
    repository, ids = DocumentRepository(), IdSource()
    async with shelf.database.transaction(ann) as transaction:
        await repository.insert_document_version(transaction, document, 3, old, ids.new())
        await repository.advance_document(transaction, document, 3)
        await IndexService(JobQueue(ids)).follow(transaction, ann, document)
        forgetting = asyncio.create_task(shelf.run_jobs(ann))
        await until_blocked(shelf.database)
    await forgetting
    assert (await indexed(shelf, ann))[old] == ("indexed", 1)
