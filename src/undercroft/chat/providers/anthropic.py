"""Anthropic's Messages API, or a server that speaks it."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Final

import aiohttp

from undercroft.chat.providers.anthropic_request import request_body
from undercroft.chat.providers.anthropic_wire import MOST_MODELS, AnswerReader, ModelList
from undercroft.chat.providers.budgets import Patience
from undercroft.chat.providers.json_output import formed
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    GenerationEvent,
    GenerationRequest,
    Location,
    ModelInfo,
)
from undercroft.chat.providers.upstream import Upstream
from undercroft.chat.providers.upstream_provider import UpstreamProvider

_VERSION: Final = "2023-06-01"


class AnthropicProvider(UpstreamProvider):
    """Streams messages from a server that speaks Anthropic's API.

    Args:
        upstream: The server.
        location: Whether its operator is ours.
        sees: Whether its models take pictures.
    """

    _listing_query: ClassVar = {"limit": str(MOST_MODELS)}

    def __init__(self, upstream: Upstream, *, location: Location, sees: bool = False) -> None:
        headers = {"anthropic-version": _VERSION}
        if upstream.key is not None:
            headers["x-api-key"] = upstream.key.get_secret_value()
        super().__init__(upstream, headers, location=location)
        self._sees = sees

    @property
    def abilities(self) -> frozenset[Ability]:
        """Functions and thoughts; JSON, which the model is told in words and held to at the end; what is declared."""
        able = {
            Ability.TOOLS,
            Ability.JSON,
            Ability.FILES,
            Ability.REASONING,
            Ability.REASONING_SUMMARY,
        }
        return frozenset(able | {Ability.IMAGES} if self._sees else able)

    def _generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        return formed(request, super()._generate)

    def _opened(
        self, request: GenerationRequest, patience: Patience
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._server.opened("messages", request_body(request), request.model, patience)

    def _new_answer(self, request: GenerationRequest) -> AnswerReader:
        return AnswerReader(self._name, request)

    def _parse_models(self, body: bytes) -> tuple[ModelInfo, ...]:
        return tuple(model.info(self._name) for model in ModelList.model_validate_json(body).data)
