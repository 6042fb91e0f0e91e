"""What goes over the wire to an OpenAI-compatible server, and what its answers mean. Pure."""

import math
from typing import Annotated, Any, Final

from pydantic import Field

from undercroft.chat.providers.options import JsonOutput, Options, ToolChoice
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Message,
    ModelInfo,
    Role,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.providers.upstream_errors import Wire

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]

CHARACTERS_PER_TOKEN: Final = 4
"""For estimates, where the server does not count: about what English takes."""

MAX_MODELS: Final = 2000
MAX_CALLS: Final = 128

_FINISH_REASONS: Final = {
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
}
_FAILED_REASONS: Final = frozenset({"error", "abort"})


class FunctionPart(Wire):
    """The new part of a call's function."""

    name: str | None = None
    arguments: str | None = None


class CallPart(Wire):
    """The new part of a call."""

    index: Annotated[int, Field(ge=0, lt=MAX_CALLS)] | None = None
    id: Annotated[str, Field(max_length=256)] | None = None
    function: FunctionPart | None = None


class Delta(Wire):
    """The new part of a message."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: Annotated[list[CallPart], Field(max_length=MAX_CALLS)] | None = None


class WireLogprob(Wire):
    """How likely a token was."""

    token: str
    logprob: float
    bytes: list[Annotated[int, Field(ge=0, le=255)]] | None = None
    top_logprobs: "list[WireLogprob] | None" = None

    def in_our_terms(self) -> TokenLogprob:
        """The same, of no server."""
        return TokenLogprob(
            self.token,
            self.logprob,
            None if self.bytes is None else tuple(self.bytes),
            tuple(other.in_our_terms() for other in self.top_logprobs or ()),
        )


class WireLogprobs(Wire):
    """How likely the tokens of a delta were."""

    content: list[WireLogprob] | None = None


class Choice(Wire):
    """One of the answers; we only ever ask for one."""

    delta: Delta | None = None
    logprobs: WireLogprobs | None = None
    finish_reason: str | None = None


class WireUsage(Wire):
    """Token counts, which some servers leave null until the end."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class Chunk(Wire):
    """One event of a streamed chat completion, or the error object that some servers send in its place."""

    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    error: object | None = None

    def text(self) -> str:
        """The new text; a refusal is text that the person should read."""
        deltas = [choice.delta for choice in self.choices or () if choice.delta is not None]
        return "".join((delta.content or "") + (delta.refusal or "") for delta in deltas)

    def calls(self) -> list[CallPart]:
        """The new parts of calls."""
        deltas = [choice.delta for choice in self.choices or () if choice.delta is not None]
        return [part for delta in deltas for part in delta.tool_calls or ()]

    def logprobs(self) -> list[TokenLogprob]:
        """How likely its tokens were."""
        given = [choice.logprobs for choice in self.choices or () if choice.logprobs is not None]
        return [token.in_our_terms() for each in given for token in each.content or ()]

    def finish_reason(self) -> str | None:
        """The server's word for why it ended, once it has."""
        return next(
            (choice.finish_reason for choice in self.choices or () if choice.finish_reason), None
        )


class WireModel(Wire):
    """One entry of ``GET /models``, with the two names under which servers give the context's size."""

    id: Annotated[str, Field(min_length=1, max_length=256)]
    created: Count | None = None
    owned_by: Annotated[str, Field(max_length=256)] | None = None
    max_model_len: Count | None = None
    context_length: Count | None = None

    def info(self, provider: str) -> ModelInfo:
        """The entry in our terms."""
        return ModelInfo(
            self.id,
            owned_by=self.owned_by or provider,
            created=self.created,
            context_tokens=self.max_model_len or self.context_length,
        )


class ModelList(Wire):
    """The body of ``GET /models``."""

    data: Annotated[list[WireModel], Field(max_length=MAX_MODELS)]


def finish_reason(word: str | None) -> FinishReason | None:
    """Our word for the server's; None for one that means the answer is broken off.

    A server that ended its stream in order without giving a reason has said all it had to say.
    """
    if word in _FAILED_REASONS:
        return None
    return _FINISH_REASONS.get(word or "stop", FinishReason.STOP)


def usage_of(counted: WireUsage | None, request: GenerationRequest, characters: int) -> Usage:
    """The server's count, or an estimate from the length of the prompt and of the answer."""
    if (
        counted is not None
        and counted.prompt_tokens is not None
        and counted.completion_tokens is not None
    ):
        return Usage(counted.prompt_tokens, counted.completion_tokens)
    prompt = sum(len(message.content) for message in request.messages)
    return Usage(
        math.ceil(prompt / CHARACTERS_PER_TOKEN),
        math.ceil(characters / CHARACTERS_PER_TOKEN),
        estimated=True,
    )


