"""JSON bodies, read strictly, so that what is asked for and what is stored means one thing to every reader.

The framework's own reading of JSON takes the last of two members with one name, and infinities.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from undercroft.http.fields import with_dots
from undercroft.kit.errors import ErrorKind, InvalidRequestError, UndercroftError
from undercroft.vault.schemas.json_text import JsonValue, parse_json

JSON: Final = "application/json"

_QUICK: Final = 16 * 1024
"""Bytes that are parsed in well below a millisecond."""

Body = TypeVar("Body", bound=BaseModel)


class StrictRequest(Request):
    """A request whose JSON the framework gets as :func:`parse_json` reads it."""

    async def json(self) -> JsonValue:
        """The JSON of the body.

        Raises:
            InvalidRequestError: As :func:`read_json`; it names the field as all errors of a body's fields do.
        """
        try:
            return await _parse_body(self)
        except InvalidRequestError as error:
            raise with_dots(error) from error


async def read_json(request: Request, *media_types: str) -> JsonValue:
    """The JSON of a request's body.

    Args:
        request: Whose body is bounded by its router.
        *media_types: Those that are taken; application/json alone when none is named.

    Raises:
        UndercroftError: Of kind UNSUPPORTED_MEDIA_TYPE, when it is sent as another.
        InvalidRequestError: When it is no JSON, or ambiguous, or could not be kept: see :func:`parse_json`.
    """
    require_media_type(request, *media_types)
    return await _parse_body(request)


async def read_model(request: Request, model: type[Body]) -> Body:
    """A request's body as a model.

    Raises:
        UndercroftError: As :func:`read_json`.
        RequestValidationError: When the model does not take it.
    """
    return validate_model(await read_json(request), model)


def validate_model(value: JsonValue, model: type[Body]) -> Body:
    """A JSON value as a model.

    Raises:
        RequestValidationError: When the model does not take it.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [
            {**problem, "loc": ("body", *problem["loc"])}
            for problem in error.errors(include_url=False)
        ]
        raise RequestValidationError(problems, body=value) from error


def require_media_type(request: Request, *media_types: str) -> str:
    """What a request's body is sent as, in small letters and without parameters.

    Raises:
        UndercroftError: Of kind UNSUPPORTED_MEDIA_TYPE, when it is none of those.
    """
    taken = media_types or (JSON,)
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent not in taken:
        raise UndercroftError(
            f"Send the body as {' or '.join(taken)}.",
            kind=ErrorKind.UNSUPPORTED_MEDIA_TYPE,
            param="Content-Type",
            code="unsupported_body",
        )
    return sent


def documented_body(
    *bodies: tuple[str, Mapping[str, Any]], is_required: bool = True
) -> dict[str, Any]:
    """For a route's ``openapi_extra``: what it reads by itself.

    Args:
        *bodies: Media types, each with its JSON Schema.
        is_required: Whether there has to be one.
    """
    content = {media_type: {"schema": dict(schema)} for media_type, schema in bodies}
    return {"requestBody": {"required": is_required, "content": content}}


def documented_model(model: type[BaseModel], *, is_required: bool = True) -> dict[str, Any]:
    """The same for a model that is sent as application/json."""
    return documented_body(
        (JSON, model.model_json_schema(ref_template="#/components/schemas/{model}")),
        is_required=is_required,
    )


async def _parse_body(request: Request) -> JsonValue:
    text = await request.body()
    return parse_json(text) if len(text) <= _QUICK else await asyncio.to_thread(parse_json, text)
