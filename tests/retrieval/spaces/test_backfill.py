"""What was there before a model is embedded by it in the background, whatever else happens."""

import asyncio
from datetime import timedelta

import numpy as np
import pytest

from tests.conftest import MakeScope, Member
from tests.retrieval.spaces.conftest import PROJECTED, Move
from tests.stepping import Gate
from undercroft.retrieval.halfvec import read_vector
from undercroft.retrieval.spaces import backfill
from undercroft.retrieval.spaces.errors import BackfillIncompleteError
from undercroft.retrieval.spaces.models import BackfillState

PARTS = [
    f"# Part {number}\n\n"
    + " ".join(f"Sentence {number}.{n} is about part {number}." for n in range(12))
    for number in range(6)
]
LETTER = "\n\n".join(PARTS)
NO_TIME = timedelta(0)
"""A lease that is over when it is given."""


@pytest.fixture
async def ann(make_scope: MakeScope) -> Member:
    return await make_scope()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "_BATCH", 2)


async def begin(move: Move, ann: Member) -> None:
    await move.spaces.begin_backfill(ann.tenant_id, PROJECTED.name)


async def state(move: Move, ann: Member) -> BackfillState:
    (model,) = [it for it in await move.spaces.list_models() if it.name == PROJECTED.name]
    return (await move.spaces.measure(ann.tenant_id, model)).state


async def test_a_vector_is_that_of_what_was_indexed(move: Move, ann: Member) -> None:
    """Of the same text, title and headings included, as when both models embed it at once."""
    await move.before.fill(ann, {"letter.md": LETTER})
    indexed = set(move.shelf.embedder.asked)
    await move.complete(ann)
    assert set(move.incoming.asked) == indexed
    async with move.shelf.database.transaction(ann) as transaction:
        rows = await transaction.fetch(
            "SELECT e.chunk_id, m.name, e.embedding::text AS vector FROM chunk_embeddings AS e"
            " JOIN embedding_models AS m ON m.id = e.model_id WHERE m.name = $1 ORDER BY 1",
            PROJECTED.name,
        )
    vectors = np.stack([read_vector(row["vector"]) for row in rows])
    again = await move.incoming.embed(move.shelf.embedder.asked[: len(rows)])
    assert np.sum(vectors * again, axis=1).min() > 0.99


async def test_what_a_crash_interrupts_goes_on_where_it_was(move: Move, ann: Member) -> None:
    await move.before.fill(ann, {"letter.md": LETTER})
    await begin(move, ann)
    total = len(PARTS)
    gate = move.incoming.gate = Gate()
    crashing = asyncio.create_task(move.backfill().go_on())
    await gate.wait_until_reached()
    gate.open()  # the first batch; the second one is what the crash ends
    move.incoming.gate = second = Gate()
    await second.wait_until_reached()
    crashing.cancel()
    await asyncio.gather(crashing, return_exceptions=True)
    move.incoming.gate = None
    assert await move.embedded(ann, PROJECTED) == (2, total)
    assert await move.backfill().go_on() == 0, "until its lease is over it is the other one's"
    async with move.shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE embedding_backfills SET leased_until = '-infinity'")
    move.incoming.asked.clear()
    assert await move.backfill().go_on() == total - 2
    assert len(move.incoming.asked) == total - 2, "what is done is not done again"
    assert await move.embedded(ann, PROJECTED) == (total, total)
    assert await state(move, ann) is BackfillState.FINISHED


async def test_of_two_workers_the_one_that_was_taken_over_writes_nothing(
    move: Move, ann: Member
) -> None:
    await move.before.fill(ann, {"letter.md": LETTER})
    await begin(move, ann)
    gate = move.incoming.gate = Gate()
    stalled = asyncio.create_task(move.backfill(lease=NO_TIME).go_on())
    await gate.wait_until_reached()
    move.incoming.gate = None
    assert await move.backfill().go_on() == len(PARTS)
    async with move.shelf.database.transaction(ann) as transaction:
        await transaction.execute("DELETE FROM chunk_embeddings")
    gate.open()
    assert await stalled == 0
    assert await move.embedded(ann, PROJECTED) == (0, len(PARTS))


