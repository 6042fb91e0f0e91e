"""Which model is offered by whom, and who answers when the first one fails."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import structlog

from undercroft.chat.providers.continuing import Course
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    GenerationEvent,
    GenerationRequest,
    Location,
    ModelInfo,
    ModelProvider,
)
from undercroft.kit.circuit import Circuit, CircuitState
from undercroft.kit.clock import Clock, SystemClock
from undercroft.kit.errors import (
    ErrorKind,
    InvalidRequestError,
    UnavailableError,
    UndercroftError,
)

REFRESH_SECONDS: Final = 60.0
"""How long the lists of models are relied on for choosing a provider."""

_FAIL_OVER: Final = frozenset(
    {
        ErrorKind.UPSTREAM_FAILED,
        ErrorKind.UNAVAILABLE,
        ErrorKind.TIMED_OUT,
        ErrorKind.RATE_LIMITED,
        ErrorKind.NOT_FOUND,
    }
)

FAULTS: Final = frozenset(
    {
        "upstream_broken_off",
        "upstream_failed",
        "upstream_timed_out",
        "upstream_unavailable",
        "upstream_unreachable",
    }
)
"""What counts against a server. Not what may be the request's fault, and no limit that it keeps to."""

_WHOLE_SECONDS: Final = 900.0

_log = structlog.stdlib.get_logger(__name__)


class UnableError(InvalidRequestError):
    """Nobody who offers the model can do what the request asks.

    Args:
        model: The model.
        ability: What is asked.
    """

    def __init__(self, model: str, ability: Ability) -> None:
        super().__init__(
            f"The model '{model[:256]}' does not take '{ability.value}'. Leave it out, or choose another model.",
            param=ability.value,
            code="model_unable",
        )
        self.ability = ability


