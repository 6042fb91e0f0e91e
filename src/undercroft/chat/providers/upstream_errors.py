"""What a model server's refusals and failures mean to whoever asked. Pure."""

from typing import Final

from undercroft.chat.providers.wire import Wire
from undercroft.kit.errors import ErrorKind, UndercroftError

OVERLOADED: Final = 529
"""Anthropic's own status, which others have taken up."""
_MAX_REASON_CHARACTERS: Final = 300
_MAX_RETRY_AFTER: Final = 3600
_FIRST_FAULT: Final = 500
"""From this status on the server says that the fault is its own."""


class UpstreamError(UndercroftError):
    """A model server did not do what it was asked.

    Args:
        message: As for every error: what the caller may know, and do.
        kind: The entry of the registry.
        param: The request field at fault, if one is.
        code: A finer reason.
        retry_after: Seconds after which a retry may succeed.
        retryable: Whether the same request to the same server may succeed soon.
        refused_field: The field of our request to it that the server named.
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
        refused_field: str | None = None,
    ) -> None:
        super().__init__(message, kind=kind, param=param, code=code, retry_after=retry_after)
        self.retryable = retryable
        self.refused_field = refused_field


class ErrorDetail(Wire):
    """The error object, as far as servers agree on it."""

    type: str | None = None
    message: str = ""
    param: str | None = None


class ErrorBody(Wire):
    """The body of a refusal."""

    error: ErrorDetail


def parse_retry_after(header: str | None) -> int | None:
    """Seconds of a ``Retry-After``, at most an hour. Its form as a date is not used by model servers."""
    if header is None or not header.strip().isdecimal() or len(header) > 10:
        return None
    return min(int(header), _MAX_RETRY_AFTER)


def refusal(
    server: str, model: str, status: int, detail: ErrorDetail, retry_after: int | None
) -> UpstreamError:
    """The error for an answer other than 200.

    Only what a server says about the *request* (400, 413, 422) is passed on: its other messages speak of its
    operator's affairs.
    """
    if status in {400, 413, 422}:
        reason = "".join(c for c in detail.message if c.isprintable())[:_MAX_REASON_CHARACTERS]
        return UpstreamError(
            f"Model server '{server}' refused the request: {reason or 'it gave no reason.'}",
            kind=ErrorKind.INVALID_REQUEST,
            code="upstream_refused",
            refused_field=detail.param,
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
    if status in {503, OVERLOADED}:
        return UpstreamError(
            f"Model server '{server}' is overloaded or starting. Try again later.",
            kind=ErrorKind.UNAVAILABLE,
            code="upstream_unavailable",
            retry_after=retry_after or 1,
            retryable=True,
        )
    return _other(server, status)


def _other(server: str, status: int) -> UpstreamError:
    said = f"Model server '{server}' answered with status {status}. Try again, or choose another model."
    if status >= _FIRST_FAULT:
        return UpstreamError(said, code="upstream_failed", retryable=True)
    # It may be the request's fault: nobody else's answer depends on it.
    return UpstreamError(said, code="upstream_rejected")


def broken_off(server: str, how: str) -> UpstreamError:
    """The error for a server that began and did not end as it should."""
    return UpstreamError(
        f"Model server '{server}' {how}. Ask again, or choose another model.",
        code="upstream_broken_off",
        retryable=True,
    )


def unreachable(server: str) -> UpstreamError:
    """The error for a server that cannot be connected to."""
    return UpstreamError(
        f"Model server '{server}' cannot be reached. Try again, or choose another model.",
        code="upstream_unreachable",
        retryable=True,
    )


def too_slow(server: str, how: str) -> UpstreamError:
    """The error for a server that took longer than its budgets."""
    return UpstreamError(
        f"Model server '{server}' {how} in time. Ask again, or choose another model.",
        kind=ErrorKind.TIMED_OUT,
        code="upstream_timed_out",
    )


def too_long(server: str) -> UpstreamError:
    """The error for a server that says more than is read."""
    return UpstreamError(
        f"Model server '{server}' sent more than this service reads. Ask for a shorter answer.",
        code="upstream_too_large",
    )
