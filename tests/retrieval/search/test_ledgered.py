"""What is done with documents and collections, and what is refused, is in the ledger: with it or not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from tests.stepping import until_blocked
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.collections.errors import DocumentSealedError
from undercroft.retrieval.collections.models import COLLECTION_PREFIX, Page
from undercroft.retrieval.search.models import Leg, SearchQuery
from undercroft.vault.models import DOCUMENT_PREFIX, DocumentChanges


async def acts(database: Database, scope: Member) -> list[tuple[str, str, str]]:
    """What the tenant's log holds that has no number yet, in its order."""
    async with database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT action, resource, outcome, owner_id FROM ledger_pending ORDER BY xid, ordinal"
        )
    return [(row["action"], row["resource"], row["outcome"]) for row in rows]


async def test_uploads_downloads_searches_and_deletions_are_recorded(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"mill.txt": "The mill on the Alder."})
    document = documents["mill.txt"]
    name = render_id(DOCUMENT_PREFIX, document)
    await shelf.search.search(ann, SearchQuery((collection,), "mill", 5))
    await shelf.documents.read(ann, document)
    await shelf.documents.delete(ann, document)
    papers = render_id(COLLECTION_PREFIX, collection)
    assert await acts(shelf.database, ann) == [
        ("document.create", name, "allowed"),
        ("collection.create", papers, "allowed"),
        ("document.add_to_collection", name, "allowed"),
        ("collection.search", papers, "allowed"),
        ("document.search", name, "allowed"),
        ("document.read", name, "allowed"),
        ("document.delete", name, "allowed"),
    ]


