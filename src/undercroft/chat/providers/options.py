"""What a request may ask of a model beyond text, and which of it not every model can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

MAX_TOOLS: Final = 128
MAX_TOP_LOGPROBS: Final = 20


class Ability(StrEnum):
    """What not every model can do, named as the field of chat completions that asks for it, where there is one."""

    TOOLS = "tools"
    JSON = "response_format"
    SEED = "seed"
    FREQUENCY_PENALTY = "frequency_penalty"
    PRESENCE_PENALTY = "presence_penalty"
    LOGIT_BIAS = "logit_bias"
    LOGPROBS = "logprobs"
    VERBOSITY = "verbosity"
    REASONING = "reasoning_effort"
    REASONING_SUMMARY = "reasoning.summary"
    IMAGES = "input_image"
    FILES = "input_file"
    CONTINUE = "continue"
    """Going on after the beginning of an answer; no field asks for it, but what broke off."""


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function of the client's own: the model asks for a call, and the client makes it. Nothing is called here.

    Attributes:
        name: What the model calls it by.
        description: What it does, for the model.
        parameters: The JSON Schema of its arguments; None for one that takes none.
        is_strict: Whether the arguments must satisfy the schema; None leaves it to the model's server.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    is_strict: bool | None = None


Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
Verbosity: TypeAlias = Literal["low", "medium", "high"]
SummaryDetail: TypeAlias = Literal["auto", "concise", "detailed"]

ToolMode: TypeAlias = Literal["auto", "required", "none"]


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model may, must or must not ask for a call.

    Attributes:
        mode: As OpenAI has it.
        function: The one function that must be called; only with ``required``.
    """

    mode: ToolMode = "auto"
    function: str | None = None


@dataclass(frozen=True, slots=True)
class JsonOutput:
    """That the answer is a JSON object.

    Attributes:
        schema: The JSON Schema that it satisfies; None for any object.
        name: What the schema is called.
        description: What the object is, for the model.
        is_strict: As of a function.
    """

    schema: Mapping[str, Any] | None = None
    name: str = "answer"
    description: str | None = None
    is_strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks beyond text. All that is None or empty is not asked.

    Attributes:
        tools: The client's functions.
        tool_choice: Whether they are to be called.
        parallel_tool_calls: Whether several calls may be asked for at once.
        output: The form of the answer, if it is not text.
        seed: Of what is left to chance.
        frequency_penalty: Against what was said often, -2 to 2.
        presence_penalty: Against what was said at all, -2 to 2.
        logit_bias: For and against tokens of the model, by their numbers.
        top_logprobs: How many alternatives to show for each token; 0 for its own probability alone.
        verbosity: How long the answer is to be; medium is what every model writes without being asked.
        effort: How long the model is to think.
        summary: What is to be told of its thoughts.
    """

    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool | None = None
    output: JsonOutput | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    top_logprobs: int | None = None
    verbosity: Verbosity | None = None
    effort: Effort | None = None
    summary: SummaryDetail | None = None

    def needs(self) -> frozenset[Ability]:
        """What a model must be able to do for it."""
        asked: dict[Ability, bool] = {
            Ability.TOOLS: bool(self.tools),
            Ability.JSON: self.output is not None,
            Ability.SEED: self.seed is not None,
            Ability.FREQUENCY_PENALTY: bool(self.frequency_penalty),
            Ability.PRESENCE_PENALTY: bool(self.presence_penalty),
            Ability.LOGIT_BIAS: bool(self.logit_bias),
            Ability.LOGPROBS: self.top_logprobs is not None,
            Ability.VERBOSITY: self.verbosity not in {None, "medium"},
            Ability.REASONING: self.effort is not None,
            Ability.REASONING_SUMMARY: self.summary is not None,
        }
        return frozenset(ability for ability, is_asked in asked.items() if is_asked)


NO_OPTIONS: Final = Options()
"""Text alone."""
