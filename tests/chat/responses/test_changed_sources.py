"""What search and kept answers show follows a document: its latest version, never while it is deleted or sealed."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from tests.chat.responses.test_sources import ANSWER, RENT, id_of, request, service
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope, Member
from tests.documents import make_trash
from tests.shelf import Shelf
from tests.stepping import Gate
from undercroft.chat.responses.errors import SourceErasedError
from undercroft.chat.sources import REDACTED
from undercroft.kit.database import Transaction
from undercroft.retrieval.collections.errors import DocumentSealedError
from undercroft.retrieval.search.models import SearchQuery
from undercroft.vault.models import DocumentChanges

NEWER = "The monthly rent is £1,400.00 from now on."


async def found(shelf: Shelf, scope: Member, collection: UUID) -> list[tuple[UUID, int, str]]:
    result = await shelf.search.search(scope, SearchQuery((collection,), "monthly rent", 10))
    return [(each.document_id, each.document_version, each.text) for each in result.passages]


async def count(shelf: Shelf, scope: Member, table: str) -> int:
    async with shelf.database.transaction(scope) as transaction:
        return int(await transaction.fetchval(f"SELECT count(*) FROM {table}"))


async def test_a_membership_follows_the_latest_version(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    lease = documents["lease.txt"]
    await shelf.put_version(ann, lease, NEWER)
    assert await found(shelf, ann, collection) == [], "the old version is not the document"
    await shelf.run_jobs(ann)
    assert await found(shelf, ann, collection) == [(lease, 2, NEWER)]


async def test_what_is_deleted_is_found_again_when_it_is_restored(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    lease, trash = documents["lease.txt"], make_trash(shelf.documents)
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = await responses.create(ann, request(collection))
    await trash.put(ann, lease)
    assert await found(shelf, ann, collection) == []
    assert REDACTED in str(await responses.get(ann, id_of(made)))
    await trash.restore(ann, lease)
    assert await found(shelf, ann, collection) == [(lease, 1, RENT)]
    assert await responses.get(ann, id_of(made)) == made


async def test_sealing_takes_a_document_out_of_the_index(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    lease = documents["lease.txt"]
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = await responses.create(ann, request(collection))
    await shelf.documents.update(ann, lease, DocumentChanges(is_sealed=True), None)
    for table in ("chunks", "chunk_embeddings", "term_statistics", "collection_documents"):
        assert await count(shelf, ann, table) == 0, table
    assert REDACTED in str(await responses.get(ann, id_of(made)))
    with pytest.raises(DocumentSealedError):
        await shelf.collections.add(ann, collection, lease, {})
    await shelf.put_version(ann, lease, NEWER)
    await shelf.run_jobs(ann)
    assert await count(shelf, ann, "chunks") == 0
    await shelf.documents.update(ann, lease, DocumentChanges(is_sealed=False), None)
    await shelf.collections.add(ann, collection, lease, {})
    await shelf.run_jobs(ann)
    assert await found(shelf, ann, collection) == [(lease, 2, NEWER)]


async def test_a_content_that_an_open_document_has_as_well_stays_in_the_index(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    twin = await shelf.put(ann, "twin.txt", RENT)
    await shelf.collections.add(ann, collection, twin, {})
    await shelf.documents.update(ann, documents["lease.txt"], DocumentChanges(is_sealed=True), None)
    assert await found(shelf, ann, collection) == [(twin, 1, RENT)]


async def test_a_content_goes_from_the_index_with_the_last_open_document_that_has_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    sealed, twin = await shelf.put(ann, "sealed.txt", RENT), await shelf.put(ann, "twin.txt", RENT)
    await shelf.documents.update(ann, sealed, DocumentChanges(is_sealed=True), None)
    await shelf.collections.add(ann, collection, twin, {})
    await shelf.documents.delete(ann, documents["lease.txt"])
    assert await found(shelf, ann, collection) == [(twin, 1, RENT)]
    await shelf.documents.delete(ann, twin)
    for table in ("chunks", "chunk_embeddings", "term_statistics"):
        assert await count(shelf, ann, table) == 0, table
    await shelf.documents.update(ann, sealed, DocumentChanges(is_sealed=False), None)
    await shelf.collections.add(ann, collection, sealed, {})
    await shelf.run_jobs(ann)
    assert await found(shelf, ann, collection) == [(sealed, 1, RENT)]


async def test_what_is_sealed_while_it_is_indexed_does_not_get_into_the_index(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    lease = await shelf.put(ann, "lease.txt", RENT)
    await shelf.collections.create(ann, "papers", {}, [lease])
    claim = await shelf.claim(ann)
    assert claim is not None
    gate = shelf.stepped.step(2)  # it has parsed and embedded, and is about to store
    task = asyncio.create_task(shelf.tasks.index_blob(shelf.context(claim)))
    await gate.wait_until_reached()
    shelf.stepped.gate = None
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE documents SET is_sealed = true")
    gate.open()
    await task
    assert await count(shelf, ann, "chunks") == 0


async def key_ids(transaction: Transaction) -> set[UUID]:
    return {row["id"] for row in await transaction.fetch("SELECT id FROM data_keys")}


async def test_an_answer_goes_with_the_document_it_was_made_from(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT, "boat.txt": "A ferry."})
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = await responses.create(ann, request(collection))
    async with shelf.database.transaction(ann) as transaction:
        key_id = await transaction.fetchval("SELECT data_key_id FROM responses")
    await shelf.documents.delete(ann, documents["boat.txt"])
    async with shelf.database.transaction(ann) as transaction:
        assert key_id not in await key_ids(transaction)
        assert await transaction.fetchval("SELECT sealed_resource FROM responses") == b""
    with pytest.raises(SourceErasedError):
        await responses.get(ann, id_of(made))
    await responses.delete(ann, id_of(made))


async def test_an_answer_that_is_being_made_goes_as_well(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    gate = Gate()
    responses = service(shelf, ScriptedModel("The monthly rent ", "is £1,250.00.", gate=gate))
    ids: list[UUID] = []
    last: list[dict[str, Any]] = []
    async for event in responses.stream(ann, request(collection)):
        last = [*last[-1:], event]
        if event["type"] == "response.created":
            ids.append(id_of(event["response"]))
        if event["type"] == "response.output_text.delta" and documents:
            await gate.wait_until_reached()
            await shelf.documents.delete(ann, documents.pop("lease.txt"))
            gate.open()
    assert [event["type"] for event in last] == ["error", "response.failed"]
    assert last[0]["code"] == "source_erased"
    assert "The monthly rent" not in str(last)
    with pytest.raises(SourceErasedError):
        await responses.get(ann, ids[0])


async def test_an_answer_whose_source_went_between_the_search_and_its_record_is_not_kept(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(ann, {"lease.txt": RENT})
    responses = service(shelf, ScriptedModel(*ANSWER))
    made = id_of(await responses.create(ann, request(collection)))
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("DELETE FROM response_passages")
    await shelf.documents.delete(ann, documents["lease.txt"])
    assert await responses.get(ann, made), "nothing tells what it was made from"
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(
            "INSERT INTO response_passages (tenant_id, response_id, number, document_id, document_version,"
            " start_offset, end_offset, score) VALUES ($1, $2, 1, $3, 1, 0, 1, 1)",
            ann.tenant_id,
            made,
            documents["lease.txt"],
        )
    with pytest.raises(SourceErasedError):
        await responses.get(ann, made)
