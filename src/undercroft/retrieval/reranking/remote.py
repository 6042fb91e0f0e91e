"""Any ``/rerank`` endpoint as a reranker: Cohere's, which Jina, vLLM, LiteLLM and others speak too, and that of TEI."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from pydantic import AliasChoices, BaseModel, Field, SecretStr, TypeAdapter, ValidationError

from undercroft.kit.circuit import Circuit
from undercroft.kit.clock import Clock
from undercroft.kit.egress import PASSING_STATUSES, ResponseTooLargeError, read_bounded
from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError
from undercroft.kit.surrogates import join_surrogates

_MAX_CHARACTERS: Final = 8192
"""Of the question and of each text: more than a passage has."""
_BYTES_BESIDE_TEXTS: Final = 64 * 1024
_ECHO: Final = 8
"""Bytes of an answer for each character sent: some servers repeat the texts, perhaps escaped."""


class _Result(BaseModel):
    index: Annotated[int, Field(ge=0)]
    score: Annotated[float, Field(validation_alias=AliasChoices("relevance_score", "score"))]


class _Results(BaseModel):
    results: list[_Result]


_LIST: Final = TypeAdapter(list[_Result])


class RemoteReranker:
    """Asks a server, once: a search cannot wait for a second attempt.

    Five failures in a row, late answers among them, and it is left alone for half a minute.

    Args:
        session: The HTTP client; it belongs to the caller and outlives this object.
        base_url: The server's address; ``/rerank`` is put at its end.
        key: Sent as a bearer token, and shown nowhere.
        model: The model asked for; TEI has but one.
        api: What the server speaks.
        location: Whose it is.
        seconds: Deadline of a call.
        clock: For how long it is left alone.
    """

    def __init__(
        self,
        session: ClientSession,
        base_url: str,
        key: SecretStr | None,
        model: str | None,
        *,
        api: Literal["cohere", "tei"],
        location: Literal["local", "external"],
        seconds: float,
        clock: Clock,
    ) -> None:
        self._session = session
        self._url = f"{base_url.rstrip('/')}/rerank"
        self._headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._model = model
        self._api = api
        self._location: Literal["local", "external"] = location
        self._seconds = seconds
        self._circuit = Circuit(clock)
        self._closed = False

    @property
    def name(self) -> str:
        """The model asked for."""
        return self._model or self._api

    @property
    def location(self) -> Literal["local", "external"]:
        """As configured."""
        return self._location

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers.

        Raises:
            UnavailableError: The server did not answer in time, or is left alone for now.
            UndercroftError: UPSTREAM_FAILED, the server refused or its answer is not what was asked for.
        """
        if not texts:
            return []
        passed = None if self._closed else self._circuit.enter()
        if passed is None:
            raise UnavailableError("The reranking server is not asked now.", retry_after=1)
        try:
            scores = await self._ask(_readable(query), [_readable(text) for text in texts])
        except UndercroftError:
            self._circuit.fail(passed)
            raise
        else:
            self._circuit.succeed(passed)
            return scores
        finally:
            self._circuit.leave(passed)

    async def close(self) -> None:
        """Refuse further calls; the session is its owner's to close."""
        self._closed = True

    async def _ask(self, query: str, texts: Sequence[str]) -> list[float]:
        limit = _ECHO * (len(query) + sum(map(len, texts))) + _BYTES_BESIDE_TEXTS
        try:
            async with self._session.post(
                self._url,
                json=self._payload(query, texts),
                headers=self._headers,
                timeout=ClientTimeout(total=self._seconds),
                allow_redirects=False,  # Key and texts are for this address and no other.
            ) as response:
                _check_status(response)
                body = await read_bounded(response, limit)
        except ResponseTooLargeError:
            raise _failed(f"sent more than the {limit} bytes that the answer can need") from None
        except (ClientError, TimeoutError, OSError) as error:
            raise _unavailable() from error
        return self._read(body, len(texts))

    def _payload(self, query: str, texts: Sequence[str]) -> dict[str, Any]:
        if self._api == "tei":
            return {"query": query, "texts": texts, "truncate": True}
        return {"model": self._model, "query": query, "documents": texts, "top_n": len(texts)}

    def _read(self, body: bytes, count: int) -> list[float]:
        try:
            is_list = self._api == "tei"
            results = _LIST.validate_json(body) if is_list else _wrapped(body)
        except ValidationError:  # Not chained: it quotes the body.
            raise _failed("sent something other than a list of scores") from None
        scores = {result.index: result.score for result in results}
        if len(results) != count or scores.keys() != set(range(count)):
            raise _failed(f"did not send exactly one score for each of {count} texts")
        if not all(map(math.isfinite, scores.values())):
            raise _failed("sent a score that is no number")
        return [scores[index] for index in range(count)]


def _wrapped(body: bytes) -> list[_Result]:
    return _Results.model_validate_json(body).results


def _readable(text: str) -> str:
    # An empty text is refused by some; a space has the same meaning.
    return join_surrogates(text[:_MAX_CHARACTERS]) or " "


def _check_status(response: ClientResponse) -> None:
    if response.status in PASSING_STATUSES:
        raise _unavailable()
    if response.status != 200:
        raise _failed(f"answered with status {response.status}")


def _failed(what: str) -> UndercroftError:
    return UndercroftError(
        f"The reranking server {what}. Check reranker_url, reranker_key, reranker_model and reranker_api.",
        kind=ErrorKind.UPSTREAM_FAILED,
    )


def _unavailable() -> UnavailableError:
    return UnavailableError("The reranking server did not answer in time.", retry_after=1)
