"""A content becomes searchable once and whole, or not at all; whatever is taken over, deleted or broken meanwhile."""

import asyncio
from uuid import UUID

import asyncpg
import numpy as np
import pytest

from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from tests.stepping import Gate, until_blocked
from undercroft.jobs.errors import FencedError, JobFailedError
from undercroft.jobs.models import Claim, JobFailure
from undercroft.kit.errors import NotFoundError, UnavailableError
from undercroft.kit.postgres.server import DatabaseUrls
from undercroft.retrieval.collections.models import Member as Membership
from undercroft.retrieval.collections.models import MemberStatus, Page
from undercroft.retrieval.index.repository import IndexRepository
from undercroft.retrieval.passages import PassagePlace, open_passage

INDEX_TABLES = ("chunks", "chunk_embeddings", "term_statistics")
REPOSITORY = IndexRepository()
LETTER = "# Rent\n\nThe monthly rent is £1,250.00. 🏠\n\n# Deposit\n\nThe deposit is held by Maria Lopez.\n"
BROKEN_PDF = b"%PDF-1.7\nThis is where the file was cut off."


async def add(
    shelf: Shelf, scope: Member, filename: str, content: str | bytes
) -> tuple[UUID, UUID]:
    """A document that waits to be indexed: its collection and its id."""
    document_id = await shelf.put(scope, filename, content)
    collection = await shelf.collections.create(scope, "papers", {}, [document_id])
    return collection.id, document_id


async def claimed(shelf: Shelf, scope: Member, state: str = "queued") -> Claim:
    claim = await shelf.claim(scope, state)
    assert claim is not None
    return claim


async def counts(shelf: Shelf, scope: Member) -> dict[str, int]:
    async with shelf.database.transaction(scope) as transaction:
        return {
            table: await transaction.fetchval(f"SELECT count(*) FROM {table}")
            for table in INDEX_TABLES
        }


async def state(shelf: Shelf, scope: Member) -> str | None:
    async with shelf.database.transaction(scope) as transaction:
        return await transaction.fetchval("SELECT index_state FROM blobs")