async def test_what_is_done_with_a_collection_is_recorded(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, of = await make_scope(), shelf.collections
    document = await shelf.put(ann, "mill.txt", "The mill on the Alder.")
    collection = (await of.create(ann, "papers", {})).id
    before = await acts(shelf.database, ann)
    await of.add(ann, collection, document, {})
    await shelf.run_jobs(ann)
    await of.update_member(ann, collection, document, {"year": 1921.0})
    assert await of.read_member(ann, collection, document) == ["The mill on the Alder."]
    await of.update(ann, collection, "letters", None)
    await shelf.search.search(
        ann, SearchQuery((collection,), "zeppelin", 5, frozenset({Leg.LEXICAL}))
    )
    await of.remove(ann, collection, document)
    await of.delete(ann, collection)
    papers, name = render_id(COLLECTION_PREFIX, collection), render_id(DOCUMENT_PREFIX, document)
    assert (await acts(shelf.database, ann))[len(before) :] == [
        ("collection.add_document", papers, "allowed"),
        ("document.add_to_collection", name, "allowed"),
        ("collection.update_document", papers, "allowed"),
        ("document.read", name, "allowed"),
        ("collection.update", papers, "allowed"),
        ("collection.search", papers, "allowed"),
        ("collection.remove_document", papers, "allowed"),
        ("document.remove_from_collection", name, "allowed"),
        ("collection.delete", papers, "allowed"),
    ]


async def test_refusals_of_collections_and_of_documents_for_them_are_recorded(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, stranger, of = await make_scope(), await make_scope(), shelf.collections
    colleague = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, {"mill.txt": "The mill on the Alder."})
    document, missing = documents["mill.txt"], IdSource().new()
    own = (await of.create(colleague, "mine", {})).id
    papers, name = render_id(COLLECTION_PREFIX, collection), render_id(DOCUMENT_PREFIX, document)
    attempts: list[tuple[str, str, Callable[[Member, UUID, UUID], Awaitable[object]]]] = [
        ("collection.read", papers, lambda s, c, _: of.get(s, c)),
        ("collection.read", papers, of.read_member),
        ("collection.update", papers, lambda s, c, _: of.update(s, c, "stolen", None)),
        ("collection.delete", papers, lambda s, c, _: of.delete(s, c)),
        ("collection.add_document", papers, lambda s, c, d: of.add(s, c, d, {})),
        ("collection.update_document", papers, lambda s, c, d: of.update_member(s, c, d, {})),
        ("collection.remove_document", papers, of.remove),
        (
            "collection.search",
            papers,
            lambda s, c, _: shelf.search.search(s, SearchQuery((c,), "mill", 5)),
        ),
        ("collection.search", papers, lambda s, c, _: shelf.search.require_collections(s, [c])),
        ("collection.create", name, lambda s, _, d: of.create(s, "stolen", {}, [d])),
        ("collection.add_document", name, lambda s, _, d: of.add(s, own, d, {})),
    ]
    before = await acts(shelf.database, ann)
    for _, _, attempt in attempts:
        for scope, ids in (
            (stranger, (collection, document)),
            (colleague, (missing, missing)),
            (colleague, (collection, document)),
        ):
            with pytest.raises(NotFoundError):
                await attempt(scope, *ids)
    assert (await acts(shelf.database, ann))[len(before) :] == [
        (action, refused, "denied")
        for action, resource, _ in attempts
        for refused in (f"tenant_{ann.tenant_id.hex}", resource)
    ]
    assert await acts(shelf.database, stranger) == [
        (action, f"tenant_{stranger.tenant_id.hex}", "denied") for action, _, _ in attempts
    ]


async def test_a_sealed_document_is_refused_to_collections_on_record(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    document = await shelf.put(ann, "mill.txt", "The mill on the Alder.")
    collection = (await shelf.collections.create(ann, "papers", {})).id
    await shelf.documents.update(ann, document, DocumentChanges(is_sealed=True), None)
    with pytest.raises(DocumentSealedError):
        await shelf.collections.add(ann, collection, document, {})
    papers = render_id(COLLECTION_PREFIX, collection)
    assert (await acts(shelf.database, ann))[-1] == ("collection.add_document", papers, "denied")


async def test_of_two_who_delete_a_collection_at_once_one_is_recorded(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection = (await shelf.collections.create(ann, "papers", {})).id
    async with shelf.database.transaction(ann) as first:
        await first.execute("DELETE FROM collections WHERE id = $1", collection)
        second = asyncio.create_task(shelf.collections.delete(ann, collection))
        await until_blocked(shelf.database)
    with pytest.raises(NotFoundError):
        await second
    assert await acts(shelf.database, ann) == [
        ("collection.create", render_id(COLLECTION_PREFIX, collection), "allowed"),
        ("collection.delete", f"tenant_{ann.tenant_id.hex}", "denied"),
    ]


async def test_refusals_are_recorded_those_of_what_is_not_there_on_the_tenant(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    colleague = await make_scope(ann.tenant_id, role="admin")
    document = await shelf.put(ann, "mill.txt", "The mill on the Alder.")
    name = render_id(DOCUMENT_PREFIX, document)
    for attempt in (shelf.documents.get, shelf.documents.read, shelf.documents.delete):
        for other in (colleague, stranger):
            with pytest.raises(NotFoundError):
                await attempt(other, document)
        with pytest.raises(NotFoundError):
            await attempt(colleague, IdSource().new())
    actions = ("document.read", "document.read", "document.delete")
    assert (await acts(shelf.database, ann))[1:] == [
        (action, resource, "denied")
        for action in actions
        for resource in (name, f"tenant_{ann.tenant_id.hex}")
    ]
    assert await acts(shelf.database, stranger) == [
        (action, f"tenant_{stranger.tenant_id.hex}", "denied") for action in actions
    ]


async def test_where_the_ledger_cannot_be_written_nothing_happens(
    shelf: Shelf, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"mill.txt": "The mill on the Alder."})
    document = documents["mill.txt"]
    owner = await asyncpg.connect(database_urls.migration)
    await owner.execute("REVOKE INSERT ON ledger_pending FROM undercroft_app")
    await owner.close()
    before = await acts(shelf.database, ann)
    for attempt in (
        lambda: shelf.put(ann, "boat.txt", "A ferry."),
        lambda: shelf.documents.read(ann, document),
        lambda: shelf.documents.delete(ann, document),
        lambda: shelf.search.search(ann, SearchQuery((collection,), "mill", 5)),
        lambda: shelf.collections.create(ann, "letters", {}),
        lambda: shelf.collections.update(ann, collection, "letters", None),
        lambda: shelf.collections.remove(ann, collection, document),
        lambda: shelf.collections.delete(ann, collection),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attempt()
    assert [kept.filename for kept in await shelf.documents.list_documents(ann, limit=9)] == [
        "mill.txt"
    ]
    (kept,) = await shelf.collections.list_collections(ann, Page(limit=9))
    assert (kept.name, kept.counts.total) == ("papers", 1)
    assert await acts(shelf.database, ann) == before
