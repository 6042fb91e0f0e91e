"""An edited document: only what has changed is embedded, and what is taken over is of the same text."""

import asyncio
from uuid import UUID

import numpy as np
import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.index.test_superseded import indexed
from tests.shelf import Shelf
from tests.stepping import until_blocked
from undercroft.retrieval.halfvec import read_vector
from undercroft.retrieval.index.repository import IndexRepository

PARTS = [
    f"# Part {number}\n\n"
    + " ".join(f"Sentence {number}.{n} is about part {number}." for n in range(25))
    for number in range(6)
]
LETTER = "\n\n".join(PARTS)
EDITED = LETTER.replace("Sentence 2.3 is about part 2.", "Sentence 2.3 was changed.")


@pytest.fixture
async def ann(make_scope: MakeScope) -> Member:
    return await make_scope()


async def vectors(shelf: Shelf, scope: Member, blob_id: UUID) -> np.ndarray:
    async with shelf.database.transaction(scope) as transaction:
        rows = await transaction.fetch(
            "SELECT e.embedding::text AS vector FROM chunks AS c"
            " JOIN chunk_embeddings AS e ON e.chunk_id = c.id WHERE c.blob_id = $1 ORDER BY c.ordinal",
            blob_id,
        )
    return np.stack([read_vector(row["vector"]) for row in rows])


async def test_only_what_has_changed_is_embedded_again(shelf: Shelf, ann: Member) -> None:
    _, documents = await shelf.fill(ann, {"letter.md": LETTER})
    first = list(shelf.embedder.asked)
    (old,) = await indexed(shelf, ann)
    before = await vectors(shelf, ann, old)
    shelf.embedder.asked.clear()
    await shelf.put_version(ann, documents["letter.md"], EDITED, "letter.md")
    await shelf.run_jobs(ann)
    changed = list(shelf.embedder.asked)
    assert any("was changed" in text for text in changed)
    assert all("about part 2." in text for text in changed), "sections are cut on their own"
    assert len(first) >= len(PARTS)
    (new,) = set(await indexed(shelf, ann)) - {old}
    assert await indexed(shelf, ann) == {old: ("unindexed", 0), new: ("indexed", len(first))}
    after = await vectors(shelf, ann, new)
    kept = [np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    assert kept.count(False) == len(changed)
    texts = [text for text in first if "about part 2." not in text]
    others = np.array(["about part 2." not in text for text in first])
    # Not equal: what a quantised model makes of a text varies a little with what else is in its batch.
    assert np.sum(after[others] * await shelf.embedder.embed(texts), axis=1).min() > 0.99


async def test_what_another_owner_has_is_not_taken_over(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    await shelf.fill(bob, {"letter.md": LETTER})
    await shelf.fill(ann, {"letter.md": LETTER})
    assert len(shelf.embedder.asked) == 2 * len(set(shelf.embedder.asked))


async def test_what_is_damaged_in_the_earlier_version_is_embedded_again(
    shelf: Shelf, ann: Member
) -> None:
    _, documents = await shelf.fill(ann, {"letter.md": LETTER})
    async with shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE chunks SET sealed_text = 'x' WHERE ordinal = 1")
    shelf.embedder.asked.clear()
    await shelf.put_version(ann, documents["letter.md"], EDITED)
    await shelf.run_jobs(ann)
    assert len(shelf.embedder.asked) >= len(PARTS)


async def test_a_version_that_cannot_be_read_takes_the_earlier_one_out_of_the_index(
    shelf: Shelf, ann: Member
) -> None:
    _, documents = await shelf.fill(ann, {"letter.md": LETTER})
    (old,) = await indexed(shelf, ann)
    await shelf.put_version(ann, documents["letter.md"], "%PDF-1.7\nnothing of a PDF")
    await shelf.run_jobs(ann)
    (new,) = set(await indexed(shelf, ann)) - {old}
    assert await indexed(shelf, ann) == {old: ("unindexed", 0), new: ("failed", 0)}


async def test_a_document_that_follows_while_its_content_is_being_stored_is_not_missed(
    shelf: Shelf, ann: Member
) -> None:
    """The job holds the content's row until it commits: the version waits, sees it indexed, and forgets by itself."""
    _, documents = await shelf.fill(ann, {"letter.md": LETTER, "copy.md": "An older text."})
    await shelf.put_version(ann, documents["letter.md"], EDITED)
    before = await indexed(shelf, ann)
    (new,) = [blob for blob, (state, _) in before.items() if state == "pending"]
    repository = IndexRepository()
    async with shelf.database.transaction(ann) as transaction:
        assert await repository.lock_pending_blob(transaction, new)
        following = asyncio.create_task(shelf.put_version(ann, documents["copy.md"], EDITED))
        await until_blocked(shelf.database)
        await repository.mark_indexed(transaction, new)
        listed = await repository.list_superseded_by(transaction, new)
    await following
    await shelf.run_jobs(ann)
    after = await indexed(shelf, ann)
    (copy,) = [blob for blob, (state, count) in before.items() if state == "indexed" and count == 1]
    assert copy not in listed
    assert after[copy] == ("unindexed", 0)
