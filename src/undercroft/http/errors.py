"""Every error of the service, rendered: OpenAI's error object on its faces, OAuth's on its, problem+json elsewhere.

``docs/errors.md`` has a section for each kind, which a problem's ``type`` points to.
"""

import errno
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from undercroft.http.fields import field_of
from undercroft.http.rate_limits import with_limits
from undercroft.kit.errors import STATUS, ErrorKind, UnavailableError, UndercroftError
from undercroft.kit.sql import NoRowError

OPENAI_ROOT: Final = "/v1/"
OAUTH_ROOT: Final = "/v1/oauth/"
_DOCUMENTATION: Final = "urn:undercroft:errors#"
_REASONS: Final = {
    "missing": "is missing",
    "extra_forbidden": "is not a field that is known here",
    "none_required": "is not supported yet; leave it out",
    "not_supported": "is not supported yet; leave it out",
    "too_many_values": "holds more than 20,000 values",
    "nul_character": "contains a NUL character",
    "lone_surrogate": "contains half of a surrogate pair",
    "json_invalid": "is not valid JSON",
    "model_attributes_type": "should be a JSON object",
    "dict_type": "should be a JSON object",
}
_NO_OBJECT: Final = {"model_attributes_type", "dict_type"}
_WRONG_TYPE: Final = {"string_type", "list_type"}
_MOST_PROBLEMS: Final = 100
_KIND_OF_STATUS: Final = {status: kind for kind, status in STATUS.items()}
_METHOD_NOT_ALLOWED: Final = STATUS[ErrorKind.METHOD_NOT_ALLOWED]
BODY_TOO_LARGE: Final = (
    "The body is larger than this service takes. Split it, or ask its operator to raise max_upload_bytes or "
    "max_body_bytes."
)
_OWN_WORDS: Final = {
    ErrorKind.NOT_FOUND: "There is no such path. GET /openapi.json lists those there are.",
    ErrorKind.TOO_LARGE: BODY_TOO_LARGE,
}
"""Where the framework's do not say what to do."""
_OPENAI_TYPE: Final[dict[ErrorKind, str]] = {
    ErrorKind.UNAUTHENTICATED: "authentication_error",
    ErrorKind.FORBIDDEN: "permission_error",
    ErrorKind.NOT_FOUND: "not_found_error",
    ErrorKind.RATE_LIMITED: "rate_limit_error",
    ErrorKind.UPSTREAM_FAILED: "server_error",
    ErrorKind.UNAVAILABLE: "server_error",
    ErrorKind.TIMED_OUT: "server_error",
    ErrorKind.INTERNAL: "server_error",
}

_OAUTH_CODE: Final[dict[ErrorKind, str]] = {
    ErrorKind.UNAUTHENTICATED: "invalid_client",
    ErrorKind.FORBIDDEN: "insufficient_scope",
    ErrorKind.RATE_LIMITED: "temporarily_unavailable",
    ErrorKind.UNAVAILABLE: "temporarily_unavailable",
    ErrorKind.TIMED_OUT: "temporarily_unavailable",
    ErrorKind.INTERNAL: "server_error",
}
_OAUTH_CODES: Final = frozenset(
    {"unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target"}
)
"""Finer codes that RFC 6749 (section 5.2) and RFC 8693 (section 2.2.2) have names for."""
_NOT_IN_A_DESCRIPTION: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")

_NO_ROOM: Final = "The service has run out of room; try again when its operator has made some."
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}

