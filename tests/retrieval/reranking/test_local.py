"""A cross-encoder of the operator's: what is loaded, what is refused, and that it ends in time."""

import json
import threading
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.retrieval.reranking.cross_encoder import write_cross_encoder
from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError
from undercroft.retrieval.embedding.session import load_session
from undercroft.retrieval.reranking.local import OnnxReranker, RerankerFilesError


async def test_a_model_with_two_outputs_is_read_by_their_difference(tmp_path: Path) -> None:
    reranker = await OnnxReranker.load(
        write_cross_encoder(tmp_path, outputs=2), threads=1, seconds=20.0
    )
    assert await reranker.score("the mill", ["the mill", "the boat", "who"]) == [2.0, 1.0, 0.0]
    await reranker.close()


async def test_padding_does_not_change_a_score(tmp_path: Path) -> None:
    reranker = await OnnxReranker.load(write_cross_encoder(tmp_path), threads=1, seconds=20.0)
    texts = ["mill", "a mill is the clock " * 40, "the mill is due"]
    together = await reranker.score("the mill", texts)
    alone = [(await reranker.score("the mill", [text]))[0] for text in texts]
    assert together == alone
    await reranker.close()


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json"])
async def test_a_folder_without_its_files_is_named(tmp_path: Path, missing: str) -> None:
    (write_cross_encoder(tmp_path) / missing).unlink()
    with pytest.raises(RerankerFilesError, match=missing):
        await OnnxReranker.load(tmp_path, threads=1, seconds=1.0)


@pytest.mark.parametrize("broken", ["model.onnx", "tokenizer.json"])
async def test_a_broken_file_is_an_error_that_can_be_read(tmp_path: Path, broken: str) -> None:
    (write_cross_encoder(tmp_path) / broken).write_bytes(b"no such thing")
    with pytest.raises(RerankerFilesError, match="cannot be loaded"):
        await OnnxReranker.load(tmp_path, threads=1, seconds=1.0)


async def test_what_is_no_cross_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RerankerFilesError, match="not the one score"):
        await OnnxReranker.load(
            write_cross_encoder(tmp_path / "a", outputs=3), threads=1, seconds=1.0
        )
    with pytest.raises(RerankerFilesError, match="'pixels'"):
        await OnnxReranker.load(
            write_cross_encoder(tmp_path / "b", extra_input="pixels"), threads=1, seconds=1.0
        )


async def test_what_the_graph_cannot_be_run_on_is_an_error_of_the_seam(tmp_path: Path) -> None:
    """A search goes on without a reranker at those alone."""
    file = write_cross_encoder(tmp_path) / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    # A tokenizer that is another model's: the graph has no row for this word.
    tokenizer["model"]["vocab"]["zoo"] = 99
    file.write_text(json.dumps(tokenizer))
    reranker = await OnnxReranker.load(tmp_path, threads=1, seconds=20.0)
    with pytest.raises(UndercroftError, match="tokenizer") as failed:
        await reranker.score("mill", ["the zoo"])
    assert failed.value.kind is ErrorKind.UPSTREAM_FAILED
    assert await reranker.score("mill", ["the mill"]) == [1.0]
    await reranker.close()


async def test_what_is_late_is_not_begun(tmp_path: Path) -> None:
    """The model's thread is held: the call ends by its deadline, and its batches are never run."""
    folder = write_cross_encoder(tmp_path)
    session, released = load_session(folder / "model.onnx", 1), threading.Event()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    reranker = OnnxReranker(session, tokenizer, seconds=0.05)
    held = reranker._executor.submit(released.wait)
    with pytest.raises(UnavailableError, match="too long"):
        await reranker.score("mill", ["mill"] * 10)
    released.set()
    assert held.result()
    await reranker.close()
