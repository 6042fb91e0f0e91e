"""JSON Pointers (RFC 6901), and the fields of a record that they name.

A field is a member of an object, reached through objects alone: a token never selects an element of an array, whose
place changes when another goes.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_MISSING: Final = object()


def split_pointer(pointer: str) -> list[str]:
    """A pointer's tokens; none for the whole document.

    Raises:
        ValueError: When it is no pointer.
    """
    if _POINTER.fullmatch(pointer) is None:
        raise ValueError(
            "a JSON Pointer is empty or begins with '/'; '~' stands only in '~0' and '~1'"
        )
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def join_pointer(parent: str, token: str | int) -> str:
    """The pointer to a member or an element of what ``parent`` points to."""
    return f"{parent}/{str(token).replace('~', '~0').replace('/', '~1')}"


def is_within(pointer: str, ancestor: str) -> bool:
    """Whether a pointer names the same place as another, or one inside of it."""
    return pointer == ancestor or pointer.startswith(f"{ancestor}/")


def read_fields(data: Mapping[str, Any], pointers: Iterable[str]) -> dict[str, Any]:
    """The values of those fields that are there, by their pointers."""
    found = {pointer: _member(data, split_pointer(pointer)) for pointer in pointers}
    return {pointer: value for pointer, value in found.items() if value is not _MISSING}


def without_fields(data: Mapping[str, Any], pointers: Iterable[str]) -> dict[str, Any]:
    """A copy of the data that lacks those fields."""
    remainder = dict(data)
    for pointer in pointers:
        *path, name = split_pointer(pointer)
        parent = remainder
        for token in path:
            child = parent.get(token)
            if not isinstance(child, dict):
                break
            parent[token] = parent = dict(cast("dict[str, Any]", child))
        else:
            parent.pop(name, None)
    return remainder


def select_fields(data: Mapping[str, Any], pointers: Iterable[str]) -> dict[str, Any]:
    """Only those fields of the data that are there, each in its place."""
    pointers = list(pointers)
    # One inside of another comes with it.
    outermost = [
        pointer
        for pointer in pointers
        if not any(is_within(pointer, other) for other in pointers if other != pointer)
    ]
    selected: dict[str, Any] = {}
    for pointer, value in read_fields(data, outermost).items():
        *path, name = split_pointer(pointer)
        parent = selected
        for token in path:
            parent = parent.setdefault(token, {})
        parent[name] = value
    return selected


def restore_fields(remainder: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """Put fields back that :func:`without_fields` took: their parents are still there."""
    for pointer, value in fields.items():
        *path, name = split_pointer(pointer)
        parent = remainder
        for token in path:
            parent = parent[token]
        parent[name] = value


def _member(value: object, tokens: Iterable[str]) -> object:
    for token in tokens:
        if not isinstance(value, Mapping):
            return _MISSING
        value = cast("Mapping[str, object]", value).get(token, _MISSING)
    return value
