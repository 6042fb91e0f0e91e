"""Any OpenAI-compatible embeddings endpoint as an embedder."""

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Annotated, Final

import numpy as np
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from pydantic import BaseModel, Field, SecretStr, ValidationError

from undercroft.kit.clock import Clock
from undercroft.kit.egress import ResponseTooLargeError, read_bounded
from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError
from undercroft.retrieval.embedding.models import EmbeddingModel
from undercroft.retrieval.embedding.protocol import Embeddings, Vectors, readable_text

_BYTES_PER_NUMBER: Final = 32
_BYTES_BESIDE_NUMBERS: Final = 64 * 1024
_SHORTEST_VECTOR: Final = 1e-30
"""Below this the squares of the numbers lose their precision."""
_RETRIED_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """How much is asked of a server at once, and for how long.

    Attributes:
        inputs: Texts in one request.
        characters: Characters in one request, unless a single text is longer.
        attempts: Times one request is sent.
        attempt_seconds: Deadline of one attempt.
        deadline_seconds: Deadline of one request, all attempts and pauses included.
        first_pause_seconds: Longest pause before the second attempt; doubled before each further one.
    """

    inputs: int = 64
    characters: int = 256 * 1024
    attempts: int = 4
    attempt_seconds: float = 20.0
    deadline_seconds: float = 60.0
    first_pause_seconds: float = 0.5


class _Item(BaseModel):
    index: Annotated[int, Field(ge=0)]
    embedding: str | list[float]


class _Usage(BaseModel):
    prompt_tokens: Annotated[int, Field(ge=0)] = 0


class _Response(BaseModel):
    data: list[_Item]
    usage: _Usage = _Usage()


class _RetryableError(Exception):
    """An attempt failed in a way that another may not.

    Args:
        retry_after: Seconds the server asked us to wait, if it did.
    """

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after


class RemoteEmbedder:
    """Asks a server for vectors, and believes nothing about its answer that it has not checked.

    Args:
        session: The guarded HTTP client; it belongs to the caller and outlives this object.
        base_url: The server's address, with ``/v1``.
        key: Sent as a bearer token, and shown nowhere.
        model: The model asked for, and the vectors it has to return.
        clock: Measures deadlines, and reads a Retry-After that is a date.
        jitter: A number from 0 to 1, fresh at each call.
        sleep: Waits that many seconds.
        limits: Sizes and deadlines.
    """

    def __init__(
        self,
        session: ClientSession,
        base_url: str,
        key: SecretStr | None,
        model: EmbeddingModel,
        *,
        clock: Clock,
        jitter: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        limits: RemoteLimits | None = None,
    ) -> None:
        self._session = session
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._model = model
        self._clock = clock
        self._jitter = jitter
        self._sleep = sleep
        self._limits = limits or RemoteLimits()
        self._closed = False

    @property
    def model(self) -> EmbeddingModel:
        """The configured model."""
        return self._model

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of the texts, in their order, (texts, dimensions).

        Raises:
            UnavailableError: The server did not answer in time, or asks to be left alone for now.
            UndercroftError: UPSTREAM_FAILED, the server refused the request or its answer is not what was asked for.
        """
        return (await self.embed_counted(texts)).vectors

    async def embed_counted(self, texts: Sequence[str]) -> Embeddings:
        """As :meth:`embed`, with the number of tokens that the server says it read."""
        vectors = np.empty((len(texts), self._model.dimensions), dtype=np.float32)
        tokens = 0
        # An empty input is refused by OpenAI; a space has the same meaning.
        inputs = [readable_text(text, self._model) or " " for text in texts]
        for start, stop in _slices(inputs, self._limits):
            if self._closed:
                raise UnavailableError("The embeddings client is shutting down. Try again later.")
            body = await self._request(inputs[start:stop])
            # Decoding numbers takes milliseconds that belong to the event loop.
            answer = await asyncio.to_thread(_decode, body, stop - start, self._model.dimensions)
            vectors[start:stop] = answer.vectors
            tokens += answer.tokens
        return Embeddings(vectors, tokens)

    async def close(self) -> None:
        """Refuse further requests; the session is its owner's to close."""
        self._closed = True

    async def _request(self, inputs: list[str]) -> bytes:
        """One request's answer, after as many attempts as it takes and the limits allow."""
        deadline = self._clock.monotonic() + self._limits.deadline_seconds
        for attempt in range(1, self._limits.attempts + 1):
            remaining = deadline - self._clock.monotonic()
            try:
                return await self._attempt(inputs, min(remaining, self._limits.attempt_seconds))
            except _RetryableError as error:
                pause = self._pause(attempt, error.retry_after)
                remaining = deadline - self._clock.monotonic()
                if attempt == self._limits.attempts or pause >= remaining:
                    raise _unavailable(error.retry_after) from error
                await self._sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, inputs: list[str], seconds: float) -> bytes:
        payload = {
            "model": self._model.name,
            "input": inputs,
            # A fifth of the time to decode; servers that do not know it answer with numbers.
            "encoding_format": "base64",
        }
        limit = self._response_limit(len(inputs))
        try:
            async with self._session.post(
                self._url,
                json=payload,
                headers=self._headers,
                timeout=ClientTimeout(total=max(seconds, 0.001)),
                allow_redirects=False,  # The key is for this address and no other.
            ) as response:
                self._check_status(response)
                return await read_bounded(response, limit)
        except ResponseTooLargeError:
            raise _failed(f"sent more than the {limit} bytes that the answer can need") from None
        except (ClientError, TimeoutError, OSError) as error:
            raise _RetryableError from error

    def _check_status(self, response: ClientResponse) -> None:
        if response.status in _RETRIED_STATUSES:
            raise _RetryableError(self._retry_after(response))
        if response.status != 200:
            raise _failed(f"answered with status {response.status}")

    def _retry_after(self, response: ClientResponse) -> float | None:
        """Seconds to wait, from either form of the header (RFC 9110, section 10.2.3)."""
        value = response.headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdigit() and len(value) <= 9:
            return float(value)
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max((aware - self._clock.now()).total_seconds(), 0.0)

    def _pause(self, attempt: int, retry_after: float | None) -> float:
        """Full jitter, so that clients that failed together do not return together."""
        longest = self._limits.first_pause_seconds * 2 ** (attempt - 1)
        return (retry_after or 0.0) + longest * self._jitter()

    def _response_limit(self, inputs: int) -> int:
        numbers = inputs * self._model.dimensions
        return numbers * _BYTES_PER_NUMBER + _BYTES_BESIDE_NUMBERS


