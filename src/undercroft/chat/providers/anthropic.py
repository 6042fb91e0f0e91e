"""Anthropic's Messages API, or a server that speaks it."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from undercroft.chat.providers.anthropic_wire import (
    MOST_MODELS,
    AnswerReader,
    MalformedAnswerError,
    ModelList,
    StreamEvent,
    request_body,
)
from undercroft.chat.providers.budgets import Patience
from undercroft.chat.providers.json_output import held_to, instructed
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    GenerationEvent,
    GenerationRequest,
    Location,
    ModelInfo,
)
from undercroft.chat.providers.upstream import Upstream, UpstreamServer
from undercroft.chat.providers.upstream_errors import (
    OVERLOADED,
    ErrorDetail,
    UpstreamError,
    broken_off,
    refusal,
)
from undercroft.kit.errors import InvalidRequestError

_VERSION: Final = "2023-06-01"
_STATUS_OF_ERROR: Final = {"overloaded_error": OVERLOADED, "rate_limit_error": 429}
"""Of errors that come as events because the stream had begun when they were met."""


class AnthropicProvider:
    """Streams messages from a server that speaks Anthropic's API.

    Args:
        upstream: The server.
        location: Whether its operator is ours.
    """

    def __init__(self, upstream: Upstream, *, location: Location) -> None:
        headers = {"anthropic-version": _VERSION}
        if upstream.key is not None:
            headers["x-api-key"] = upstream.key.get_secret_value()
        self._name = upstream.name
        self._location: Location = location
        self._server = UpstreamServer(upstream, headers)

    @property
    def name(self) -> str:
        """The name the operator gave the server."""
        return self._name

    @property
    def location(self) -> Location:
        """Whether text sent to it stays with the operator of this service."""
        return self._location

    @property
    def abilities(self) -> frozenset[Ability]:
        """Functions; and JSON, which the model is told in words and held to at the end."""
        return frozenset({Ability.TOOLS, Ability.JSON})

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The server's models, from its answer of at most half a minute ago.

        Raises:
            UpstreamError: It did not list them, now or a few seconds ago.
        """
        return await self._server.list_models(self._parse_models, {"limit": str(MOST_MODELS)})

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Streams an answer; see :class:`~undercroft.chat.providers.protocol.ModelProvider`.

        A request that fails before its first text is sent again, a few times, when that may help.

        Raises:
            InvalidRequestError: The API cannot be asked this.
            UpstreamError: The server refused, failed, fell silent or broke off.
        """
        if not request.messages:
            raise InvalidRequestError("Give the model at least one message.", param="messages")
        output = request.options.output
        if output is not None:
            request = replace(request, messages=instructed(request.messages, output))

        def attempt(patience: Patience) -> AsyncGenerator[GenerationEvent, None]:
            return self._attempt(request, patience)

        generated = self._server.generate(attempt, request.seconds)
        async with contextlib.aclosing(
            generated if output is None else held_to(output, generated)
        ) as events:
            async for event in events:
                yield event

    async def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """Not known: the tokenizer is the server's."""
        del texts
        return None

    async def close(self) -> None:
        """Nothing is held: connections belong to the session, which its owner closes."""

    async def _attempt(
        self, request: GenerationRequest, patience: Patience
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Sends the request once and reads the answer."""
        body = request_body(request)
        async with self._server.opened("messages", body, request.model, patience) as response:
            reader = AnswerReader()
            payloads = self._server.payloads(response, patience)
            async with contextlib.aclosing(payloads):
                async for payload in payloads:
                    for event in self._take(reader, request, payload):
                        yield event
                    if reader.is_complete:
                        break
                    if reader.has_begun:
                        patience.renew()
            finished = reader.finish(request)
            if finished is None:
                raise broken_off(self._name, "ended its answer in the middle")
            if reader.is_complete:
                await self._server.read_to_end(response)
            yield finished

    def _take(
        self, reader: AnswerReader, request: GenerationRequest, payload: bytes
    ) -> list[GenerationEvent]:
        try:
            event = StreamEvent.model_validate_json(payload)
            if event.type == "error":
                raise self._reported(request, event.error)
            return reader.take(event)
        except (ValidationError, MalformedAnswerError) as error:
            raise broken_off(self._name, "sent something that is no message") from error

    def _reported(self, request: GenerationRequest, error: ErrorDetail | None) -> UpstreamError:
        """An error in place of an event means what its status would have."""
        status = _STATUS_OF_ERROR.get((error and error.type) or "")
        if status is None:
            return broken_off(self._name, "reported an error in the middle of its answer")
        return refusal(self._name, request.model, status, ErrorDetail(), None)

    def _parse_models(self, body: bytes) -> tuple[ModelInfo, ...]:
        return tuple(model.info(self._name) for model in ModelList.model_validate_json(body).data)