async def test_chunks_are_slices_of_the_text_they_came_from(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    text = "\n\n".join(
        f"# Part {part}\n\n"
        + " ".join(f"Sentence {part}.{n} has a naïve 🦆 in it." for n in range(60))
        for part in range(4)
    )
    collection_id, (document_id,) = await _filled(shelf, ann, text)
    async with shelf.database.transaction(ann) as transaction:
        rows = await transaction.fetch(
            "SELECT c.tenant_id, c.blob_id, c.ordinal, c.start_offset, c.end_offset, c.sealed_text, b.data_key_id,"
            " e.embedding::text AS vector"
            " FROM chunks AS c JOIN blobs AS b ON b.id = c.blob_id JOIN chunk_embeddings AS e ON e.chunk_id = c.id"
            " ORDER BY c.ordinal"
        )
        key = await shelf.keys.read(transaction, rows[0]["data_key_id"])
    assert key is not None
    document = await shelf.tasks._sandbox.extract(text.encode(), "text/markdown")
    assert len(rows) > 8
    assert [row["ordinal"] for row in rows] == list(range(len(rows)))
    for row in rows:
        place = PassagePlace(row["tenant_id"], row["blob_id"], row["ordinal"])
        passage = open_passage(key.material, place, row["sealed_text"])
        assert document.text[row["start_offset"] : row["end_offset"]] == passage.text
        assert passage.headings == (f"Part {passage.text.partition('Sentence ')[2][0]}",)
        norm = np.linalg.norm(np.fromstring(row["vector"][1:-1], sep=","))
        assert norm == pytest.approx(1.0, abs=0.01)
    covered = "".join(await shelf.collections.read_member(ann, collection_id, document_id))
    assert "Sentence 3.59" in covered


async def test_the_last_document_takes_all_that_was_derived_with_it(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    first, second = [await shelf.put(ann, f"{name}.md", LETTER) for name in "ab"]
    await shelf.collections.create(ann, "papers", {}, [first, second])
    await shelf.run_jobs(ann)
    indexed = await counts(shelf, ann)
    assert min(indexed.values()) > 0
    assert len(shelf.files()) == 1
    await shelf.documents.delete(ann, first)
    assert await counts(shelf, ann) == indexed
    assert len(shelf.files()) == 1
    await shelf.documents.delete(ann, second)
    assert set((await counts(shelf, ann)).values()) == {0}
    assert await state(shelf, ann) is None
    assert shelf.files() == []


async def test_the_same_content_is_indexed_once(shelf: Shelf, make_scope: MakeScope) -> None:
    ann, bob = await make_scope(), await make_scope()
    for owner in (ann, bob):
        for _ in range(2):
            await add(shelf, owner, "letter.md", LETTER)
        async with shelf.database.transaction(owner) as transaction:
            assert await transaction.fetchval("SELECT count(*) FROM jobs") == 1
        await shelf.run_jobs(owner)
        await add(shelf, owner, "letter.md", LETTER)
        assert await shelf.claim(owner) is None, "it is indexed already"
    assert await counts(shelf, ann) == await counts(shelf, bob)


async def test_an_attempt_that_was_taken_over_writes_nothing(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await add(shelf, ann, "letter.md", LETTER)
    stale = await claimed(shelf, ann)
    gate = shelf.stepped.step(stop_before=2)  # the one that stores
    attempt = asyncio.create_task(shelf.tasks.index_blob(shelf.context(stale)))
    await gate.wait_until_reached()
    current = await claimed(shelf, ann, "running")
    assert current.fence > stale.fence
    gate.open()
    with pytest.raises(FencedError):
        await attempt
    assert set((await counts(shelf, ann)).values()) == {0}
    assert await state(shelf, ann) == "pending"
    await shelf.tasks.index_blob(shelf.context(current))
    assert await state(shelf, ann) == "indexed"
    once = await counts(shelf, ann)
    with pytest.raises(FencedError):
        await shelf.tasks.index_blob(shelf.context(stale))
    assert await counts(shelf, ann) == once


async def test_an_attempt_that_was_taken_over_does_not_mark_a_failure(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await add(shelf, ann, "broken.pdf", BROKEN_PDF)
    stale = await claimed(shelf, ann)
    gate = shelf.stepped.step(stop_before=2)
    attempt = asyncio.create_task(shelf.tasks.index_blob(shelf.context(stale)))
    await gate.wait_until_reached()
    await claimed(shelf, ann, "running")
    gate.open()
    with pytest.raises(FencedError):
        await attempt
    assert await state(shelf, ann) == "pending"


async def test_a_document_deleted_while_it_is_embedded_gets_no_chunks(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    _, document_id = await add(shelf, ann, "letter.md", LETTER)
    claim = await claimed(shelf, ann)
    gate = shelf.embedder.gate = Gate()
    attempt = asyncio.create_task(shelf.tasks.index_blob(shelf.context(claim)))
    await gate.wait_until_reached()
    await shelf.documents.delete(ann, document_id)
    gate.open()
    await attempt
    assert set((await counts(shelf, ann)).values()) == {0}
    assert await state(shelf, ann) is None
    assert shelf.files() == []


async def test_a_delete_during_the_storing_waits_and_then_takes_it_all(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    _, document_id = await add(shelf, ann, "letter.md", LETTER)
    async with shelf.database.transaction(ann) as transaction:
        blob_id = await transaction.fetchval("SELECT id FROM blobs")
        assert await REPOSITORY.lock_pending_blob(transaction, blob_id)
        deleting = asyncio.create_task(shelf.documents.delete(ann, document_id))
        await until_blocked(shelf.stepped)
        await REPOSITORY.mark_indexed(transaction, blob_id)
    await deleting
    with pytest.raises(NotFoundError):
        await shelf.documents.get(ann, document_id)
    assert await state(shelf, ann) is None


async def test_a_file_that_cannot_be_read_says_why_and_is_tried_again_when_added_again(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection_id, document_id = await add(shelf, ann, "broken.pdf", BROKEN_PDF)
    await shelf.run_jobs(ann)
    (member,) = await shelf.collections.list_members(
        ann, collection_id, Page(10), MemberStatus.FAILED
    )
    assert member.error_code == "corrupt_file"
    assert member.error_message
    assert (await shelf.documents.get(ann, document_id)).index_error == member.error_message
    assert set((await counts(shelf, ann)).values()) == {0}
    again: Membership = await shelf.collections.add(ann, collection_id, document_id, {})
    assert again.status is MemberStatus.IN_PROGRESS
    assert again.error_code is None
    assert await shelf.claim(ann) is not None


async def test_an_embedder_that_is_down_leaves_the_content_waiting(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await add(shelf, ann, "letter.md", LETTER)
    claim = await claimed(shelf, ann)
    await shelf.embedder.close()
    with pytest.raises(UnavailableError):
        await shelf.tasks.index_blob(shelf.context(claim))
    assert await state(shelf, ann) == "pending"
    assert set((await counts(shelf, ann)).values()) == {0}


async def test_a_job_that_is_given_up_marks_its_content_and_nothing_that_is_indexed(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await add(shelf, ann, "letter.md", LETTER)
    claim = await claimed(shelf, ann)
    failure = JobFailure("attempts_exhausted", "The job was given up.")
    for mark, expected in ((True, "failed"), (False, "indexed")):
        async with shelf.database.transaction(ann) as transaction:
            if not mark:
                await transaction.execute(
                    "UPDATE blobs SET index_state = 'indexed', index_error_code = NULL, index_error_message = NULL"
                )
            await shelf.handler(claim).on_dead(transaction, claim, claim.payload, failure)
        assert await state(shelf, ann) == expected


async def test_an_unregistered_model_is_named(
    shelf: Shelf, make_scope: MakeScope, database_urls: DatabaseUrls
) -> None:
    ann = await make_scope()
    await add(shelf, ann, "letter.md", LETTER)
    owner = await asyncpg.connect(database_urls.migration)
    try:
        await owner.execute("UPDATE embedding_models SET name = 'another'")
    finally:
        await owner.close()
    with pytest.raises(JobFailedError) as failed:
        await shelf.run_jobs(ann)
    assert failed.value.code == "model_not_registered"
    assert set((await counts(shelf, ann)).values()) == {0}


async def test_weights_follow_the_average_length(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    await _filled(shelf, ann, "A short note.")
    assert await _stale_weights(shelf, ann) == 0
    long = " ".join(f"Paragraph {n} tells of word{n} and of word{n + 1}." for n in range(40))
    document_id = await shelf.put(ann, "long.txt", long)
    await shelf.collections.create(ann, "more", {}, [document_id])
    claim = await claimed(shelf, ann)
    await shelf.tasks.index_blob(shelf.context(claim))
    assert await _stale_weights(shelf, ann) == await _count_chunks(shelf, ann)
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute(
            "UPDATE jobs SET state = 'succeeded', finished_at = now() WHERE state = 'running'"
        )
        kinds = await transaction.fetch("SELECT kind FROM jobs WHERE state = 'queued'")
    assert [row["kind"] for row in kinds] == ["reweight_terms"]
    await shelf.run_jobs(ann)
    assert await _stale_weights(shelf, ann) == 0


async def test_weights_are_renewed_batch_by_batch_to_the_last_chunk(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    await _filled(shelf, ann, " ".join(f"Sentence {n} tells of word{n}." for n in range(150)))
    chunks = await _count_chunks(shelf, ann)
    assert chunks >= 5
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE corpus_statistics SET term_total = term_total * 3")
        average = await REPOSITORY.renew_average(transaction)
        assert average is not None
        last: int | None = 0
        batches = 0
        while (
            last := await REPOSITORY.reweight_chunks(transaction, average, last or 0, 2)
        ) is not None:
            batches += 1
        assert batches == -(-chunks // 2)
    assert await _stale_weights(shelf, ann) == 0


async def test_renewing_weights_passes_by_what_is_being_deleted(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    """It holds locks on many chunks: if it also waited for some, a delete that waits for others would deadlock."""
    ann = await make_scope()
    await _filled(shelf, ann, LETTER)
    async with (
        shelf.database.transaction(ann) as deleting,
        shelf.stepped.transaction(ann) as reweighting,
    ):
        await deleting.execute("DELETE FROM documents")
        await deleting.execute("DELETE FROM blobs")
        async with asyncio.timeout(60):
            assert await REPOSITORY.reweight_chunks(reweighting, 3.0, 0, 100) is None


async def _filled(shelf: Shelf, scope: Member, text: str) -> tuple[UUID, list[UUID]]:
    collection_id, documents = await shelf.fill(scope, {"letter.md": text})
    return collection_id, list(documents.values())


async def _count_chunks(shelf: Shelf, scope: Member) -> int:
    return (await counts(shelf, scope))["chunks"]


async def _stale_weights(shelf: Shelf, scope: Member) -> int:
    """How many chunks are weighted with another average than the current one."""
    async with shelf.database.transaction(scope) as transaction:
        return await transaction.fetchval(
            "SELECT count(*) FROM chunks AS c, corpus_statistics AS s"
            " WHERE c.terms <> bm25_weights(c.lexemes, (s.term_total::real / s.chunk_count)::real)"
        )