_FROM_BELOW: Final[tuple[tuple[tuple[type[Exception], ...], ErrorKind, str], ...]] = (
    (
        (asyncpg.QueryCanceledError, TimeoutError),
        ErrorKind.TIMED_OUT,
        "This took too long; try again.",
    ),
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            asyncpg.OperatorInterventionError,
            ConnectionError,
        ),
        ErrorKind.UNAVAILABLE,
        "The database does not answer; try again.",
    ),
    (
        (asyncpg.InsufficientResourcesError,),
        ErrorKind.UNAVAILABLE,
        _NO_ROOM,
    ),
    (
        (asyncpg.SerializationError, asyncpg.DeadlockDetectedError),
        ErrorKind.UNAVAILABLE,
        "This ran into another request on the same object; try again.",
    ),
    (
        # That gets here from one trigger alone, for what is put into a vector store: require_one_data_subject.
        (asyncpg.RestrictViolationError,),
        ErrorKind.CONFLICT,
        "A personal document stands only in vector stores about the same person (PUT /v1/data-subjects/ID).",
    ),
    (
        (asyncpg.ForeignKeyViolationError, NoRowError),
        ErrorKind.CONFLICT,
        "The object was changed or deleted meanwhile; read it again.",
    ),
)

_log = structlog.stdlib.get_logger(__name__)


def openai_error(error: UndercroftError) -> dict[str, Any]:
    """OpenAI's error object."""
    return {
        "message": error.message,
        "type": _OPENAI_TYPE.get(error.kind, "invalid_request_error"),
        "param": error.param,
        "code": error.code or error.kind.value,
    }


def oauth_error(error: UndercroftError) -> dict[str, str]:
    """The error object of RFC 6749, section 5.2, whose description holds printable ASCII without quotes."""
    code = error.code if error.code in _OAUTH_CODES else None
    return {
        "error": code or _OAUTH_CODE.get(error.kind, "invalid_request"),
        "error_description": _NOT_IN_A_DESCRIPTION.sub("?", error.message.replace('"', "'")),
    }


