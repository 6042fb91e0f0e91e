"""Any OpenAI-compatible model server, by its base URL and key."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import aiohttp
from pydantic import ValidationError

from undercroft.chat.providers.budgets import Patience
from undercroft.chat.providers.openai_wire import (
    AnswerReader,
    Chunk,
    MalformedAnswerError,
    ModelList,
    request_body,
)
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    GenerationEvent,
    GenerationRequest,
    Location,
    ModelInfo,
)
from undercroft.chat.providers.upstream import Upstream, UpstreamServer
from undercroft.chat.providers.upstream_errors import UpstreamError, broken_off
from undercroft.kit.errors import InvalidRequestError

_DONE: Final = b"[DONE]"
_PATH: Final = "chat/completions"
_MAX_REMEMBERED_MODELS: Final = 1000


class OpenAiCompatibleProvider:
    """Streams chat completions from a server that speaks OpenAI's API.

    Args:
        upstream: The server.
        location: Whether its operator is ours.
    """

    def __init__(self, upstream: Upstream, *, location: Location) -> None:
        key = upstream.key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._name = upstream.name
        self._location: Location = location
        self._server = UpstreamServer(upstream, headers)
        self._newer_limit: set[str] = set()

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
        """All there are: what its models cannot do the server refuses itself, and its reason is passed on."""
        return frozenset(Ability)

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The server's models, from its answer of at most half a minute ago.

        Raises:
            UpstreamError: It did not list them, now or a few seconds ago.
        """
        return await self._server.list_models(self._parse_models)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Streams an answer; see :class:`~undercroft.chat.providers.protocol.ModelProvider`.

        A request that fails before its first text is sent again, a few times, when that may help.

        Raises:
            UpstreamError: The server refused, failed, fell silent or broke off.
        """
        if not request.messages:
            raise InvalidRequestError("Give the model at least one message.", param="messages")

        def attempt(patience: Patience) -> AsyncGenerator[GenerationEvent, None]:
            return self._attempt(request, patience)

        generated = self._server.generate(attempt, request.seconds)
        async with contextlib.aclosing(generated) as events:
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
        async with contextlib.AsyncExitStack() as stack:
            response = await self._opened(stack, request, patience)
            reader = AnswerReader()
            is_complete = False
            payloads = self._server.payloads(response, patience)
            async with contextlib.aclosing(payloads):
                async for payload in payloads:
                    if payload == _DONE:
                        is_complete = True
                        break
                    for event in self._take(reader, payload):
                        yield event
                    if reader.has_begun:
                        patience.renew()
            finished = reader.finish(request, is_complete=is_complete)
            if finished is None:
                raise broken_off(self._name, "ended its answer in the middle")
            if is_complete:
                await self._server.read_to_end(response)
            yield finished

    async def _opened(
        self, stack: contextlib.AsyncExitStack, request: GenerationRequest, patience: Patience
    ) -> aiohttp.ClientResponse:
        """The response, left open for as long as the stack is."""
        model = request.model
        field = "max_completion_tokens" if model in self._newer_limit else "max_tokens"
        try:
            return await stack.enter_async_context(
                self._server.opened(_PATH, request_body(request, field), model, patience)
            )
        except UpstreamError as error:
            if (
                error.refused_field != "max_tokens"
                or field != "max_tokens"
                or len(self._newer_limit) >= _MAX_REMEMBERED_MODELS
            ):
                raise
        # OpenAI's reasoning models know only the newer name of the limit; most other servers only the older.
        self._newer_limit.add(model)
        return await self._opened(stack, request, patience)

    def _take(self, reader: AnswerReader, payload: bytes) -> list[GenerationEvent]:
        try:
            chunk = Chunk.model_validate_json(payload)
            if chunk.error is not None:
                raise broken_off(self._name, "reported an error in the middle of its answer")
            return reader.take(chunk)
        except (ValidationError, MalformedAnswerError) as error:
            raise broken_off(self._name, "sent something that is no chat completion") from error

    def _parse_models(self, body: bytes) -> tuple[ModelInfo, ...]:
        return tuple(model.info(self._name) for model in ModelList.model_validate_json(body).data)
