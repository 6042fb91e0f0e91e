"""Which field of a request a problem with it is about, as errors name it: ``tools.0.filters.value``."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from undercroft.kit.errors import InvalidRequestError

_SOURCES: Final = {"body", "query", "path", "header"}
_NAME: Final = re.compile(r"[a-z_][a-zA-Z0-9_]*|\d+")
_LONGEST: Final = 200


def field_of(problem: Mapping[str, Any], sent: object) -> str:
    """The path of a field, names and places in lists with dots between; nothing where it is the whole body.

    It is pydantic's location without what that adds: where the value came from, and which branch of a union was tried.
    A branch may be named as a field could be; but only fields stand in what was sent.

    Args:
        problem: As pydantic tells it.
        sent: The body, or None where the problem is with something else.
    """
    location = list[str | int](problem["loc"])
    is_in_body = bool(location) and location[0] == "body"
    if location and location[0] in _SOURCES:
        location = location[1:]
    if len(location) == 1 and str(location[0]).isdigit():
        return ""  # where in the text the JSON is broken, not a field
    if is_in_body and isinstance(sent, Mapping):
        location = _sent(location, cast("object", sent), is_missing=problem["type"] == "missing")
    # A list in a query is sent as `include[]`. What else a caller has given a name to is not repeated.
    parts = (str(part).removesuffix("[]") for part in location)
    return ".".join(part for part in parts if _NAME.fullmatch(part))[:_LONGEST]


def with_dots(error: InvalidRequestError) -> InvalidRequestError:
    """A problem with a place in JSON, which ``parse_json`` points to, as one with a field: by names with dots between.

    Args:
        error: As ``parse_json`` raises it.
    """
    pointer = error.param or ""
    # The name of a key that stands there twice may begin so, too.
    if not pointer.startswith("/") or error.code == "duplicate_key":
        return error
    field = ".".join(filter(_NAME.fullmatch, pointer[1:].split("/")))[:_LONGEST]
    message = error.message.replace(f"'{pointer}'", f"'{field}'") if field else error.message
    return InvalidRequestError(message, param=field or None, code=error.code)


def _sent(location: Sequence[str | int], sent: object, *, is_missing: bool) -> list[str | int]:
    """The parts of a location by which what was sent is entered, and the name of what is missing in it."""
    found: list[str | int] = []
    for place, part in enumerate(location, 1):
        if isinstance(sent, Mapping):
            values = cast("Mapping[object, object]", sent)
            if part in values:
                found.append(part)
                sent = values[part]
            elif is_missing and place == len(location):
                found.append(part)
        elif isinstance(sent, list) and isinstance(part, int):
            elements = cast("list[object]", sent)
            found.append(part)
            sent = elements[part] if part < len(elements) else None
    return found
