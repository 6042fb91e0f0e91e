"""One damaged row neither hides the others nor stays for ever."""

import pytest

from tests.conftest import MakeScope
from tests.shelf import Shelf
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.retrieval.collections.models import Page
from undercroft.retrieval.search.models import SearchQuery

DAMAGE = {
    "data key": "UPDATE data_keys SET wrapped_key = sha256('') || substr(wrapped_key, 33) WHERE id ="
    " (SELECT data_key_id FROM {table} WHERE id = $1)",
    "name": "UPDATE {table} SET sealed_name = sha256('') || substr(sealed_name, 33) WHERE id = $1",
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_document_is_listed_as_such_and_can_be_deleted(
    shelf: Shelf, make_scope: MakeScope, damage: str
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(
        ann, {"mill.txt": "The mill on the Alder.", "boat.txt": "The mill and its boat."}
    )
    damaged = documents["mill.txt"]
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(DAMAGE[damage].format(table="documents"), damaged)
    listed = await shelf.documents.list_documents(ann, limit=5)
    assert {each.id: each.filename for each in listed} == {
        damaged: "(unreadable)",
        documents["boat.txt"]: "boat.txt",
    }
    with pytest.raises(DecryptionError):
        await shelf.documents.get(ann, damaged)
    found = await shelf.search.search(ann, SearchQuery((collection,), "mill", 5))
    assert [passage.filename for passage in found.passages] == ["boat.txt"]
    await shelf.documents.delete(ann, damaged)
    assert len(await shelf.documents.list_documents(ann, limit=5)) == 1


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_collection_is_listed_as_such_and_can_be_deleted(
    shelf: Shelf, make_scope: MakeScope, damage: str
) -> None:
    ann = await make_scope()
    broken = await shelf.collections.create(ann, "papers", {})
    await shelf.collections.create(ann, "letters", {})
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(DAMAGE[damage].format(table="collections"), broken.id)
    page = Page(limit=5)
    listed = await shelf.collections.list_collections(ann, page)
    assert sorted(each.name for each in listed) == ["(unreadable)", "letters"]
    await shelf.collections.delete(ann, broken.id)
    assert len(await shelf.collections.list_collections(ann, page)) == 1