class MalformedAnswerError(Exception):
    """The chunks do not add up to an answer."""


class AnswerReader:
    """Reads one answer from its chunks."""

    def __init__(self) -> None:
        self._characters = 0
        self._calls: dict[int, str] = {}
        self._logprobs: list[TokenLogprob] = []
        self._reason: str | None = None
        self._usage: WireUsage | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there was anything to show."""
        return bool(self._characters or self._calls)

    def take(self, chunk: Chunk) -> list[GenerationEvent]:
        """What a chunk brings.

        Raises:
            MalformedAnswerError: A call has no name or no id.
        """
        self._reason = chunk.finish_reason() or self._reason
        self._usage = chunk.usage or self._usage
        self._logprobs += chunk.logprobs()
        events: list[GenerationEvent] = []
        if text := chunk.text():
            self._characters += len(text)
            events.append(TextDelta(text, tuple(self._logprobs)))
            # Those of a token that is part of a character wait for the text it becomes.
            self._logprobs = []
        return events + [event for part in chunk.calls() for event in self._call(part)]

    def finish(self, request: GenerationRequest, *, is_complete: bool) -> Finished | None:
        """The end; None when the answer broke off.

        Args:
            request: What was asked.
            is_complete: Whether the server said that it had ended.
        """
        reason = finish_reason(self._reason)
        if reason is None or not (is_complete or self._reason):
            return None
        if self._calls and reason is FinishReason.STOP:
            # Some servers, and OpenAI for a function that had to be called, do not tell the two apart.
            reason = FinishReason.TOOL_CALLS
        return Finished(reason, usage_of(self._usage, request, self._characters))

    def _call(self, part: CallPart) -> list[ToolCallDelta]:
        function = part.function or FunctionPart()
        arguments = function.arguments or ""
        self._characters += len(arguments)
        index = self._index(part)
        if index in self._calls:
            return [ToolCallDelta(index, arguments)] if arguments else []
        if not part.id or not function.name or index != len(self._calls):
            raise MalformedAnswerError
        self._calls[index] = part.id
        return [ToolCallDelta(index, arguments, part.id, function.name)]

    def _index(self, part: CallPart) -> int:
        """Which call a part belongs to; servers that send calls whole leave it out."""
        if part.index is not None:
            return part.index
        is_new = part.id is not None and part.id not in self._calls.values()
        return len(self._calls) if is_new else max(len(self._calls) - 1, 0)


def request_body(request: GenerationRequest, token_limit_field: str) -> dict[str, Any]:
    """The JSON body of ``POST /chat/completions``."""
    optional = {
        token_limit_field: request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        **_options(request.options),
    }
    return {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in optional.items() if value is not None},
    }


def _message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role.value, "content": message.content}
    if message.role is Role.TOOL:
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return wire


def _options(options: Options) -> dict[str, Any]:
    tools = [
        {
            "type": "function",
            "function": _given(
                name=tool.name,
                description=tool.description,
                parameters=None if tool.parameters is None else dict(tool.parameters),
                strict=tool.is_strict,
            ),
        }
        for tool in options.tools
    ]
    return {
        "tools": tools or None,
        "tool_choice": _tool_choice(options.tool_choice) if tools else None,
        "parallel_tool_calls": options.parallel_tool_calls if tools else None,
        "response_format": None if options.output is None else _response_format(options.output),
        "seed": options.seed,
        "frequency_penalty": options.frequency_penalty,
        "presence_penalty": options.presence_penalty,
        "logit_bias": None if options.logit_bias is None else dict(options.logit_bias),
        "logprobs": True if options.top_logprobs is not None else None,
        "top_logprobs": options.top_logprobs or None,
    }


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any] | None:
    if choice.function is not None:
        return {"type": "function", "function": {"name": choice.function}}
    return None if choice.mode == "auto" else choice.mode


def _response_format(output: JsonOutput) -> dict[str, Any]:
    if output.schema is None:
        return {"type": "json_object"}
    schema = _given(
        name=output.name,
        description=output.description,
        schema=dict(output.schema),
        strict=output.is_strict,
    )
    return {"type": "json_schema", "json_schema": schema}


def _given(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {name: value for name, value in values.items() if value is not None}
