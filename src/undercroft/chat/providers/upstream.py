"""A model server over HTTP: connections, retries, deadlines, limits. What is said over it is its adapter's affair."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import aiohttp
import structlog
from pydantic import SecretStr, ValidationError
from yarl import URL

from undercroft.chat.providers.budgets import Budgets, Patience
from undercroft.chat.providers.event_stream import EventStreamReader, EventTooLargeError
from undercroft.chat.providers.patient_body import PatientBody
from undercroft.chat.providers.protocol import GenerationEvent, ModelInfo
from undercroft.chat.providers.upstream_errors import (
    ErrorBody,
    ErrorDetail,
    UpstreamError,
    broken_off,
    parse_retry_after,
    refusal,
    too_long,
    too_slow,
    unreachable,
)
from undercroft.kit.clock import Clock

_MAX_ERROR_BYTES: Final = 64 * 1024
_MAX_LISTING_BYTES: Final = 4 * 1024 * 1024
_END_OF_BODY_SECONDS: Final = 0.5

Attempt: TypeAlias = Callable[[Patience], AsyncGenerator[GenerationEvent, None]]
"""Sends a request once, and reads the answer."""

ParseModels: TypeAlias = Callable[[bytes], tuple[ModelInfo, ...]]

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Upstream:
    """One model server, and with what it is asked.

    Attributes:
        name: The server's name for errors, logs and the operator.
        base_url: Up to and including ``/v1``.
        key: Its API key; sent to this server only, never logged.
        session: The service's shared HTTP client. It stays its owner's to close.
        random: A number in [0, 1); spreads retries.
        budgets: What the server may take.
        clock: For deadlines.
        sleep: Waits before a retry.
    """

    name: str
    base_url: str
    key: SecretStr | None
    session: aiohttp.ClientSession
    random: Callable[[], float]
    budgets: Budgets
    clock: Clock
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class _Listing:
    models: tuple[ModelInfo, ...]
    error: UpstreamError | None
    expires: float


class UpstreamServer:
    """Asks one server.

    Args:
        upstream: The server.
        headers: Sent with each request, its key among them.
    """

    def __init__(self, upstream: Upstream, headers: Mapping[str, str]) -> None:
        self._name = upstream.name
        self._url = URL(upstream.base_url)
        self._key = upstream.key
        self._headers = dict(headers)
        self._session = upstream.session
        self._random = upstream.random
        self._budgets = upstream.budgets
        self._clock = upstream.clock
        self._sleep = upstream.sleep
        self._listing: _Listing | None = None
        self._listing_lock = asyncio.Lock()

    async def list_models(
        self, parse: ParseModels, query: Mapping[str, str] | None = None
    ) -> tuple[ModelInfo, ...]:
        """The server's models, from its answer of at most half a minute ago.

        Args:
            parse: Reads the list; raises ValidationError when it is none.
            query: Of the request for it.

        Raises:
            UpstreamError: It did not list them, now or a few seconds ago.
        """
        # One question at a time: whoever comes while a server is slow waits for that answer instead of asking too.
        async with self._listing_lock:
            if self._listing is None or self._clock.monotonic() >= self._listing.expires:
                self._listing = await self._ask_for_models(parse, query)
            if self._listing.error is not None:
                raise self._listing.error.with_traceback(None)
            return self._listing.models

    async def generate(
        self, attempt: Attempt, seconds: float | None
    ) -> AsyncGenerator[GenerationEvent, None]:
        """The events of an attempt. One that fails before its first event is made again, a few times, if that may help.

        Args:
            attempt: What is to be done.
            seconds: What it may take in all.

        Raises:
            UpstreamError: The server refused, failed, fell silent or broke off.
        """
        patience = Patience(self._clock, self._budgets, seconds)
        number = 0
        while True:
            number += 1
            started = False
            try:
                async with contextlib.aclosing(attempt(patience)) as events:
                    async for event in events:
                        started = True
                        yield event
            except UpstreamError as error:
                pause = self._pause(error, number, patience)
                if started or pause is None:
                    raise
                _log.warning(
                    "upstream_retry",
                    upstream=self._name,
                    code=error.code,
                    attempt=number,
                    pause=round(pause, 3),
                )
            else:
                return
            await self._sleep(pause)

    @contextlib.asynccontextmanager
    async def opened(
        self, path: str, body: Mapping[str, Any], model: str, patience: Patience
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The open response to a request that the server accepted.

        Raises:
            UpstreamError: It did not.
        """
        response = await self._post(path, body, model, patience)
        try:
            yield response
        finally:
            # Returns the connection of a response that was read to its end to the pool, and closes that of any other,
            # which is how the server learns that nobody listens.
            response.release()

    async def payloads(
        self, response: aiohttp.ClientResponse, patience: Patience
    ) -> AsyncGenerator[list[bytes], None]:
        """The payloads of the response's events, those of one read together; ends where the server ends.

        Each read is waited for within its time.

        Raises:
            UpstreamError: It fell silent, cut the connection or says too much.
        """
        reader = EventStreamReader(self._budgets.event_bytes)
        body = PatientBody(response.content, patience)
        received_bytes = 0
        try:
            while True:
                received = await self._receive(body)
                received_bytes += len(received)
                try:
                    payloads = reader.feed(received) if received else reader.finish()
                except EventTooLargeError as error:
                    raise too_long(self._name) from error
                if received_bytes > self._budgets.response_bytes:
                    raise too_long(self._name)
                if payloads:
                    yield payloads
                if not received:
                    return
        finally:
            body.close()

    async def read_to_end(self, response: aiohttp.ClientResponse) -> None:
        """Reads what closes the body, so that the connection can be used again; gives up soon."""
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_END_OF_BODY_SECONDS):
                await response.content.readany()

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

    async def _post(
        self, path: str, body: Mapping[str, Any], model: str, patience: Patience
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(patience.left):
                response = await self._session.post(
                    self._url.joinpath(*path.split("/")),
                    json=body,
                    headers={**self._headers, "Accept": "text/event-stream"},
                    timeout=aiohttp.ClientTimeout(total=None, connect=self._budgets.connect),
                    allow_redirects=False,
                )
                if response.status == 200:
                    return response
                async with response:
                    detail = await self._error_detail(response)
        except aiohttp.ConnectionTimeoutError as error:
            raise unreachable(self._name) from error
        except TimeoutError as error:
            raise too_slow(self._name, "did not begin to answer") from error
        except aiohttp.ClientConnectorError as error:
            raise unreachable(self._name) from error
        except (aiohttp.ClientError, OSError) as error:
            raise broken_off(self._name, "closed the connection before it answered") from error
        retry_after = parse_retry_after(response.headers.get("Retry-After"))
        raise refusal(self._name, model, response.status, detail, retry_after)

    async def _receive(self, body: PatientBody) -> bytes:
        """The next bytes; none at the end of the response."""
        try:
            return await body.read()
        except TimeoutError as error:
            raise too_slow(self._name, "fell silent") from error
        except (aiohttp.ClientError, OSError) as error:
            raise broken_off(
                self._name, "cut the connection in the middle of its answer"
            ) from error

    async def _ask_for_models(
        self, parse: ParseModels, query: Mapping[str, str] | None
    ) -> _Listing:
        """One request; a failure is an answer too, kept for a while so that it is not paid for again."""
        budgets = self._budgets
        try:
            async with asyncio.timeout(budgets.listing):
                async with self._session.get(
                    (self._url / "models").with_query(query),
                    headers=self._headers,
                    allow_redirects=False,
                ) as response:
                    body = await _read_bounded(response, _MAX_LISTING_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return self._no_listing(unreachable(self._name))
        if response.status != 200:
            return self._no_listing(refusal(self._name, "", response.status, ErrorDetail(), None))
        try:
            models = await asyncio.to_thread(parse, body)
        except ValidationError:
            return self._no_listing(
                broken_off(self._name, "sent something that is no list of models")
            )
        unique = {model.id: model for model in models}
        expires = self._clock.monotonic() + budgets.listing_fresh
        return _Listing(tuple(unique.values()), None, expires)

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


async def _read_bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, or none of it when it is longer than ``limit``."""
    body = bytearray()
    while received := await response.content.readany():
        body += received
        if len(body) > limit:
            return b""
    return bytes(body)
