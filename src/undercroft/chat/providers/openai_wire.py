"""What the answers of an OpenAI-compatible server mean. Pure."""

from typing import Annotated, Final

from pydantic import Field, ValidationError

from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    ModelInfo,
    Reasoning,
    ReasoningDelta,
    ReasoningEnded,
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
    estimated_usage,
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
        if delta.reasoning_content or delta.reasoning:
            events += self._think(delta)
        # A refusal is text that the person should read.
        text = (delta.content or "") + (delta.refusal or "")
        if self._thoughts and (text or delta.tool_calls):
            events += self._end_thoughts()
        if text:
            self._characters += len(text)
            events.append(TextDelta(text, tuple(self._logprobs)))
            # Those of a token that is part of a character wait for the text it becomes.
            self._logprobs = []
        for part in delta.tool_calls or ():
            events += self._call(part)
        return events

    def _think(self, delta: Delta) -> list[ReasoningDelta]:
        events: list[ReasoningDelta] = []
        for name in ("reasoning_content", "reasoning"):
            thought = getattr(delta, name)
            # Some servers give both, which say the same, and some have something else than text there.
            if isinstance(thought, str) and thought and self._thoughts_name in {"", name}:
                self._characters += len(thought)
                self._thoughts.append(thought)
                self._thoughts_name = name
                events.append(ReasoningDelta(thought))
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
