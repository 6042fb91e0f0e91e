"""What goes over the wire to an OpenAI-compatible server, and what its answers mean. Pure."""

import math
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from undercroft.chat.providers.protocol import FinishReason, GenerationRequest, ModelInfo, Usage
from undercroft.kit.errors import ErrorKind, UndercroftError

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]

CHARACTERS_PER_TOKEN: Final = 4
"""For estimates, where the server does not count: about what English takes."""

MAX_MODELS: Final = 2000
MAX_REASON_CHARACTERS: Final = 300
MAX_RETRY_AFTER: Final = 3600

_FINISH_REASONS: Final = {
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_FAILED_REASONS: Final = frozenset({"error", "abort"})


class UpstreamError(UndercroftError):
    """A model server did not do what it was asked.

    Args:
        message: As for every error: what the caller may know, and do.
        kind: The entry of the registry.
        param: The request field at fault, if one is.
        code: A finer reason.
        retry_after: Seconds after which a retry may succeed.
        retryable: Whether the same request to the same server may succeed soon.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind = ErrorKind.UPSTREAM_FAILED,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, kind=kind, param=param, code=code, retry_after=retry_after)
        self.retryable = retryable


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Delta(_Wire):
    """The new part of a message."""

    content: str | None = None
    refusal: str | None = None


class Choice(_Wire):
    """One of the answers; we only ever ask for one."""

    delta: Delta | None = None
    finish_reason: str | None = None


class WireUsage(_Wire):
    """Token counts, which some servers leave null until the end."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class Chunk(_Wire):
    """One event of a streamed chat completion, or the error object that some servers send in its place."""

    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    error: object | None = None

    def text(self) -> str:
        """The new text; a refusal is text that the person should read."""
        deltas = [choice.delta for choice in self.choices or () if choice.delta is not None]
        return "".join((delta.content or "") + (delta.refusal or "") for delta in deltas)

    def finish_reason(self) -> str | None:
        """The server's word for why it ended, once it has."""
        return next(
            (choice.finish_reason for choice in self.choices or () if choice.finish_reason), None
        )


class ErrorDetail(_Wire):
    """OpenAI's error object, as far as compatible servers agree on it."""

    message: str = ""
    param: str | None = None


class ErrorBody(_Wire):
    """The body of a refusal."""

    error: ErrorDetail


class WireModel(_Wire):
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


class ModelList(_Wire):
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


def request_body(request: GenerationRequest, token_limit_field: str) -> dict[str, Any]:
    """The JSON body of ``POST /chat/completions``."""
    optional = {
        token_limit_field: request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
    }
    return {
        "model": request.model,
        "messages": [
            {"role": message.role.value, "content": message.content} for message in request.messages
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in optional.items() if value is not None},
    }


def parse_retry_after(header: str | None) -> int | None:
    """Seconds of a ``Retry-After``, at most an hour. Its form as a date is not used by model servers."""
    if header is None or not header.strip().isdecimal() or len(header) > 10:
        return None
    return min(int(header), MAX_RETRY_AFTER)


def refusal(
    server: str, model: str, status: int, detail: ErrorDetail, retry_after: int | None
) -> UpstreamError:
    """The error for an answer other than 200.

    Only what a server says about the *request* (400, 413, 422) is passed on: its other messages speak of its
    operator's affairs.
    """
    if status in {400, 413, 422}:
        reason = "".join(c for c in detail.message if c.isprintable())[:MAX_REASON_CHARACTERS]
        return UpstreamError(
            f"Model server '{server}' refused the request: {reason or 'it gave no reason.'}",
            kind=ErrorKind.INVALID_REQUEST,
            code="upstream_refused",
        )
    if status in {401, 403}:
        return UpstreamError(
            f"Model server '{server}' did not accept this service's key. Its operator has to correct the key.",
            code="upstream_unauthenticated",
        )
    if status == 404:
        return UpstreamError(
            f"Model server '{server}' has no model '{model}'. GET /v1/models lists those there are.",
            kind=ErrorKind.NOT_FOUND,
            param="model",
            code="model_not_found",
        )
    if status == 429:
        return UpstreamError(
            f"Model server '{server}' limits the rate of requests. Try again later.",
            kind=ErrorKind.RATE_LIMITED,
            code="upstream_rate_limited",
            retry_after=retry_after or 1,
            retryable=True,
        )
    if status == 503:
        return UpstreamError(
            f"Model server '{server}' is overloaded or starting. Try again later.",
            kind=ErrorKind.UNAVAILABLE,
            code="upstream_unavailable",
            retry_after=retry_after or 1,
            retryable=True,
        )
    return UpstreamError(
        f"Model server '{server}' answered with status {status}. Try again, or choose another model.",
        code="upstream_failed",
        retryable=status >= 500,
    )
