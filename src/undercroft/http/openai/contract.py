"""What the routes of the OpenAI faces have in common in the OpenAPI document."""

from typing import Any, Final

from pydantic import BaseModel


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
    400: "The request is malformed; `param` names the field.",
    401: "The API key is missing, unknown, expired or revoked.",
    403: "The key lacks the permission.",
    404: "There is no such object, or none that this caller may see.",
    405: "The path does not take this method.",
    409: "The object was changed or deleted meanwhile.",
    413: "The body is larger than the limit.",
    415: "The content is of no type that can be read.",
    422: "The request cannot be carried out.",
    429: "Too many requests; see Retry-After.",
    502: "The model's server failed.",
    503: "The service is busy or starting; see Retry-After.",
    504: "It took too long.",
}
ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": reason, "model": ErrorBody} for status, reason in _REASONS.items()
}
EVENT_STREAM: Final[dict[str, Any]] = {
    "description": "The object, or with `stream` its events, ended by `data: [DONE]`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}, "application/json": {}},
}
