"""Collections are their owner's, hold what is there, and stay true while documents and collections come and go."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from tests.stepping import until_blocked
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.retrieval.collections.models import MemberStatus, Page
from undercroft.retrieval.collections.repository import CollectionRepository
from undercroft.vault.repository import DocumentRepository

REPOSITORY = CollectionRepository()
DOCUMENTS = DocumentRepository()
ALL = Page(limit=100)


async def put(shelf: Shelf, scope: Member, *texts: str) -> list[UUID]:
    return [await shelf.put(scope, f"{number}.txt", text) for number, text in enumerate(texts)]


async def test_a_collection_is_made_whole_or_not_at_all(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, bob = await make_scope(), await make_scope()
    (mine,), (theirs,) = await put(shelf, ann, "Mine."), await put(shelf, bob, "Theirs.")
    for missing in (theirs, IdSource().new()):
        with pytest.raises(NotFoundError) as refused:
            await shelf.collections.create(ann, "papers", {}, [mine, missing])
        assert missing.hex in refused.value.message
    assert await shelf.collections.list_collections(ann, ALL) == []
    assert await shelf.claim(ann) is None, "nothing is indexed for a collection that was not made"
    made = await shelf.collections.create(ann, "papers", {"year": "1921"}, [mine, mine])
    assert (made.counts.total, made.metadata, made.byte_size) == (1, {"year": "1921"}, 5)


async def test_nobody_else_can_do_anything_with_it(shelf: Shelf, make_scope: MakeScope) -> None:
    ann, stranger = await make_scope(), await make_scope()
    colleague = await make_scope(ann.tenant_id, role="admin")
    (document,) = await put(shelf, ann, "Mine.")
    collection = (await shelf.collections.create(ann, "papers", {}, [document])).id
    of = shelf.collections
    for other in (stranger, colleague):
        (own,) = await put(shelf, other, "Theirs.")
        own_collection = (await of.create(other, "other", {}, [])).id
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda s=other: of.get(s, collection),
            lambda s=other: of.update(s, collection, "stolen", None),
            lambda s=other: of.delete(s, collection),
            lambda s=other, d=own: of.add(s, collection, d, {}),
            lambda s=other, c=own_collection: of.add(s, c, document, {}),
            lambda s=other: of.list_members(s, collection, ALL, None),
            lambda s=other: of.get_member(s, collection, document),
            lambda s=other: of.update_member(s, collection, document, {"stolen": True}),
            lambda s=other: of.remove(s, collection, document),
            lambda s=other: of.read_member(s, collection, document),
        ]
        for attempt in attempts:
            with pytest.raises(NotFoundError):
                await attempt()
        assert [it.name for it in await of.list_collections(other, ALL)] == ["other"]
    assert (await of.get(ann, collection)).name == "papers"
    assert (await of.get_member(ann, collection, document)).attributes == {}


async def test_memberships_documents_and_collections_go_their_own_ways(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first, second, third = await put(shelf, ann, "One.", "Two.", "Three.")
    collection = (await shelf.collections.create(ann, "papers", {}, [first, second, third])).id
    await shelf.collections.remove(ann, collection, first)
    assert await shelf.documents.get(ann, first)
    await shelf.documents.delete(ann, second)
    assert (await shelf.collections.get(ann, collection)).counts.total == 1
    for gone in (first, second):
        with pytest.raises(NotFoundError):
            await shelf.collections.remove(ann, collection, gone)
    await shelf.collections.delete(ann, collection)
    assert await shelf.documents.get(ann, third)


async def test_members_are_counted_and_listed_by_what_became_of_them(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    good, broken = await put(shelf, ann, "Good.", "Bad.")
    collection = (await shelf.collections.create(ann, "papers", {}, [good])).id
    await shelf.run_jobs(ann)
    broken = await shelf.put(ann, "broken.pdf", b"%PDF-1.7\ncut off")
    await shelf.collections.add(ann, collection, broken, {})
    await shelf.run_jobs(ann)
    (waiting,) = await put(shelf, ann, "Waiting.")
    await shelf.collections.add(
        ann, collection, waiting, {"kind": "letter", "page": 2.5, "new": True}
    )
    counts = (await shelf.collections.get(ann, collection)).counts
    assert (counts.completed, counts.failed, counts.in_progress, counts.total) == (1, 1, 1, 3)
    for status, expected in (
        (MemberStatus.COMPLETED, good),
        (MemberStatus.FAILED, broken),
        (MemberStatus.IN_PROGRESS, waiting),
    ):
        (member,) = await shelf.collections.list_members(ann, collection, ALL, status)
        assert (member.document_id, member.status) == (expected, status)
    assert member.attributes == {"kind": "letter", "page": 2.5, "new": True}
    assert await shelf.collections.read_member(ann, collection, good) == ["Good."]
    assert await shelf.collections.read_member(ann, collection, waiting) == []


async def test_pages_meet_without_a_gap_in_both_directions(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    documents = await put(shelf, ann, *(f"Number {number}." for number in range(5)))
    made = [(await shelf.collections.create(ann, str(n), {}, documents)).id for n in range(5)]
    for ascending in (True, False):
        collections: list[UUID] = []
        members: list[UUID] = []
        while found := await shelf.collections.list_collections(
            ann, Page(2, collections[-1] if collections else None, ascending)
        ):
            collections += [collection.id for collection in found]
        while listed := await shelf.collections.list_members(
            ann, made[0], Page(2, members[-1] if members else None, ascending), None
        ):
            members += [member.document_id for member in listed]
        assert collections == sorted(made, reverse=not ascending)
        assert members == sorted(documents, reverse=not ascending)


async def test_an_update_changes_what_is_given(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    made = await shelf.collections.create(ann, "papers", {"a": "1"})
    renamed = await shelf.collections.update(ann, made.id, "letters", None)
    assert (renamed.name, renamed.metadata) == ("letters", {"a": "1"})
    changed = await shelf.collections.update(ann, made.id, None, {})
    assert (changed.name, changed.metadata) == ("letters", {})
    assert changed.last_active_at > made.last_active_at


async def test_nothing_is_added_to_a_collection_that_is_being_deleted(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    (document,) = await put(shelf, ann, "Mine.")
    collection = (await shelf.collections.create(ann, "papers", {})).id
    async with shelf.database.transaction(ann) as transaction:
        assert await REPOSITORY.delete_collection(transaction, collection)
        adding = asyncio.create_task(shelf.collections.add(ann, collection, document, {}))
        await until_blocked(shelf.stepped)
    with pytest.raises(NotFoundError, match="vector store"):
        await adding


async def test_a_collection_that_is_being_added_to_is_deleted_afterwards(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    (document,) = await put(shelf, ann, "Mine.")
    collection = (await shelf.collections.create(ann, "papers", {})).id
    async with shelf.database.transaction(ann) as transaction:
        assert await REPOSITORY.lock_collection(transaction, collection)
        deleting = asyncio.create_task(shelf.collections.delete(ann, collection))
        await until_blocked(shelf.stepped)
        assert await REPOSITORY.insert_member(transaction, collection, document, {})
    await deleting
    async with shelf.database.transaction(ann) as transaction:
        assert await transaction.fetchval("SELECT count(*) FROM collection_documents") == 0
    assert await shelf.documents.get(ann, document)


async def test_a_document_that_is_being_deleted_is_not_added(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    (document,) = await put(shelf, ann, "Mine.")
    collection = (await shelf.collections.create(ann, "papers", {})).id
    async with shelf.database.transaction(ann) as transaction:
        (blob_id,) = await DOCUMENTS.delete_document(transaction, document)
        adding = asyncio.create_task(shelf.collections.add(ann, collection, document, {}))
        await until_blocked(shelf.stepped)
        assert await DOCUMENTS.delete_unused_blob(transaction, blob_id)
    with pytest.raises(NotFoundError, match="file-"):
        await adding


async def test_adding_two_documents_of_one_content_does_not_deadlock_with_the_delete_of_one(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first, second = sorted(await put(shelf, ann, "The same.", "The same."))
    async with shelf.database.transaction(ann) as deleting:
        # What delete_document does, in its two steps: the document, then its content.
        await deleting.execute("DELETE FROM documents WHERE id = $1", second)
        creating = asyncio.create_task(shelf.collections.create(ann, "papers", {}, [first, second]))
        await until_blocked(shelf.stepped)
        await deleting.execute("SELECT id FROM blobs FOR UPDATE")
    with pytest.raises(NotFoundError):
        await creating