async def test_what_is_erased_meanwhile_is_not_brought_back(move: Move, ann: Member) -> None:
    _, documents = await move.before.fill(ann, {"a.txt": "The ferry leaves.", "b.txt": "The mill."})
    await begin(move, ann)
    gate = move.incoming.gate = Gate()
    running = asyncio.create_task(move.backfill().go_on())
    await gate.wait_until_reached()
    await move.shelf.documents.delete(ann, documents["a.txt"])
    gate.open()
    assert await running == 1
    assert await move.embedded(ann, PROJECTED) == (1, 1)
    assert await state(move, ann) is BackfillState.FINISHED


async def test_what_is_edited_meanwhile_is_embedded_as_it_is_now(move: Move, ann: Member) -> None:
    _, documents = await move.before.fill(ann, {"letter.md": LETTER})
    await begin(move, ann)
    gate = move.incoming.gate = Gate()
    running = asyncio.create_task(move.backfill().go_on())
    await gate.wait_until_reached()
    move.incoming.gate = None
    edited = LETTER.replace("Sentence 2.3 is about part 2.", "Sentence 2.3 was changed.")
    await move.shelf.put_version(ann, documents["letter.md"], edited, "letter.md")
    await move.shelf.run_jobs(ann)
    gate.open()
    await running
    assert await move.embedded(ann, PROJECTED) == (len(PARTS), len(PARTS))
    assert any("2.3 was changed" in text for text in move.incoming.asked)
    assert await state(move, ann) is BackfillState.FINISHED


async def test_it_rests_and_goes_on(move: Move, ann: Member) -> None:
    await move.before.fill(ann, {"letter.md": LETTER})
    await begin(move, ann)
    gate = move.incoming.gate = Gate()
    running = asyncio.create_task(move.backfill().go_on())
    await gate.wait_until_reached()
    await move.spaces.pause_backfill(ann.tenant_id, PROJECTED.name)
    gate.open()
    assert await running == 2, "the batch that was being embedded"
    assert await state(move, ann) is BackfillState.PAUSED
    assert await move.backfill().go_on() == 0
    await begin(move, ann)
    assert await move.backfill().go_on() == len(PARTS) - 2


async def test_documents_that_wait_come_first(move: Move, ann: Member) -> None:
    await move.before.fill(ann, {"letter.md": LETTER})
    await begin(move, ann)
    waiting = move.backfill()
    answers = iter([True, False, True])

    async def is_busy() -> bool:
        return next(answers)

    waiting._is_busy = is_busy
    assert await waiting.go_on() == 2, "one batch, however many wait"
    assert await waiting.go_on() == 4


async def test_a_server_that_fails_is_asked_again_later(move: Move, ann: Member) -> None:
    await move.before.fill(ann, {"letter.md": LETTER})
    await begin(move, ann)
    closed = move.incoming
    await closed.close()
    assert await move.backfill().go_on() == 0
    assert await state(move, ann) is BackfillState.RUNNING


async def test_a_tenant_whose_key_is_destroyed_is_passed_by(move: Move, ann: Member) -> None:
    await move.before.fill(ann, {"letter.md": LETTER})
    await begin(move, ann)
    async with move.shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE tenant_keys SET wrapped_key = NULL")
    assert await move.backfill().go_on() == 0
    assert move.incoming.asked == []
    assert (await move.embedded(ann, PROJECTED))[0] == 0


async def test_what_is_damaged_is_passed_by_and_keeps_the_switch_waiting(
    move: Move, ann: Member
) -> None:
    await move.before.fill(ann, {"letter.md": LETTER})
    async with move.shelf.database.transaction(ann) as transaction:
        await transaction.execute("UPDATE chunks SET sealed_text = 'x' WHERE ordinal = 1")
    await begin(move, ann)
    assert await move.backfill().go_on() == len(PARTS) - 1
    assert await state(move, ann) is BackfillState.FINISHED
    with pytest.raises(BackfillIncompleteError, match="1 passages"):
        await move.spaces.switch(ann.tenant_id, PROJECTED.name)
