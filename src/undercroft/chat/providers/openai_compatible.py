"""Any OpenAI-compatible model server, by its base URL and key."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

import aiohttp

from undercroft.chat.providers.budgets import Patience
from undercroft.chat.providers.openai_request import request_body
from undercroft.chat.providers.openai_wire import AnswerReader, ModelList
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import GenerationRequest, Location, ModelInfo
from undercroft.chat.providers.upstream import Upstream
from undercroft.chat.providers.upstream_errors import UpstreamError
from undercroft.chat.providers.upstream_provider import UpstreamProvider

_PATH: Final = "chat/completions"
_MAX_REMEMBERED_MODELS: Final = 1000


class OpenAiCompatibleProvider(UpstreamProvider):
    """Streams chat completions from a server that speaks OpenAI's API.

    Args:
        upstream: The server.
        location: Whether its operator is ours.
        continues: Whether the server goes on after a last message of the assistant's when ``continue_final_message``
            says so, as vLLM and SGLang do.
        sees: Whether its models take pictures.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        location: Location,
        continues: bool = False,
        sees: bool = False,
    ) -> None:
        key = upstream.key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        super().__init__(upstream, headers, location=location)
        unable = {Ability.REASONING_SUMMARY}
        if not continues:
            unable.add(Ability.CONTINUE)
        if not sees:
            unable.add(Ability.IMAGES)
        self._abilities = frozenset(Ability) - unable
        self._newer_limit: set[str] = set()

    @property
    def abilities(self) -> frozenset[Ability]:
        """Nearly all there are: what its models cannot do the server refuses itself, and its reason is passed on.

        But to one that does not know how to go on with an answer, its beginning would be one more turn. And the API has
        no word for what is to be told of the model's thoughts. Nor is anybody sent pictures who is not said to see:
        servers are known to pass over what they do not.
        """
        return self._abilities

    @contextlib.asynccontextmanager
    async def _opened(
        self, request: GenerationRequest, patience: Patience
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        async with contextlib.AsyncExitStack() as stack:
            yield await self._open(stack, request, patience)

    async def _open(
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
        return await self._open(stack, request, patience)

    def _new_answer(self, request: GenerationRequest) -> AnswerReader:
        return AnswerReader(self._name, request)

    def _parse_models(self, body: bytes) -> tuple[ModelInfo, ...]:
        return tuple(model.info(self._name) for model in ModelList.model_validate_json(body).data)
