"""The built-in embedder: all-MiniLM-L6-v2 on onnxruntime, in this process and off its event loop."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, Self, TypeVar

import numpy as np
from tokenizers import Tokenizer

from undercroft.kit.errors import UnavailableError
from undercroft.retrieval.embedding.models import MINILM, EmbeddingModel
from undercroft.retrieval.embedding.protocol import (
    Embeddings,
    Vectors,
    readable_text,
)
from undercroft.retrieval.embedding.session import Session, load_session
from undercroft.retrieval.minilm.files import MinilmFiles

_WINDOW_TEXTS: Final = 64
"""Texts that are tokenised, and sorted by length, at once."""
_BATCH_TOKENS: Final = 512
"""Padded tokens of one run of the model, some 100 ms: what a query may have to wait for."""
_INTERACTIVE_TEXTS: Final = 2
"""Calls of at most this many texts, one batch at their longest, do not take turns with larger ones."""
_MAX_CALLS: Final = 256
"""Calls that may be under way, the waiting ones included."""

_Result = TypeVar("_Result")
_TokenIds = list[int]


class OnnxEmbedder:
    """Runs the model on one thread of its own, one batch at a time.

    A call hands over its next batch when the one before is done, and calls of many texts take turns among themselves.
    So a query waits for at most one batch of theirs, a cancelled call leaves at most one batch behind, and memory
    does not grow with the number of texts except for their vectors.

    Args:
        session: The loaded graph.
        tokenizer: Its tokenizer; given up to this object, which sets its truncation.
    """

    def __init__(self, session: Session, tokenizer: Tokenizer) -> None:
        # Its keyword arguments, which are not used here, have no types.
        tokenizer.enable_truncation(MINILM.max_tokens)  # pyright: ignore[reportUnknownMemberType]
        tokenizer.no_padding()
        self._session = session
        self._tokenizer = tokenizer
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="embedding")
        self._bulk_turn = asyncio.Lock()
        self._calls = 0
        self._closed = False

    @classmethod
    async def load(cls, files: MinilmFiles, threads: int = 2) -> Self:
        """Load the prepared model, off the event loop.

        Args:
            files: As :func:`~undercroft.retrieval.minilm.files.locate_minilm` found it.
            threads: Processor cores that one run of the model may use.
        """
        session = await asyncio.to_thread(load_session, files.model, threads)
        tokenizer = await asyncio.to_thread(Tokenizer.from_file, str(files.tokenizer))
        return cls(session, tokenizer)

    @property
    def model(self) -> EmbeddingModel:
        """all-MiniLM-L6-v2: 384 dimensions, 256 tokens."""
        return MINILM

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of the texts, in their order, (texts, 384).

        Raises:
            UnavailableError: The embedder is closed or has too many calls waiting.
        """
        return (await self.embed_counted(texts)).vectors

    async def embed_counted(self, texts: Sequence[str]) -> Embeddings:
        """As :meth:`embed`, with the number of tokens read, two special ones a text included."""
        with self._admitted():
            if len(texts) <= _INTERACTIVE_TEXTS:
                return await self._run(partial(self._embed_at_once, texts))
            return await self._embed_in_turns(texts)

    async def close(self) -> None:
        """End the thread once what it runs now is done."""
        self._closed = True
        # Not cancel_futures: a waiting call would see its own cancellation, which nobody asked for.
        await asyncio.to_thread(self._executor.shutdown)

    @contextmanager
    def _admitted(self) -> Generator[None]:
        if self._calls >= _MAX_CALLS:
            raise UnavailableError("The embedding model is overloaded. Try again in a second.")
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def _run(self, step: Callable[[], _Result]) -> _Result:
        if self._closed:
            raise UnavailableError("The embedding model is shutting down. Try again later.")
        return await asyncio.get_running_loop().run_in_executor(self._executor, step)

    async def _run_in_turn(self, step: Callable[[], _Result]) -> _Result:
        # Without turns, each further call of many texts would put one more batch before a query.
        async with self._bulk_turn:
            return await self._run(step)

    async def _embed_in_turns(self, texts: Sequence[str]) -> Embeddings:
        vectors = np.empty((len(texts), MINILM.dimensions), dtype=np.float32)
        tokens = 0
        for start in range(0, len(texts), _WINDOW_TEXTS):
            window = texts[start : start + _WINDOW_TEXTS]
            encoded = await self._run_in_turn(partial(self._tokenise, window))
            tokens += sum(map(len, encoded))
            for batch in batches_by_length(list(map(len, encoded)), _BATCH_TOKENS):
                rows = [encoded[position] for position in batch]
                inferred = await self._run_in_turn(partial(self._infer, rows))
                vectors[[start + position for position in batch]] = inferred
        return Embeddings(vectors, tokens)

    def _embed_at_once(self, texts: Sequence[str]) -> Embeddings:
        vectors = np.empty((len(texts), MINILM.dimensions), dtype=np.float32)
        encoded = self._tokenise(texts)
        for position, row in enumerate(encoded):
            vectors[position] = self._infer([row])[0]
        return Embeddings(vectors, sum(map(len, encoded)))

    def _tokenise(self, texts: Sequence[str]) -> list[_TokenIds]:
        readable = [readable_text(text, MINILM) for text in texts]
        # Not encode(): of the tokenizer's methods, only those for batches release the GIL.
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(readable)]

    def _infer(self, rows: Sequence[_TokenIds]) -> Vectors:
        shape = (len(rows), max(map(len, rows)))
        token_ids = np.zeros(shape, dtype=np.int64)
        attention_mask = np.zeros(shape, dtype=np.int64)
        for position, row in enumerate(rows):
            token_ids[position, : len(row)] = row
            attention_mask[position, : len(row)] = 1
        inputs = {"input_ids": token_ids, "attention_mask": attention_mask}
        return self._session.run(["embedding"], inputs)[0]


def batches_by_length(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Group positions of similar length, so that little is padded.

    Args:
        lengths: Tokens of each text.
        limit: Tokens a batch may hold, its padding included; a single longer text is a batch of its own.

    Returns:
        Every position exactly once, shortest first.
    """
    batches: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        # In this order the newest is the longest: the others are padded to it.
        if batches and (len(batches[-1]) + 1) * lengths[position] <= limit:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches
