"""Any OpenAI-compatible model server, by its base URL and key."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog
from pydantic import SecretStr, ValidationError
from yarl import URL

from undercroft.chat.providers.budgets import Budgets, Patience
from undercroft.chat.providers.event_stream import EventStreamReader, EventTooLargeError
from undercroft.chat.providers.openai_wire import (
    Chunk,
    ErrorBody,
    ErrorDetail,
    ModelList,
    UpstreamError,
    WireUsage,
    finish_reason,
    parse_retry_after,
    refusal,
    request_body,
    usage_of,
)
from undercroft.chat.providers.protocol import (
    Finished,
    GenerationEvent,
    GenerationRequest,
    Location,
    ModelInfo,
    TextDelta,
)
from undercroft.kit.clock import Clock, SystemClock
from undercroft.kit.errors import ErrorKind, InvalidRequestError

_DONE: Final = b"[DONE]"
_MAX_ERROR_BYTES: Final = 64 * 1024
_MAX_LISTING_BYTES: Final = 4 * 1024 * 1024
_END_OF_BODY_SECONDS: Final = 0.5
_MAX_REMEMBERED_MODELS: Final = 1000

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Listing:
    models: tuple[ModelInfo, ...]
    error: UpstreamError | None
    expires: float


class OpenAiCompatibleProvider:
    """Streams chat completions from a server that speaks OpenAI's API.

    Args:
        name: The server's name for errors, logs and the operator.
        base_url: Up to and including ``/v1``.
        key: Its API key; sent to this server only, never logged.
        location: Whether its operator is ours.
        session: The service's shared HTTP client. It stays its owner's to close.
        random: A number in [0, 1); spreads retries.
        budgets: What the server may take.
        clock: For deadlines.
        sleep: Waits before a retry.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        key: SecretStr | None,
        location: Location,
        session: aiohttp.ClientSession,
        random: Callable[[], float],
        budgets: Budgets | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._base_url = URL(base_url)
        self._key = key
        self._location: Location = location
        self._session = session
        self._random = random
        self._budgets = budgets or Budgets()
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._listing: _Listing | None = None
        self._listing_lock = asyncio.Lock()
        self._newer_limit: set[str] = set()

    @property
    def name(self) -> str:
        """The name the operator gave the server."""
        return self._name

    @property
    def location(self) -> Location:
        """Whether text sent to it stays with the operator of this service."""
        return self._location

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The server's models, from its answer of at most half a minute ago.

        Raises:
            UpstreamError: It did not list them, now or a few seconds ago.
        """
        # One question at a time: whoever comes while a server is slow waits for that answer instead of asking too.
        async with self._listing_lock:
            if self._listing is None or self._clock.monotonic() >= self._listing.expires:
                self._listing = await self._ask_for_models()
            if self._listing.error is not None:
                raise self._listing.error.with_traceback(None)
            return self._listing.models

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Streams an answer; see :class:`~undercroft.chat.providers.protocol.ModelProvider`.

        A request that fails before its first text is sent again, a few times, when that may help.

        Raises:
            UpstreamError: The server refused, failed, fell silent or broke off.
        """
        if not request.messages:
            raise InvalidRequestError("Give the model at least one message.", param="messages")
        patience = Patience(self._clock, self._budgets)
        attempt = 0
        while True:
            attempt += 1
            started = False
            try:
                async with contextlib.aclosing(self._attempt(request, patience)) as events:
                    async for event in events:
                        started = True
                        yield event
            except UpstreamError as error:
                pause = self._pause(error, attempt, patience)
                if started or pause is None:
                    raise
                _log.warning(
                    "upstream_retry",
                    upstream=self._name,
                    code=error.code,
                    attempt=attempt,
                    pause=round(pause, 3),
                )
            else:
                return
            await self._sleep(pause)

    async def close(self) -> None:
        """Nothing is held: connections belong to the session, which its owner closes."""

    def _pause(self, error: UpstreamError, attempt: int, patience: Patience) -> float | None:
        """Seconds until the next attempt, or None when there should be none."""
        budgets = self._budgets
        if not error.retryable or attempt >= budgets.attempts:
            return None
        ceiling = min(budgets.backoff * 2 ** (attempt - 1), budgets.longest_pause)
        pause = max(self._random() * ceiling, float(error.retry_after or 0))
        if pause > budgets.longest_pause or pause >= patience.left:
            return None
        return pause

    async def _attempt(
        self, request: GenerationRequest, patience: Patience
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Sends the request once and reads the answer."""
        response = await self._post(request, patience)
        try:
            characters = 0
            reason: str | None = None
            usage: WireUsage | None = None
            complete = False
            async with contextlib.aclosing(self._payloads(response, patience)) as payloads:
                async for payload in payloads:
                    if payload == _DONE:
                        complete = True
                        break
                    chunk = self._chunk(payload)
                    reason = chunk.finish_reason() or reason
                    usage = chunk.usage or usage
                    if text := chunk.text():
                        characters += len(text)
                        yield TextDelta(text)
                    if characters:
                        patience.renew()
            finished = finish_reason(reason)
            if finished is None or not (complete or reason):
                raise self._broken_off("ended its answer in the middle")
            if complete:
                await self._read_to_end(response)
            yield Finished(finished, usage_of(usage, request, characters))
        finally:
            # Returns the connection of a response that was read to its end to the pool, and closes that of any other,
            # which is how the server learns that nobody listens.
            response.release()

    async def _post(self, request: GenerationRequest, patience: Patience) -> aiohttp.ClientResponse:
        """The open response of a request that the server accepted."""
        field = "max_completion_tokens" if request.model in self._newer_limit else "max_tokens"
        try:
            async with asyncio.timeout(patience.left):
                response = await self._session.post(
                    self._base_url / "chat" / "completions",
                    json=request_body(request, field),
                    headers={**self._headers(), "Accept": "text/event-stream"},
                    timeout=aiohttp.ClientTimeout(total=None, connect=self._budgets.connect),
                    allow_redirects=False,
                )
                if response.status == 200:
                    return response
                async with response:
                    detail = await self._error_detail(response)
        except aiohttp.ConnectionTimeoutError as error:
            raise self._unreachable() from error
        except TimeoutError as error:
            raise self._too_slow("did not begin to answer") from error
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable() from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken_off("closed the connection before it answered") from error
        if (
            response.status == 400
            and detail.param == field == "max_tokens"
            and len(self._newer_limit) < _MAX_REMEMBERED_MODELS
        ):
            # OpenAI's reasoning models know only the newer name of the limit; most other servers only the older.
            self._newer_limit.add(request.model)
            return await self._post(request, patience)
        retry_after = parse_retry_after(response.headers.get("Retry-After"))
        raise refusal(self._name, request.model, response.status, detail, retry_after)

    async def _payloads(
        self, response: aiohttp.ClientResponse, patience: Patience
    ) -> AsyncGenerator[bytes, None]:
        """The payloads of the response's events, each within its time; ends where the server ends."""
        reader = EventStreamReader(self._budgets.event_bytes)
        received_bytes = 0
        while True:
            received = await self._receive(response, patience)
            received_bytes += len(received)
            try:
                payloads = reader.feed(received) if received else reader.finish()
            except EventTooLargeError as error:
                raise self._too_long() from error
            if received_bytes > self._budgets.response_bytes:
                raise self._too_long()
            for payload in payloads:
                yield payload
            if not received:
                return

    async def _receive(self, response: aiohttp.ClientResponse, patience: Patience) -> bytes:
        """The next bytes; none at the end of the response."""
        try:
            async with asyncio.timeout(patience.left):
                return await response.content.readany()
        except TimeoutError as error:
            raise self._too_slow("fell silent") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken_off("cut the connection in the middle of its answer") from error

    def _chunk(self, payload: bytes) -> Chunk:
        try:
            chunk = Chunk.model_validate_json(payload)
        except ValidationError as error:
            raise self._broken_off("sent something that is no chat completion") from error
        if chunk.error is not None:
            raise self._broken_off("reported an error in the middle of its answer")
        return chunk

    async def _read_to_end(self, response: aiohttp.ClientResponse) -> None:
        """Reads what closes the body, so that the connection can be used again; gives up soon."""
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_END_OF_BODY_SECONDS):
                await response.content.readany()

    async def _ask_for_models(self) -> _Listing:
        """One ``GET /models``; a failure is an answer too, kept for a while so that it is not paid for again."""
        budgets = self._budgets
        try:
            async with asyncio.timeout(budgets.listing):
                async with self._session.get(
                    self._base_url / "models", headers=self._headers(), allow_redirects=False
                ) as response:
                    body = await _read_bounded(response, _MAX_LISTING_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return self._no_listing(self._unreachable())
        if response.status != 200:
            return self._no_listing(refusal(self._name, "", response.status, ErrorDetail(), None))
        try:
            listed = await asyncio.to_thread(ModelList.model_validate_json, body)
        except ValidationError:
            return self._no_listing(self._broken_off("sent something that is no list of models"))
        models = {model.id: model.info(self._name) for model in listed.data}
        return _Listing(
            tuple(models.values()), None, self._clock.monotonic() + budgets.listing_fresh
        )

    def _no_listing(self, error: UpstreamError) -> _Listing:
        return _Listing((), error, self._clock.monotonic() + self._budgets.listing_failed)

    async def _error_detail(self, response: aiohttp.ClientResponse) -> ErrorDetail:
        """What the server says about a refusal, without our key should it repeat it."""
        body = await _read_bounded(response, _MAX_ERROR_BYTES)
        if self._key is not None and (key := self._key.get_secret_value()):
            body = body.replace(json.dumps(key)[1:-1].encode(), b"[key]")
        try:
            return ErrorBody.model_validate_json(body).error
        except ValidationError:
            return ErrorDetail()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.get_secret_value()}"} if self._key else {}

    def _broken_off(self, how: str) -> UpstreamError:
        return UpstreamError(
            f"Model server '{self._name}' {how}. Ask again, or choose another model.",
            code="upstream_broken_off",
            retryable=True,
        )

    def _unreachable(self) -> UpstreamError:
        return UpstreamError(
            f"Model server '{self._name}' cannot be reached. Try again, or choose another model.",
            code="upstream_unreachable",
            retryable=True,
        )

    def _too_slow(self, how: str) -> UpstreamError:
        return UpstreamError(
            f"Model server '{self._name}' {how} in time. Ask again, or choose another model.",
            kind=ErrorKind.TIMED_OUT,
            code="upstream_timed_out",
        )

    def _too_long(self) -> UpstreamError:
        return UpstreamError(
            f"Model server '{self._name}' sent more than this service reads. Ask for a shorter answer.",
            code="upstream_too_large",
        )


async def _read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, or none of it when it is longer than ``limit``."""
    body = bytearray()
    while received := await response.content.readany():
        body += received
        if len(body) > limit:
            return b""
    return bytes(body)