def render_error(path: str, error: UndercroftError) -> JSONResponse:
    """The response for an error on the face that ``path`` belongs to."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.kind is ErrorKind.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.kind is ErrorKind.REQUEST_TIMEOUT:
        headers["Connection"] = (
            "close"  # the rest of the body would be taken for the next request's place
        )
    if path.startswith(OAUTH_ROOT):
        return JSONResponse(oauth_error(error), error.status, headers)
    if path.startswith(OPENAI_ROOT):
        return JSONResponse({"error": openai_error(error)}, error.status, headers)
    problem = {
        "type": f"{_DOCUMENTATION}{error.kind.value}",
        "title": error.kind.value.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.message,
        "code": error.code or error.kind.value,
    }
    return JSONResponse(problem, error.status, headers, media_type="application/problem+json")


def as_undercroft_error(error: BaseException) -> UndercroftError | None:
    """The caller's view of an exception from below, where it has one; None for a defect of ours."""
    if isinstance(error, UndercroftError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid_body(error.errors(), error.body)
    if isinstance(error, HTTPException):
        kind = _KIND_OF_STATUS.get(error.status_code, ErrorKind.INVALID_REQUEST)
        return UndercroftError(_OWN_WORDS.get(kind, str(error.detail)), kind=kind)
    for exceptions, kind, message in _FROM_BELOW:
        if isinstance(error, exceptions):
            retry_after = 1 if kind is ErrorKind.UNAVAILABLE else None
            return UndercroftError(message, kind=kind, retry_after=retry_after)
    if isinstance(error, OSError) and error.errno in _FULL:
        return UnavailableError(_NO_ROOM)
    return None


def explain(exception: BaseException, path: str) -> UndercroftError:
    """What the caller is told of an exception; of a defect of ours, which is logged, nothing but that."""
    error = as_undercroft_error(exception)
    if error is None:
        _log.error("unexpected_error", path=path, exc_info=exception)
        error = UndercroftError(
            "The service failed. It was logged; try again, and report it if it stays.",
            kind=ErrorKind.INTERNAL,
        )
    return error


def _invalid_body(problems: Sequence[Mapping[str, Any]], sent: object) -> UndercroftError:
    """One sentence for each of the first problems, naming its field."""
    placed = [(field_of(problem, sent), problem) for problem in problems[:_MOST_PROBLEMS]]
    told = _without_missed_branches(placed)[:5]
    text = "; ".join(_described(told))
    param = next((field for field, _ in told if field), None)
    return UndercroftError(f"Invalid request: {text}.", kind=ErrorKind.INVALID_REQUEST, param=param)


def _without_missed_branches(
    placed: Sequence[tuple[str, Mapping[str, Any]]],
) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Where a field is a text or a list, only what is wrong with the one that was sent."""
    explained: set[str] = set()
    for field, problem in placed:
        parts = field.split(".")
        explained.update(".".join(parts[:length]) for length in range(1, len(parts)))
        if problem["type"] not in _WRONG_TYPE:
            explained.add(field)
    return [
        (field, problem)
        for field, problem in placed
        if problem["type"] not in _WRONG_TYPE or field not in explained
    ]


def _described(told: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """A clause for each field; what may be of several kinds has a problem with each of them."""
    reasons: dict[str, list[str]] = {}
    for field, problem in told:
        # Often what was sent is an object, under another type.
        hint = ", sent as application/json" if not field and problem["type"] in _NO_OBJECT else ""
        reasons.setdefault(field, []).append(_reason(problem) + hint)
    return [
        f"'{field}' {' or '.join(each)}" if field else f"the body {' or '.join(each)}"
        for field, each in reasons.items()
    ]


def _reason_of_type(problem: Mapping[str, Any]) -> str | None:
    """What is wrong with the field that tells which object one is; None where it is something else."""
    context = problem.get("ctx", {})
    # In quotation marks where it is a field; else a function of ours.
    name = context.get("discriminator", "")
    if not name.startswith("'"):
        return None
    if problem["type"] == "union_tag_not_found":
        return f"has no {name}"
    return f"has a {name} that is not known here; there are {context['expected_tags']}"


def _reason(problem: Mapping[str, Any]) -> str:
    known = _REASONS.get(problem["type"])
    if known is not None:
        return known
    # What stands by itself elsewhere ends with its own full stop; here the sentence goes on.
    message = str(problem["msg"]).removeprefix("Value error, ").removesuffix(".")
    if message[:1].islower() and not str(problem["msg"]).startswith("Value error, "):
        # In our own words, which go on from the field's name.
        return message[:500]
    if (of_its_type := _reason_of_type(problem)) is not None:
        return of_its_type[:500]
    if message.startswith("Expected UploadFile"):
        return "should be a file, sent with a file name"
    _, found, expected = message.partition(" should ")
    if found:
        return f"should {expected[:500]}"
    return f"is wrong: {message[:500]}"


def install_error_handlers(application: FastAPI) -> None:
    """Render every exception that a route raises."""

    async def handle(request: Request, exception: Exception) -> Response:
        if isinstance(exception, HTTPException) and exception.status_code == _METHOD_NOT_ALLOWED:
            return _method_not_allowed(request)
        refused = render_error(request.url.path, explain(exception, request.url.path))
        return with_limits(request, refused)

    # Named one by one: what only `Exception` catches is answered outside of all middleware, raised again, and costs the
    # client its connection.
    from_below = [cause for causes, _, _ in _FROM_BELOW for cause in causes]
    for cause in (
        UndercroftError,
        RequestValidationError,
        HTTPException,
        *from_below,
        OSError,
        Exception,
    ):
        application.add_exception_handler(cause, handle)


def _parameters(route: RouteContext) -> int:
    return (route.path or "").count("{")


def _method_not_allowed(request: Request) -> Response:
    """The framework's own ``Allow`` names only the methods of the first route that has the path."""
    routes = [
        route
        for route in iter_route_contexts(request.app.routes)
        if route.matches(request.scope)[0] is not Match.NONE
    ]
    # A path that is a route's own is no other resource's, whose id it could be.
    fewest = min(map(_parameters, routes))
    own = (route for route in routes if _parameters(route) == fewest)
    methods = {method for route in own for method in route.methods or ()}
    allowed = ", ".join(sorted(methods))
    error = UndercroftError(
        f"This path does not take {request.method[:20]}, only {allowed}.",
        kind=ErrorKind.METHOD_NOT_ALLOWED,
    )
    response = render_error(request.url.path, error)
    response.headers["Allow"] = allowed
    return response
