"""What goes over the wire to an OpenAI-compatible server, and what its answers mean. Pure."""

from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from undercroft.chat.providers.images import interleaved
from undercroft.chat.providers.options import FunctionTool, JsonOutput, Options, ToolChoice
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    Message,
    ModelInfo,
    Reasoning,
    ReasoningDelta,
    ReasoningEnded,
    Role,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from undercroft.chat.providers.upstream_errors import broken_off
from undercroft.chat.providers.wire import (
    MAX_CALLS,
    MAX_MODELS,
    Count,
    MalformedAnswerError,
    Wire,
    estimated_tokens,
    estimated_usage,
    given,
)

_DONE: Final = b"[DONE]"
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
    """The new part of a message, with the two names under which servers give the new part of its thoughts."""

    reasoning_content: object = None
    reasoning: object = None
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


class PromptDetails(Wire):
    """What is known of the prompt's tokens."""

    cached_tokens: Count | None = None


class AnswerDetails(Wire):
    """What is known of the answer's tokens."""

    reasoning_tokens: Count | None = None


class WireUsage(Wire):
    """Token counts, which some servers leave null until the end."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: AnswerDetails | None = None

    def cached_tokens(self) -> int:
        """Of the prompt; none where the server does not say."""
        details = self.prompt_tokens_details
        return (details and details.cached_tokens) or 0

    def reasoning_tokens(self) -> int:
        """Of the answer; none where the server does not say."""
        details = self.completion_tokens_details
        return (details and details.reasoning_tokens) or 0


class Chunk(Wire):
    """One event of a streamed chat completion, or the error object that some servers send in its place."""

    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    error: object | None = None


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


class AnswerReader:
    """Reads one answer from its chunks.

    Args:
        server: Its name, for errors.
        request: What was asked.
    """

    def __init__(self, server: str, request: GenerationRequest) -> None:
        self._server = server
        self._request = request
        self._characters = 0
        self._call_ids: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._thoughts: list[str] = []
        self._thoughts_name = ""
        self._reason: str | None = None
        self._usage = WireUsage()
        self.is_complete = False

    @property
    def has_begun(self) -> bool:
        """Whether there was anything to show."""
        return bool(self._characters or self._call_ids)

    def take(self, payload: bytes) -> list[GenerationEvent]:
        """What the payload of an event brings.

        Raises:
            UpstreamError: It is none of an answer, or reports an error.
        """
        if payload == _DONE:
            self.is_complete = True
            return self._end_thoughts()
        try:
            chunk = Chunk.model_validate_json(payload)
            if chunk.error is not None:
                raise broken_off(self._server, "reported an error in the middle of its answer")
            return self._take(chunk)
        except (ValidationError, MalformedAnswerError) as error:
            raise broken_off(self._server, "sent something that is no chat completion") from error

    def finish(self) -> Finished | None:
        """The end; None when the answer broke off.

        A server that ended its stream in order without giving a reason has said all it had to say.
        """
        if self._reason in _FAILED_REASONS or not (self.is_complete or self._reason):
            return None
        reason = _FINISH_REASONS.get(self._reason or "stop", FinishReason.STOP)
        if self._call_ids and reason is FinishReason.STOP:
            # Some servers, and OpenAI for a function that had to be called, do not tell the two apart.
            reason = FinishReason.TOOL_CALLS
        prompt, answer = self._usage.prompt_tokens, self._usage.completion_tokens
        if prompt is None or answer is None or self._request.prefix:
            # What the server counts of an answer that it goes on with is its end alone.
            characters = len(self._request.prefix) + self._characters
            return Finished(reason, estimated_usage(self._request, characters))
        usage = Usage(
            prompt,
            answer,
            cached_tokens=self._usage.cached_tokens(),
            reasoning_tokens=self._usage.reasoning_tokens(),
        )
        return Finished(reason, usage)

    def _take(self, chunk: Chunk) -> list[GenerationEvent]:
        self._usage = chunk.usage or self._usage
        events: list[GenerationEvent] = []
        for choice in chunk.choices or ():
            self._reason = choice.finish_reason or self._reason
            if choice.logprobs is not None:
                given = choice.logprobs.content or ()
                self._logprobs += [token.in_our_terms() for token in given]
            if choice.delta is not None:
                events += self._take_delta(choice.delta)
        return events

    def _take_delta(self, delta: Delta) -> list[GenerationEvent]:
        events: list[GenerationEvent] = []
        for name in ("reasoning_content", "reasoning"):
            thought = getattr(delta, name)
            # Some servers give both, which say the same, and some have something else than text there.
            if isinstance(thought, str) and thought and self._thoughts_name in {"", name}:
                self._characters += len(thought)
                self._thoughts.append(thought)
                self._thoughts_name = name
                events.append(ReasoningDelta(thought))
        # A refusal is text that the person should read.
        text = (delta.content or "") + (delta.refusal or "")
        if text or delta.tool_calls:
            events += self._end_thoughts()
        if text:
            self._characters += len(text)
            events.append(TextDelta(text, tuple(self._logprobs)))
            # Those of a token that is part of a character wait for the text it becomes.
            self._logprobs = []
        for part in delta.tool_calls or ():
            events += self._call(part)
        return events

    def _end_thoughts(self) -> list[GenerationEvent]:
        """What was thought so far is one thought, which the server wants back under the name that it gave it."""
        if not self._thoughts:
            return []
        content = {self._thoughts_name: "".join(self._thoughts)}
        self._thoughts = []
        return [ReasoningEnded(Reasoning(self._server, self._request.model, content))]

    def _call(self, part: CallPart) -> list[ToolCallDelta]:
        function = part.function or FunctionPart()
        arguments = function.arguments or ""
        self._characters += len(arguments)
        index = self._index(part)
        if index < len(self._call_ids):
            return [ToolCallDelta(index, arguments)] if arguments else []
        if not part.id or not function.name or index != len(self._call_ids):
            raise MalformedAnswerError
        self._call_ids.append(part.id)
        return [ToolCallDelta(index, arguments, part.id, function.name)]

    def _index(self, part: CallPart) -> int:
        """Which call a part belongs to; servers that send calls whole leave it out."""
        if part.index is not None:
            return part.index
        is_new = part.id is not None and part.id not in self._call_ids
        return len(self._call_ids) if is_new else max(len(self._call_ids) - 1, 0)


def request_body(request: GenerationRequest, token_limit_field: str) -> dict[str, Any]:
    """The JSON body of ``POST /chat/completions``."""
    messages = [_message(message) for message in request.messages]
    if request.prefix:
        messages.append({"role": "assistant", "content": request.prefix})
    return given(
        {
            "model": request.model,
            "messages": messages,
            "continue_final_message": True if request.prefix else None,
            "add_generation_prompt": False if request.prefix else None,
            "stream": True,
            "stream_options": {"include_usage": True},
            token_limit_field: _limit_left(request),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": list(request.stop) or None,
            **_options(request.options),
        }
    )


def _limit_left(request: GenerationRequest) -> int | None:
    """How many tokens may follow the prefix: how many it took is the server's to know, and reckoned here."""
    if request.max_output_tokens is None or not request.prefix:
        return request.max_output_tokens
    return max(1, request.max_output_tokens - estimated_tokens(len(request.prefix)))


