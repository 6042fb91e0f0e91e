"""A provider whose models run on a server: all of it that does not depend on the server's API."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol

import aiohttp

from undercroft.chat.providers.budgets import Patience
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    Finished,
    GenerationEvent,
    GenerationRequest,
    Location,
    ModelInfo,
    TextDelta,
)
from undercroft.chat.providers.upstream import Upstream, UpstreamServer
from undercroft.chat.providers.upstream_errors import UpstreamError, broken_off
from undercroft.kit.errors import InvalidRequestError


class Answer(Protocol):
    """An answer as it is read, event by event."""

    @property
    def has_begun(self) -> bool:
        """Whether there was anything to show."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the server said that it had ended."""
        ...

    def take(self, payload: bytes) -> list[GenerationEvent]:
        """What the payload of an event brings.

        Raises:
            UpstreamError: It is none of an answer, or reports an error.
        """
        ...

    def finish(self) -> Finished | None:
        """The end; None when the answer broke off."""
        ...


class UpstreamProvider(ABC):
    """Streams answers from one server.

    Args:
        upstream: The server.
        headers: Sent with each request, its key among them.
        location: Whether its operator is ours.
    """

    _listing_query: ClassVar[Mapping[str, str] | None] = None

    def __init__(
        self, upstream: Upstream, headers: Mapping[str, str], *, location: Location
    ) -> None:
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
    @abstractmethod
    def abilities(self) -> frozenset[Ability]:
        """What its models can do beyond text."""

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The server's models, from its answer of at most half a minute ago.

        Raises:
            UpstreamError: It did not list them, now or a few seconds ago.
        """
        return await self._server.list_models(self._parse_models, self._listing_query)

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Streams an answer; see :class:`~undercroft.chat.providers.protocol.ModelProvider`.

        A request that fails before its first text is sent again, a few times, when that may help.

        Raises:
            InvalidRequestError: The API cannot be asked this.
            UpstreamError: The server refused, failed, fell silent or broke off.
        """
        if not request.messages:
            raise InvalidRequestError("Give the model at least one message.", param="input")
        return self._generate(request)

    async def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """Not known: the tokenizer is the server's."""
        del texts
        return None

    async def close(self) -> None:  # noqa: B027 -- it is whole, and does nothing
        """Nothing is held: connections belong to the session, which its owner closes."""

    def _generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        def attempt(patience: Patience) -> AsyncGenerator[GenerationEvent, None]:
            return self._attempt(request, patience)

        return self._server.generate(attempt, request.seconds)

    async def _attempt(
        self, request: GenerationRequest, patience: Patience
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Sends the request once and reads the answer."""
        async with self._opened(request, patience) as response:
            answer = self._new_answer(request)
            reads = self._server.payloads(response, patience)
            async with contextlib.aclosing(reads):
                async for payloads in reads:
                    for event in joined(_taken(answer, payloads)):
                        yield event
                    if answer.is_complete:
                        break
                    if answer.has_begun:
                        patience.renew()
            finished = answer.finish()
            if finished is None:
                raise broken_off(self._name, "ended its answer in the middle")
            if answer.is_complete:
                await self._server.read_to_end(response)
            yield finished

    @abstractmethod
    def _opened(
        self, request: GenerationRequest, patience: Patience
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The open response to a request that the server accepted."""

    @abstractmethod
    def _new_answer(self, request: GenerationRequest) -> Answer:
        """The answer to a request, nothing of which was read yet."""

    @abstractmethod
    def _parse_models(self, body: bytes) -> tuple[ModelInfo, ...]:
        """The models of a list; raises ValidationError when it is none."""


def joined(events: Iterable[GenerationEvent]) -> Iterator[GenerationEvent]:
    """The same, pieces of text that follow each other as one: whoever is behind has less to do until they are not.

    A piece that says how likely its tokens were stays with them. What came before an error comes before it here, too.
    """
    texts: list[str] = []
    try:
        for event in events:
            if isinstance(event, TextDelta) and not event.logprobs:
                texts.append(event.text)
                continue
            yield from _as_one(texts)
            texts = []
            yield event
    except UpstreamError:
        yield from _as_one(texts)
        raise
    yield from _as_one(texts)


def _as_one(texts: Sequence[str]) -> Iterator[TextDelta]:
    if texts:
        yield TextDelta("".join(texts))


def _taken(answer: Answer, payloads: Iterable[bytes]) -> Iterator[GenerationEvent]:
    """What payloads bring, to the end of the answer."""
    for payload in payloads:
        yield from answer.take(payload)
        if answer.is_complete:
            return
