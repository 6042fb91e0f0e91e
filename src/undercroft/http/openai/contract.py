"""What the routes of the OpenAI faces have in common in the OpenAPI document."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema


class ErrorDetail(BaseModel):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """What every error answers."""

    error: ErrorDetail


_REASONS: Final = {
    400: "The request is malformed (`param` names the field), or the host is not one that is served.",
    401: "The API key is missing, unknown, expired or revoked.",
    403: "The key lacks the permission.",
    404: "There is no such object, or none that this caller may see.",
    408: "The body came too slowly.",
    409: "The object was changed or deleted meanwhile.",
    410: "What it held is gone for ever.",
    412: "The object is not at the version that If-Match names, or the lock has ended.",
    413: "The body is larger than the limit.",
    415: "The content is of no type that can be read.",
    416: "There is nothing in the range.",
    422: "The request cannot be carried out.",
    423: "Somebody else has locked the object; see Retry-After.",
    428: "If-Match is missing.",
    429: "Too many attempts, too many that wait, or the model's server takes no more requests now; see Retry-After.",
    502: "The model's server failed.",
    503: "The service is busy or starting; see Retry-After.",
    504: "It took too long.",
}
_SCHEMAS: Final = "#/components/schemas/"
PROBLEM: Final[dict[str, Any]] = {"application/problem+json": {"schema": {"type": "object"}}}
_HEADERS: Final = {
    "ETag": "Names what was read: send it as If-Match with a change, as If-None-Match to read again.",
    "Location": "Path of what was made.",
    "Content-Range": "Which of its bytes these are, and how many it has.",
    "Retry-After": "Seconds after which to try again.",
    "WWW-Authenticate": "Bearer.",
}
_HEADERS_OF: Final = {
    401: ("WWW-Authenticate",),
    416: ("Content-Range",),
    423: ("Retry-After",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_ALWAYS: Final = (400, 401, 403, 408, 413, 422, 503, 504)
"""422 among them because the framework documents a body of its own where a route names none."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that an operation documents.

    Args:
        *statuses: Those that not every operation can give.
    """
    return {
        status: {
            "description": _REASONS[status],
            "content": _json(ErrorBody),
            **_documented(_HEADERS_OF.get(status, ())),
        }
        for status in sorted({*_ALWAYS, *statuses})
    }


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same outside of ``/v1/``, where errors are problem+json."""
    return {
        status: {"description": "An error, as docs/errors.md has it.", "content": PROBLEM}
        for status in (400, 413, 422, 503, 504, *statuses)
    }


class OAuthErrorBody(BaseModel):
    """What every error of the OAuth endpoints answers (RFC 6749, section 5.2)."""

    error: str
    error_description: str


def oauth_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """As :func:`errors`, on the OAuth endpoints."""
    documented = errors(*statuses)
    content = _json(OAuthErrorBody)
    return {status: {**error, "content": content} for status, error in documented.items()}


def error_schemas() -> dict[str, Any]:
    """The schemas that the documented errors refer to, for the document's components."""
    _, document = models_json_schema(
        [(ErrorBody, "serialization"), (OAuthErrorBody, "serialization")],
        ref_template=f"{_SCHEMAS}{{model}}",
    )
    return document["$defs"]


def _json(body: type[BaseModel]) -> dict[str, Any]:
    """A JSON body of this shape, by reference.

    Named as the framework's ``model`` it would be made into a field of its own for each error of each route, twice:
    4,000 of them were half of the time that the application took to be made.
    """
    return {"application/json": {"schema": {"$ref": _SCHEMAS + body.__name__}}}


def answers(status: int, description: str, *headers: str) -> dict[int | str, dict[str, Any]]:
    """The good answer that an operation documents.

    Args:
        status: Its status.
        description: What it holds.
        *headers: Those that come with it.
    """
    return {status: {"description": description, **_documented(headers)}}


def _documented(headers: Sequence[str]) -> dict[str, Any]:
    if not headers:
        return {}
    return {
        "headers": {
            name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in headers
        }
    }


EVENT_STREAM: Final[dict[str, Any]] = {
    "description": "The object, or with `stream` its events, ended by `data: [DONE]`.",
    "content": {"text/event-stream": {}, "application/json": {}},
}