class ModelNotFoundError(UndercroftError):
    """No provider offers a model of that name."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"No model '{model[:256]}' answers here. GET /v1/models lists those that do, and the one for embeddings.",
            kind=ErrorKind.NOT_FOUND,
            param="model",
            code="model_not_found",
        )


@dataclass(frozen=True, slots=True)
class ModelListing:
    """The models offered now.

    Attributes:
        models: Each name once, as its first provider describes it.
        failures: Providers that could not say what they offer, by name, with their errors.
    """

    models: tuple[ModelInfo, ...]
    failures: dict[str, UndercroftError]


class ModelRegistry:
    """All providers, in the order in which they are preferred.

    Args:
        providers: First come, first asked.
        default_model: What a request without a model gets.
        clock: For the age of the lists, and how long a provider is not asked.
        seconds: What one generation may take in all, over all providers that are asked for it.

    Raises:
        ValueError: Two providers have the same name.
    """

    def __init__(
        self,
        providers: Sequence[ModelProvider],
        *,
        default_model: str,
        clock: Clock | None = None,
        seconds: float = _WHOLE_SECONDS,
    ) -> None:
        self._providers = tuple(providers)
        if len({provider.name for provider in providers}) < len(providers):
            raise ValueError("two model providers have the same name")
        self._default_model = default_model
        self._clock = clock or SystemClock()
        self._seconds = seconds
        # A model that fails says nothing of the others of its server. Only models that are offered come here.
        self._circuits: dict[tuple[str, str], Circuit] = {}
        self._offered: dict[str, tuple[ModelInfo, ...]] = {}
        self._refreshed_at: float | None = None

    @property
    def default_model(self) -> str:
        """What a request without a model gets."""
        return self._default_model

    async def list_models(self) -> ModelListing:
        """Asks all providers at once; one that does not answer is left out and reported."""
        answers = await asyncio.gather(*map(_models_or_error, self._providers))
        models: dict[str, ModelInfo] = {}
        failures: dict[str, UndercroftError] = {}
        for provider, answer in zip(self._providers, answers, strict=True):
            if isinstance(answer, UndercroftError):
                failures[provider.name] = answer
                continue
            self._offered[provider.name] = answer
            for model in answer:
                models.setdefault(model.id, model)
        self._refreshed_at = self._clock.monotonic()
        return ModelListing(tuple(models.values()), failures)

    async def resolve(self, model: str) -> tuple[ModelProvider, ...]:
        """Who offers a model, in order of preference; never empty.

        A provider that cannot be reached counts with the list it gave last: asking it is what fails over.

        Raises:
            ModelNotFoundError: Nobody offers it.
            UnavailableError: Nobody who could be asked offers it, and somebody could not be asked.
        """
        age = None if self._refreshed_at is None else self._clock.monotonic() - self._refreshed_at
        failures: dict[str, UndercroftError] = {}
        offering = self._offering(model)
        if not offering or age is None or age > REFRESH_SECONDS:
            failures = (await self.list_models()).failures
            offering = self._offering(model)
        if offering:
            return offering
        if failures:
            names = ", ".join(f"'{name}'" for name in failures)
            raise UnavailableError(
                f"The model '{model[:256]}' is not known, and {names} cannot be asked for it now. Try again later.",
                retry_after=10,
                code="model_provider_unavailable",
            )
        raise ModelNotFoundError(model)

    async def require(self, model: str, needs: frozenset[Ability]) -> tuple[ModelProvider, ...]:
        """Who offers a model and can do what is asked, in order of preference; never empty.

        Raises:
            UnableError: None of those who offer it can.
            UndercroftError: As :meth:`resolve`.
        """
        offering = await self.resolve(model)
        able = tuple(provider for provider in offering if needs <= provider.abilities)
        if not able:
            missing = needs - offering[0].abilities
            raise UnableError(model, min(missing))
        return able

    async def context_tokens(self, model: str) -> int | None:
        """The longest prompt and answer together that whoever is asked first takes, where known.

        Raises:
            UndercroftError: As :meth:`resolve`.
        """
        first = (await self.resolve(model))[0]
        offered = self._offered.get(first.name, ())
        return next((info.context_tokens for info in offered if info.id == model), None)

    async def count_tokens(self, model: str, texts: Sequence[str]) -> list[int] | None:
        """How long each text is to whoever is asked first; None where only a server knows.

        Raises:
            UndercroftError: As :meth:`resolve`, or nobody can count now.
        """
        return await (await self.resolve(model))[0].count_tokens(texts)

    async def find_location(self, model: str) -> Location:
        """Where whoever is asked first runs.

        Raises:
            UndercroftError: As :meth:`resolve`.
        """
        return (await self.resolve(model))[0].location

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Streams from the first provider of the request's model that begins to answer.

        One that fails afterwards is taken up by whoever can go on with its text, and nobody sees the seam; without such
        a one there is no turning to another: its answer would not continue the first one's. A provider that failed
        several times in a row is passed over for a while. Each is given the time that is left.

        Raises:
            UndercroftError: Nobody offers the model, the last provider failed, or none is asked for now.
        """
        course = Course(request, await self._resolve_for(request))
        deadline = self._clock.monotonic() + min(request.seconds or self._seconds, self._seconds)
        failure: UndercroftError | None = None
        while (provider := course.next()) is not None:
            left = deadline - self._clock.monotonic()
            if failure is not None and left <= 0:
                break
            circuit = self._circuit(provider, request.model)
            passed = circuit.enter()
            if passed is None:
                failure = failure or _resting(provider, circuit)
                continue
            started = False
            try:
                asked = _with_own_thoughts(course.request(left), provider)
                async with contextlib.aclosing(provider.generate(asked)) as events:
                    async for event in events:
                        if not started:
                            started = True
                            circuit.begin(passed)
                        course.add(event)
                        yield event
            except UndercroftError as error:
                # Once all the time is over it is the asker's: a long answer, a slow reader, others who took most of it.
                if self._clock.monotonic() < deadline:
                    self._count(provider, circuit, passed, error)
                if error.kind not in _FAIL_OVER or not course.can_go_on_after(provider):
                    raise
                _log.warning("model_provider_failed", provider=provider.name, code=error.code)
                failure = error
            else:
                circuit.succeed(passed)
                return
            finally:
                circuit.leave(passed)
        # There is always a provider, and each has failed or was passed over.
        raise cast("UndercroftError", failure)

    async def close(self) -> None:
        """Closes every provider."""
        await asyncio.gather(*(provider.close() for provider in self._providers))

    def _circuit(self, provider: ModelProvider, model: str) -> Circuit:
        return self._circuits.setdefault((provider.name, model), Circuit(self._clock))

    def _count(
        self, provider: ModelProvider, circuit: Circuit, passed: int, error: UndercroftError
    ) -> None:
        """Holds a failure against the provider if it is its own."""
        if error.code not in FAULTS:
            return
        circuit.fail(passed)
        if circuit.state is CircuitState.OPEN:
            _log.warning("model_provider_rests", provider=provider.name, code=error.code)

    async def _resolve_for(self, request: GenerationRequest) -> tuple[ModelProvider, ...]:
        offering = await self.require(request.model, request.needs())
        if not request.is_confined:
            return offering
        local = tuple(provider for provider in offering if provider.location == "local")
        if not local:
            raise UnavailableError(
                "The model does not run on this service's own machines now, and what was shared may not leave them. "
                "Try again later, or ask a local model.",
                retry_after=10,
                code="model_provider_unavailable",
            )
        return local

    def _offering(self, model: str) -> tuple[ModelProvider, ...]:
        return tuple(
            provider
            for provider in self._providers
            if any(offered.id == model for offered in self._offered.get(provider.name, ()))
        )


def _with_own_thoughts(request: GenerationRequest, provider: ModelProvider) -> GenerationRequest:
    """Nobody is given what another model thought: it is opaque, and might be taken for something else."""
    if not any(message.reasoning for message in request.messages):
        return request
    messages = (
        replace(
            message,
            reasoning=tuple(
                thought
                for thought in message.reasoning
                if (thought.provider, thought.model) == (provider.name, request.model)
            ),
        )
        for message in request.messages
    )
    return replace(request, messages=tuple(messages))


def _resting(provider: ModelProvider, circuit: Circuit) -> UnavailableError:
    return UnavailableError(
        f"Model server '{provider.name}' has failed several times in a row with this model and is not asked for it "
        "for a while. Try again later, or choose another model.",
        retry_after=circuit.seconds_left,
        code="model_provider_resting",
    )


async def _models_or_error(
    provider: ModelProvider,
) -> tuple[ModelInfo, ...] | UndercroftError:
    try:
        return await provider.list_models()
    except UndercroftError as error:
        return error
