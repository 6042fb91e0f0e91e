"""A model that says what the test wrote, and counts how often it was asked."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

from tests.stepping import Gate
from undercroft.chat.providers.options import Ability
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Location,
    ModelInfo,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.tools.client import ToolClient
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.errors import UndercroftError

SCRIPTED = "scripted"


def no_tools() -> ToolClient:
    """For responses that call no remote tools."""
    return ToolClient(cast("Any", None), EgressPolicy())


class CallingModel:
    """A provider that calls functions: each time that it is asked, what the test wrote for that time.

    Args:
        rounds: What it says each time; the last one again and again.
    """

    location: Location = "local"
    name = "calling"
    abilities = frozenset({Ability.TOOLS})

    def __init__(self, *rounds: Sequence[GenerationEvent]) -> None:
        self._rounds = rounds
        self.requests: list[GenerationRequest] = []

    async def list_models(self) -> tuple[ModelInfo, ...]:
        return (ModelInfo(SCRIPTED, "test", context_tokens=4096),)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        self.requests.append(request)
        events = self._rounds[min(len(self.requests), len(self._rounds)) - 1]
        for event in events:
            yield event
        called = any(isinstance(event, ToolCallDelta) for event in events)
        reason = FinishReason.TOOL_CALLS if called else FinishReason.STOP
        yield Finished(reason, Usage(11, 7))

    async def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        del texts
        return None

    async def close(self) -> None:
        return None


class ScriptedModel:
    """A provider at its seam.

    Args:
        pieces: What it says, piece by piece.
        failure: Raised after the last piece.
        endless: Whether it then goes on thinking for ever.
        gate: Where it stops before its second piece.
        continues: Whether it goes on after a beginning, if that is of its own words.
        name: Of the provider.
    """

    location: Location = "local"

    def __init__(
        self,
        *pieces: str,
        failure: UndercroftError | None = None,
        endless: bool = False,
        gate: Gate | None = None,
        continues: bool = False,
        name: str = "scripted",
    ) -> None:
        self.name = name
        self._continues = continues
        self._pieces = pieces
        self._failure = failure
        self._endless = endless
        self._gate = gate
        self.requests: list[GenerationRequest] = []
        self.closed = 0

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset({Ability.CONTINUE}) if self._continues else frozenset()

    async def list_models(self) -> tuple[ModelInfo, ...]:
        return (ModelInfo(SCRIPTED, "test", context_tokens=4096),)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationEvent, None]:
        self.requests.append(request)
        begun = request.prefix
        try:
            for number, piece in enumerate(self._pieces):
                if begun:
                    assert piece.startswith(begun) or begun.startswith(piece)
                    piece, begun = piece[len(begun) :], begun[len(piece) :]  # noqa: PLW2901
                    if not piece:
                        continue
                if number == 1 and self._gate is not None:
                    await self._gate.pass_through()
                yield TextDelta(piece)
            if self._failure is not None:
                raise self._failure
            if self._endless:
                await asyncio.Event().wait()
            yield Finished(FinishReason.STOP, Usage(11, 7))
        finally:
            self.closed += 1

    async def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        del texts
        return None

    async def close(self) -> None:
        return None
