"""A fake model server, the service's HTTP client, and the real built-in model."""

import itertools
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import aiohttp
import pytest
from pydantic import SecretStr

from tests.servers.anthropic_server import running_anthropic_server
from tests.servers.model_server import KEY, ModelServer, running_model_server
from undercroft.chat.providers.anthropic import AnthropicProvider
from undercroft.chat.providers.budgets import Budgets
from undercroft.chat.providers.local import LocalLimits, LocalModelProvider, find_smollm2
from undercroft.chat.providers.openai_compatible import OpenAiCompatibleProvider
from undercroft.chat.providers.protocol import (
    Finished,
    GenerationEvent,
    GenerationRequest,
    Location,
    Message,
    ModelProvider,
    Role,
    TextDelta,
)
from undercroft.chat.providers.upstream import Upstream
from undercroft.kit.clock import SystemClock
from undercroft.kit.egress import open_client


@pytest.fixture(scope="session")
def shared_model_server() -> Generator[ModelServer]:
    with running_model_server() as server:
        yield server


@pytest.fixture
async def model_server(shared_model_server: ModelServer) -> ModelServer:
    await shared_model_server.reset()
    return shared_model_server


@pytest.fixture(scope="session")
def shared_anthropic_server() -> Generator[ModelServer]:
    with running_anthropic_server() as server:
        yield server


@pytest.fixture
async def anthropic_server(shared_anthropic_server: ModelServer) -> ModelServer:
    await shared_anthropic_server.reset()
    return shared_anthropic_server


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with open_client() as opened:
        yield opened


class Pauses:
    """Stands in for ``asyncio.sleep``: remembers, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@dataclass(frozen=True)
class MakeUpstream:
    """Makes a provider of the model server at a URL."""

    session: aiohttp.ClientSession
    pauses: Pauses

    def __call__(
        self,
        base_url: str,
        *,
        name: str = "fake",
        key: str = KEY,
        location: Location = "external",
        budgets: Budgets | None = None,
        api: Callable[..., ModelProvider] = OpenAiCompatibleProvider,
        **more: bool,
    ) -> ModelProvider:
        upstream = Upstream(
            name=name,
            base_url=base_url,
            key=SecretStr(key),
            session=self.session,
            random=lambda: 0.5,
            budgets=budgets or Budgets(),
            clock=SystemClock(),
            sleep=self.pauses,
        )
        return api(upstream, location=location, **more)


@pytest.fixture
def make_upstream(session: aiohttp.ClientSession, pauses: Pauses) -> MakeUpstream:
    return MakeUpstream(session, pauses)


@pytest.fixture
def openai_compatible(model_server: ModelServer, make_upstream: MakeUpstream) -> ModelProvider:
    """The provider of ``model_server``."""
    return make_upstream(model_server.base_url)


@pytest.fixture
def anthropic(anthropic_server: ModelServer, make_upstream: MakeUpstream) -> ModelProvider:
    """The provider of ``anthropic_server``."""
    return make_upstream(anthropic_server.base_url, api=AnthropicProvider)


MakeLocal = Callable[..., LocalModelProvider]


@pytest.fixture
async def make_local() -> AsyncGenerator[MakeLocal]:
    path = find_smollm2()
    assert path is not None, "install models.lock"
    made: list[LocalModelProvider] = []

    def make(limits: LocalLimits | None = None) -> LocalModelProvider:
        provider = LocalModelProvider(path, seeds=itertools.count(1).__next__, limits=limits)
        made.append(provider)
        return provider

    yield make
    for provider in made:
        await provider.close()


def ask(model: str, text: str, **options: object) -> GenerationRequest:
    """A request of one user turn."""
    return GenerationRequest(model, (Message(Role.USER, text),), **options)  # pyright: ignore[reportArgumentType] -- tests pass what the type takes


async def answer(
    provider: ModelProvider, request: GenerationRequest
) -> tuple[Sequence[str], Finished]:
    """All deltas and the end of a generation, which must be in that order."""
    async with aclosing(provider.generate(request)) as events:
        *deltas, end = [event async for event in events]
    assert isinstance(end, Finished)
    texts = [delta.text for delta in deltas if isinstance(delta, TextDelta)]
    assert len(texts) == len(deltas)
    assert all(texts)
    return texts, end


async def collect(
    events: AsyncGenerator[GenerationEvent, None], into: list[GenerationEvent]
) -> None:
    """Reads a generation to its end, keeping what came before a failure."""
    async with aclosing(events):
        async for event in events:
            into.append(event)  # noqa: PERF401 -- a comprehension would lose them all
