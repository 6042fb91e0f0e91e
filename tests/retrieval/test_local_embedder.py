"""The built-in embedder's own promises: order of service, bounds, and an event loop that stays free."""

import asyncio
import sys
import threading
import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from undercroft.kit.errors import UnavailableError
from undercroft.retrieval.embedding.local import OnnxEmbedder, batches_by_length
from undercroft.retrieval.embedding.session import Session, load_session
from undercroft.retrieval.minilm.files import MinilmFiles

PASSAGE = "the tenant pays rent by the fifth day of each month " * 20


class SteppedSession:
    """The real session, which records the shape of each run and can be held before the next."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open = threading.Event()
        self._open.set()
        self._held = threading.Event()
        self.shapes: list[tuple[int, ...]] = []

    def hold(self) -> None:
        self._held.clear()
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def wait_until_held(self) -> None:
        assert await asyncio.to_thread(self._held.wait, 30)

    def run(
        self, output_names: list[str], input_feed: dict[str, npt.NDArray[np.int64]]
    ) -> list[npt.NDArray[np.float32]]:
        self._held.set()
        assert self._open.wait(30)
        self.shapes.append(input_feed["input_ids"].shape)
        return self._session.run(output_names, input_feed)


@pytest.fixture
def session(minilm: MinilmFiles) -> SteppedSession:
    return SteppedSession(load_session(minilm.model, 1))


@pytest.fixture
def stepped_embedder(session: SteppedSession, minilm: MinilmFiles) -> OnnxEmbedder:
    return OnnxEmbedder(session, Tokenizer.from_file(str(minilm.tokenizer)))


@given(st.lists(st.integers(2, 256), max_size=200), st.integers(1, 1024))
def test_batches_hold_every_text_once_within_the_limit(lengths: list[int], limit: int) -> None:
    batches = batches_by_length(lengths, limit)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[at] for at in batch) <= limit
    assert [lengths[at] for batch in batches for at in batch] == sorted(lengths)


async def test_a_query_waits_for_one_batch_of_all_indexing(
    stepped_embedder: OnnxEmbedder, session: SteppedSession
) -> None:
    session.hold()
    indexing = [asyncio.create_task(stepped_embedder.embed([PASSAGE] * 12)) for _ in range(3)]
    await session.wait_until_held()
    query = asyncio.create_task(stepped_embedder.embed(["when is rent due"]))
    await asyncio.sleep(0)  # Lets the query hand its work over.
    session.release()
    await asyncio.gather(query, *indexing)
    assert session.shapes.index((1, 6)) == 1
    await stepped_embedder.close()


async def test_no_batch_exceeds_its_tokens(
    stepped_embedder: OnnxEmbedder, session: SteppedSession
) -> None:
    await stepped_embedder.embed([PASSAGE, "rent", "", "rent is due"] * 40)
    assert max(rows * tokens for rows, tokens in session.shapes) <= 512
    assert max(tokens for _, tokens in session.shapes) <= 256
    await stepped_embedder.close()


async def test_cancelled_indexing_stops_at_its_next_batch(
    stepped_embedder: OnnxEmbedder, session: SteppedSession
) -> None:
    session.hold()
    indexing = asyncio.create_task(stepped_embedder.embed([PASSAGE] * 50))
    await session.wait_until_held()
    indexing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await indexing
    session.release()
    await stepped_embedder.close()
    assert len(session.shapes) == 1


async def test_calls_beyond_the_limit_are_refused_at_once(
    stepped_embedder: OnnxEmbedder, session: SteppedSession
) -> None:
    session.hold()
    calls = [asyncio.create_task(stepped_embedder.embed(["rent"])) for _ in range(256)]
    await session.wait_until_held()
    with pytest.raises(UnavailableError, match="overloaded"):
        await stepped_embedder.embed(["rent"])
    session.release()
    await asyncio.gather(*calls)
    await stepped_embedder.embed(["rent"])
    await stepped_embedder.close()


async def test_close_serves_what_was_handed_over_and_refuses_the_rest(
    stepped_embedder: OnnxEmbedder, session: SteppedSession
) -> None:
    session.hold()
    indexing = [asyncio.create_task(stepped_embedder.embed([PASSAGE] * 12)) for _ in range(2)]
    await session.wait_until_held()
    query = asyncio.create_task(stepped_embedder.embed(["when is rent due"]))
    await asyncio.sleep(0)  # Lets the query hand its work over.
    closing = asyncio.create_task(stepped_embedder.close())
    await asyncio.sleep(0)
    session.release()
    results = await asyncio.gather(*indexing, return_exceptions=True)
    await closing
    assert all(isinstance(result, UnavailableError) for result in results)
    assert (await query).shape == (1, 384)


async def test_the_loop_does_next_to_nothing(onnx_embedder: OnnxEmbedder) -> None:
    loop_before, all_before = time.thread_time(), time.process_time()
    await onnx_embedder.embed([PASSAGE] * 64)
    on_loop, in_all = time.thread_time() - loop_before, time.process_time() - all_before
    assert on_loop < 0.1 * in_all


@pytest.mark.parametrize("step", ["_tokenise", "_infer"])
async def test_the_loop_runs_during_a_step(onnx_embedder: OnnxEmbedder, step: str) -> None:
    """Work on another thread blocks the loop all the same while it holds the GIL."""
    arguments = {"_tokenise": [PASSAGE] * 64, "_infer": [[101, *[2000] * 200, 102]] * 2}[step]
    turns = 0

    def turns_during_step() -> int:
        before = turns
        getattr(onnx_embedder, step)(arguments)
        return turns - before

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # From here on a thread gives the GIL up only of its own accord.
    try:
        running = asyncio.create_task(asyncio.to_thread(turns_during_step))
        while not running.done():
            turns += 1
            await asyncio.sleep(0)
    finally:
        sys.setswitchinterval(interval)
    assert await running > 0
