"""What the answers of Anthropic's Messages API mean. Pure."""

from datetime import datetime
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
    ToolCallDelta,
    Usage,
)
from undercroft.chat.providers.upstream_errors import (
    OVERLOADED,
    ErrorDetail,
    UpstreamError,
    broken_off,
    refusal,
)
from undercroft.chat.providers.wire import (
    MAX_CALLS,
    MAX_MODELS,
    Count,
    MalformedAnswerError,
    Wire,
    estimated_usage,
)

CONTEXT_TOKENS: Final = 200_000
"""Of every model since Claude 2.1, where the list of models does not say."""

MOST_MODELS: Final = 1000
_REASONS: Final = {
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
_STATUS_OF_ERROR: Final = {"overloaded_error": OVERLOADED, "rate_limit_error": 429}
"""Of errors that come as events because the stream had begun when they were met."""


class WireUsage(Wire):
    """Token counts. What was read from or written to the cache is not in ``input_tokens``."""

    input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    output_tokens: Count | None = None

    def prompt_tokens(self) -> int:
        """Of the whole prompt."""
        return (
            (self.input_tokens or 0)
            + (self.cache_creation_input_tokens or 0)
            + (self.cache_read_input_tokens or 0)
        )


class WireMessage(Wire):
    """The message as it begins."""

    usage: WireUsage | None = None


class Block(Wire):
    """A part of a message as it begins."""

    type: str
    text: str = ""
    id: Annotated[str, Field(max_length=256)] = ""
    name: Annotated[str, Field(max_length=256)] = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""


class Delta(Wire):
    """The new piece of a part, or what becomes known at the message's end."""

    type: str | None = None
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None


class StreamEvent(Wire):
    """One event. Those of a type that is not known here are passed over, as the API asks."""

    type: str
    index: int = 0
    message: WireMessage | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: WireUsage | None = None
    error: ErrorDetail | None = None


class WireModel(Wire):
    """One entry of ``GET /models``."""

    id: Annotated[str, Field(min_length=1, max_length=256)]
    created_at: datetime | None = None
    max_input_tokens: Count | None = None

    def info(self, provider: str) -> ModelInfo:
        """The entry in our terms."""
        return ModelInfo(
            self.id,
            owned_by=provider,
            created=None if self.created_at is None else int(self.created_at.timestamp()),
            context_tokens=self.max_input_tokens or CONTEXT_TOKENS,
        )


class ModelList(Wire):
    """The body of ``GET /models``."""

    data: Annotated[list[WireModel], Field(max_length=MAX_MODELS)]


class AnswerReader:
    """Reads one answer from its events.

    Args:
        server: Its name, for errors.
        request: What was asked.
    """

    def __init__(self, server: str, request: GenerationRequest) -> None:
        self._server = server
        self._request = request
        self._characters = 0
        self._calls: dict[int, int] = {}
        self._without_arguments: set[int] = set()
        self._thoughts: dict[int, dict[str, str]] = {}
        self._input_tokens: int | None = None
        self._output_tokens: int | None = None
        self._cached_tokens = 0
        self._reason: str | None = None
        self.is_complete = False

    @property
    def has_begun(self) -> bool:
        """Whether there was anything to show."""
        return bool(self._characters or self._calls)

    def take(self, payload: bytes) -> list[GenerationEvent]:
        """What the payload of an event brings.

        Raises:
            UpstreamError: It is none of an answer, or reports an error.
        """
        try:
            event = StreamEvent.model_validate_json(payload)
            if event.type == "error":
                raise self._reported(event.error)
            return self._take(event)
        except (ValidationError, MalformedAnswerError) as error:
            raise broken_off(self._server, "sent something that is no message") from error

    def finish(self) -> Finished | None:
        """The end; None when the answer broke off."""
        if not self.is_complete and self._reason is None:
            return None
        reason = _REASONS.get(self._reason or "", FinishReason.STOP)
        if self._input_tokens is None or self._output_tokens is None:
            return Finished(reason, estimated_usage(self._request, self._characters))
        usage = Usage(self._input_tokens, self._output_tokens, cached_tokens=self._cached_tokens)
        return Finished(reason, usage)

    def _take(self, event: StreamEvent) -> list[GenerationEvent]:
        match event.type:
            case "message_start" if event.message is not None:
                self._count(event.message.usage)
            case "content_block_start" if event.content_block is not None:
                return self._begin(event.index, event.content_block)
            case "content_block_delta" if event.delta is not None:
                return self._continue(event.index, event.delta)
            case "content_block_stop":
                return self._end(event.index)
            case "message_delta":
                self._count(event.usage)
                self._reason = (event.delta and event.delta.stop_reason) or self._reason
            case "message_stop":
                self.is_complete = True
            case _:
                pass
        return []

    def _reported(self, error: ErrorDetail | None) -> UpstreamError:
        """An error in place of an event means what its status would have."""
        status = _STATUS_OF_ERROR.get((error and error.type) or "")
        if status is None:
            return broken_off(self._server, "reported an error in the middle of its answer")
        return refusal(self._server, self._request.model, status, ErrorDetail(), None)

    def _count(self, usage: WireUsage | None) -> None:
        if usage is None:
            return
        if usage.input_tokens is not None:
            self._input_tokens = usage.prompt_tokens()
            self._cached_tokens = usage.cache_read_input_tokens or 0
        if usage.output_tokens is not None:
            self._output_tokens = usage.output_tokens

    def _begin(self, index: int, block: Block) -> list[GenerationEvent]:
        if block.type == "text":
            return self._text(block.text)
        if block.type == "thinking":
            self._thoughts[index] = {"type": "thinking", "thinking": "", "signature": ""}
            return self._think(index, block.thinking, block.signature)
        if block.type == "redacted_thinking":
            self._thoughts[index] = {"type": "redacted_thinking", "data": block.data}
            return []
        if block.type != "tool_use":
            return []
        if not block.id or not block.name or index in self._calls or len(self._calls) >= MAX_CALLS:
            raise MalformedAnswerError
        number = self._calls[index] = len(self._calls)
        self._without_arguments.add(index)
        return [ToolCallDelta(number, "", block.id, block.name)]

    def _continue(self, index: int, delta: Delta) -> list[GenerationEvent]:
        if delta.type == "text_delta":
            return self._text(delta.text)
        if delta.type in {"thinking_delta", "signature_delta"}:
            return self._think(index, delta.thinking, delta.signature)
        if delta.type != "input_json_delta" or not delta.partial_json:
            return []
        if index not in self._calls:
            raise MalformedAnswerError
        self._characters += len(delta.partial_json)
        self._without_arguments.discard(index)
        return [ToolCallDelta(self._calls[index], delta.partial_json)]

    def _end(self, index: int) -> list[GenerationEvent]:
        """A call without arguments has no piece of them; in our terms they are an empty object."""
        if (thought := self._thoughts.pop(index, None)) is not None:
            return [ReasoningEnded(Reasoning(self._server, self._request.model, thought))]
        if index not in self._without_arguments:
            return []
        self._without_arguments.discard(index)
        return [ToolCallDelta(self._calls[index], "{}")]

    def _think(self, index: int, text: str, signature: str) -> list[GenerationEvent]:
        """A piece of what the API tells of the model's thoughts, or of what proves to it that they are its own."""
        thought = self._thoughts.get(index)
        if thought is None or thought["type"] != "thinking":
            raise MalformedAnswerError
        thought["thinking"] += text
        thought["signature"] += signature
        self._characters += len(text)
        return [ReasoningDelta(text, is_summary=True)] if text else []

    def _text(self, text: str) -> list[GenerationEvent]:
        self._characters += len(text)
        return [TextDelta(text)] if text else []
