"""What is done with documents, and what is refused, is in the ledger: with it or not at all."""

import asyncpg
import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from undercroft.kit.database import Database
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource, render_id
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.search.models import SearchQuery
from undercroft.vault.service import DOCUMENT_PREFIX


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
    assert await acts(shelf.database, ann) == [
        (f"document.{what}", name, "allowed") for what in ("create", "search", "read", "delete")
    ]


async def test_refusals_are_recorded_and_what_is_not_there_is_not(
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
    assert (await acts(shelf.database, ann))[1:] == [
        (action, name, "denied") for action in ("document.read", "document.read", "document.delete")
    ]
    assert await acts(shelf.database, stranger) == []


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
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attempt()
    assert [kept.filename for kept in await shelf.documents.list_documents(ann, limit=9)] == [
        "mill.txt"
    ]
    assert await acts(shelf.database, ann) == before
