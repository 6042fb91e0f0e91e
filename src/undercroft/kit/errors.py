"""The one registry of error kinds, and the exception every layer raises.

A module raises :class:`UndercroftError` (or a subclass of its own ``errors.py``) with a *kind*.
Each kind has one HTTP status. Only ``http/errors.py`` makes a response of it, so the same error reads as problem+json
on native routes and as OpenAI's error object on OpenAI faces.
"""

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final


class ErrorKind(StrEnum):
    """Why a request could not be served. Each kind has one HTTP status and one section in ``docs/errors.md``."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    CONFLICT = "conflict"
    GONE = "gone"
    PRECONDITION_FAILED = "precondition_failed"
    PRECONDITION_REQUIRED = "precondition_required"
    LOCKED = "locked"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    UNPROCESSABLE = "unprocessable"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_FAILED = "upstream_failed"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    INTERNAL = "internal"


STATUS: Final[dict[ErrorKind, int]] = {
    ErrorKind.INVALID_REQUEST: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.METHOD_NOT_ALLOWED: 405,
    ErrorKind.REQUEST_TIMEOUT: 408,
    ErrorKind.CONFLICT: 409,
    ErrorKind.GONE: 410,
    ErrorKind.PRECONDITION_FAILED: 412,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorKind.RANGE_NOT_SATISFIABLE: 416,
    ErrorKind.UNPROCESSABLE: 422,
    ErrorKind.LOCKED: 423,
    ErrorKind.PRECONDITION_REQUIRED: 428,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.INTERNAL: 500,
    ErrorKind.UPSTREAM_FAILED: 502,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.TIMED_OUT: 504,
}


class UndercroftError(Exception):
    """An error a caller may read.

    Args:
        message: What went wrong and what to do next. Shown to the caller, so it never holds a secret, another
            tenant's data or an internal cause; chain that with ``raise ... from``.
        kind: Which entry of the registry this is.
        param: The request field at fault, if one is.
        code: A finer, stable machine-readable reason, if the kind alone does not say enough.
        retry_after: Seconds after which a retry may succeed.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status of this error's kind."""
        return STATUS[self.kind]


class InvalidRequestError(UndercroftError):
    """The request is well-formed but asks for something this service cannot do."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, kind=ErrorKind.INVALID_REQUEST, param=param, code=code)


class NotFoundError(UndercroftError):
    """No such object, or none this caller may see: the two are never told apart.

    Args:
        what: The kind of object, as the message calls it.
        identifier: By which it was asked for.
        param: The request field that names it.
    """

    def __init__(self, what: str, identifier: str, *, param: str | None = None) -> None:
        super().__init__(
            f"No {what} with id '{identifier}'.", kind=ErrorKind.NOT_FOUND, param=param
        )
        self.what = what


class UnavailableError(UndercroftError):
    """The service cannot answer now and may soon."""

    def __init__(self, message: str, *, retry_after: int = 1, code: str | None = None) -> None:
        super().__init__(message, kind=ErrorKind.UNAVAILABLE, retry_after=retry_after, code=code)


@contextmanager
def at_fault(param: str) -> Generator[None]:
    """What is refused below, where it has no field of its own, is told with the request's field that names it."""
    try:
        yield
    except UndercroftError as error:
        error.param = error.param or param
        raise