def _slices(inputs: Sequence[str], limits: RemoteLimits) -> Generator[tuple[int, int]]:
    """Consecutive ranges that each make one request."""
    start = 0
    characters = 0
    for position, text in enumerate(inputs):
        full = position - start == limits.inputs
        if position > start and (full or characters + len(text) > limits.characters):
            yield start, position
            start, characters = position, 0
        characters += len(text)
    if start < len(inputs):
        yield start, len(inputs)


def _decode(body: bytes, count: int, dimensions: int) -> Embeddings:
    try:
        response = _Response.model_validate_json(body)
    except ValidationError:  # Not chained: it quotes the body.
        raise _failed("sent something other than a list of embeddings") from None
    if sorted(item.index for item in response.data) != list(range(count)):
        raise _failed(f"did not send exactly one embedding for each of {count} inputs")
    ordered = sorted(response.data, key=lambda item: item.index)
    vectors = np.stack([_decode_vector(item.embedding, dimensions) for item in ordered])
    with np.errstate(over="ignore", invalid="ignore"):  # Such lengths are refused below.
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < _SHORTEST_VECTOR).any():
        raise _failed("sent a vector without a direction")
    return Embeddings((vectors / lengths).astype(np.float32), response.usage.prompt_tokens)


def _decode_vector(embedding: str | list[float], dimensions: int) -> np.ndarray:
    """One vector in double precision, in which no square of a single-precision number overflows."""
    if isinstance(embedding, str):
        try:
            raw = b64decode(embedding, validate=True)
        except ValueError:
            raise _failed("sent a vector that is not base64") from None
        if len(raw) != 4 * dimensions:
            raise _failed(f"sent a vector of other than {dimensions} dimensions")
        return np.frombuffer(raw, dtype="<f4").astype(np.float64)
    if len(embedding) != dimensions:
        raise _failed(f"sent a vector of other than {dimensions} dimensions")
    return np.array(embedding, dtype=np.float64)


def _failed(what: str) -> UndercroftError:
    return UndercroftError(
        f"The embeddings server {what}. Check embedding_url, embedding_key, embedding_model and "
        "embedding_dimensions.",
        kind=ErrorKind.UPSTREAM_FAILED,
    )


def _unavailable(retry_after: float | None) -> UnavailableError:
    seconds = max(1, round(retry_after)) if retry_after else 1
    return UnavailableError(
        "The embeddings server is not answering now. Try again later.",
        retry_after=min(seconds, 3600),
    )