def _message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role.value, "content": _content(message)}
    if message.role is Role.TOOL:
        wire["tool_call_id"] = message.tool_call_id
    for thought in message.reasoning:
        for name, text in thought.content.items():
            wire[name] = wire.get(name, "") + text
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


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.content
    return [
        {"type": "text", "text": piece}
        if isinstance(piece, str)
        else {"type": "image_url", "image_url": {"url": piece.url, "detail": piece.detail}}
        for piece in interleaved(message.content, message.images)
    ]


def _options(options: Options) -> dict[str, Any]:
    tools = [{"type": "function", "function": _function(tool)} for tool in options.tools]
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
        "reasoning_effort": options.effort,
    }


def _function(tool: FunctionTool) -> dict[str, Any]:
    return given(
        {
            "name": tool.name,
            "description": tool.description,
            "parameters": None if tool.parameters is None else dict(tool.parameters),
            "strict": tool.is_strict,
        }
    )


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any] | None:
    if choice.function is not None:
        return {"type": "function", "function": {"name": choice.function}}
    return None if choice.mode == "auto" else choice.mode


def _response_format(output: JsonOutput) -> dict[str, Any]:
    if output.schema is None:
        return {"type": "json_object"}
    schema = given(
        {
            "name": output.name,
            "description": output.description,
            "schema": dict(output.schema),
            "strict": output.is_strict,
        }
    )
    return {"type": "json_schema", "json_schema": schema}
