"""A cross-encoder that the operator supplies, on onnxruntime, in this process and off its event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

import numpy as np
from tokenizers import Encoding, Tokenizer

from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError
from undercroft.kit.surrogates import join_surrogates
from undercroft.retrieval.embedding.local import batches_by_length
from undercroft.retrieval.embedding.session import DescribedSession, load_session

MODEL_FILE: Final = "model.onnx"
TOKENIZER_FILE: Final = "tokenizer.json"
_MAX_TOKENS: Final = 512
"""Of question and text together: what cross-encoders of BERT's kind read."""
_MAX_CHARACTERS: Final = 8192
_BATCH_TOKENS: Final = 2048
"""Padded tokens of one run of the model: after each, a call that is too late stops."""
_INPUTS: Final = frozenset({"input_ids", "attention_mask", "token_type_ids"})


_Result = TypeVar("_Result")


class RerankerFilesError(UndercroftError):
    """The folder does not hold a cross-encoder that can be run."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind=ErrorKind.UNAVAILABLE)


class OnnxReranker:
    """Runs the model on one thread of its own, a batch at a time; what is late is not begun.

    Args:
        session: The loaded graph.
        tokenizer: Its tokenizer; given up to this object, which sets its truncation.
        seconds: Deadline of a call.
    """

    def __init__(self, session: DescribedSession, tokenizer: Tokenizer, seconds: float) -> None:
        # Its keyword arguments, which are not used here, have no types.
        tokenizer.enable_truncation(_MAX_TOKENS)  # pyright: ignore[reportUnknownMemberType]
        tokenizer.no_padding()
        self._session = session
        self._inputs = session.input_names()
        self._output = session.output_names()[0]
        self._tokenizer = tokenizer
        self._seconds = seconds
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="reranking")
        self._closed = False

    @classmethod
    async def load(cls, folder: Path, *, threads: int, seconds: float) -> Self:
        """Load the model of a folder, off the event loop, and have it score one pair.

        Raises:
            RerankerFilesError: When there is none, or it is no cross-encoder.
        """
        model, tokenizer_file = folder / MODEL_FILE, folder / TOKENIZER_FILE
        for path in (model, tokenizer_file):
            if not path.is_file():
                raise RerankerFilesError(f"{folder} has no file {path.name}: see reranker_dir.")
        try:
            session = await asyncio.to_thread(load_session, model, threads)
            tokenizer = await asyncio.to_thread(Tokenizer.from_file, str(tokenizer_file))
        # Both libraries raise what their native parts make of a broken file, without a class of their own.
        except Exception as error:
            raise RerankerFilesError(f"{folder} cannot be loaded: {error}") from error
        if unknown := sorted(set(session.input_names()) - _INPUTS):
            raise RerankerFilesError(f"{model} wants an input {unknown[0]!r}.")
        reranker = cls(session, tokenizer, seconds)
        shape = await asyncio.to_thread(reranker.probe)
        if len(shape) != 2 or shape[0] != 1 or shape[1] not in (1, 2):
            raise RerankerFilesError(
                f"{model} answers {shape} for one pair: not the one score of a cross-encoder, or two."
            )
        return reranker

    @property
    def name(self) -> str:
        """That it is the operator's file."""
        return MODEL_FILE

    @property
    def location(self) -> Literal["local"]:
        """In this process."""
        return "local"

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers.

        Raises:
            UnavailableError: There was no time, or the reranker is closed.
            UndercroftError: The model cannot be run on these, or makes something that is no number.
        """
        scores = np.zeros(len(texts), dtype=np.float64)
        try:
            async with asyncio.timeout(self._seconds):
                encoded = await self._run(partial(self._encode, query, texts))
                for batch in batches_by_length([len(each.ids) for each in encoded], _BATCH_TOKENS):
                    rows = [encoded[position] for position in batch]
                    scores[batch] = await self._run(partial(self._infer, rows))
        except TimeoutError:
            raise UnavailableError("Reranking took too long.", retry_after=1) from None
        if not np.isfinite(scores).all():
            raise UndercroftError(
                "The reranking model made a score that is no number.",
                kind=ErrorKind.UPSTREAM_FAILED,
            )
        return [float(score) for score in scores]

    async def close(self) -> None:
        """End the thread once what it runs now is done."""
        self._closed = True
        await asyncio.to_thread(partial(self._executor.shutdown, cancel_futures=True))

    def probe(self) -> tuple[int, ...]:
        """The shape of the answer for one pair."""
        return self._logits(self._encode("question", ["text"])).shape

    async def _run(self, step: Callable[[], _Result]) -> _Result:
        if self._closed:
            raise UnavailableError("The reranking model is shutting down. Try again later.")
        return await asyncio.get_running_loop().run_in_executor(self._executor, step)

    def _encode(self, query: str, texts: Sequence[str]) -> list[Encoding]:
        question = join_surrogates(query[:_MAX_CHARACTERS])
        pairs = [(question, join_surrogates(text[:_MAX_CHARACTERS])) for text in texts]
        # Not encode(): of the tokenizer's methods, only those for batches release the GIL.
        return self._tokenizer.encode_batch_fast(pairs)

    def _infer(self, rows: Sequence[Encoding]) -> np.ndarray:
        try:
            logits = self._logits(rows)
        # The library has no class for what it raises: of a token that the graph has no row for, or more than it reads.
        except Exception as error:
            raise UndercroftError(
                f"The reranking model failed ({type(error).__name__}). Is the tokenizer its own, and does it read "
                f"{_MAX_TOKENS} tokens?",
                kind=ErrorKind.UPSTREAM_FAILED,
            ) from error
        # With two the second says that the text answers, the first that it does not.
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]

    def _logits(self, rows: Sequence[Encoding]) -> np.ndarray:
        shape = (len(rows), max(len(row.ids) for row in rows))
        inputs = {name: np.zeros(shape, dtype=np.int64) for name in _INPUTS}
        for position, row in enumerate(rows):
            inputs["input_ids"][position, : len(row.ids)] = row.ids
            inputs["attention_mask"][position, : len(row.ids)] = 1
            inputs["token_type_ids"][position, : len(row.ids)] = row.type_ids
        wanted = {name: inputs[name] for name in self._inputs}
        return self._session.run([self._output], wanted)[0]
