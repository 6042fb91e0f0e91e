"""JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902) as pure functions that change nothing they are given.

A patch of a few lines can double a value with each ``copy``: what the operations make is measured as they go.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.records.errors import PatchError
from undercroft.vault.schemas.json_text import MOST_VALUES, canonical, equal, quote
from undercroft.vault.schemas.pointers import is_within, split_pointer

MOST_OPERATIONS: Final = 1_000
LARGEST_COPIES: Final = 512 * 1024
"""Bytes that all ``copy`` operations of a patch may make together."""

Operation: TypeAlias = Mapping[str, Any]
_ROOT: Final = "root"
_PAST_THE_END: Final = "-"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")
"""Only the plain spelling: int() would take "+1", " 1" and digits of other scripts too, and endless ones."""


def apply_merge_patch(target: object, patch: object) -> Any:  # noqa: ANN401 - any JSON value
    """The target with the patch's members set, and those that are null in it removed."""
    if not isinstance(patch, dict):
        return patch
    merged: dict[str, Any] = (
        dict(cast("Mapping[str, Any]", target)) if isinstance(target, dict) else {}
    )
    for name, value in cast("Mapping[str, Any]", patch).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply_merge_patch(merged.get(name), value)
    return merged


def check_patch(patch: object) -> Sequence[Operation]:
    """The operations of a JSON Patch.

    Raises:
        InvalidRequestError: When it is none, or has more than 1,000 operations.
    """
    if not isinstance(patch, list):
        raise _malformed("it should be an array of operations")
    operations = cast("list[object]", patch)
    if len(operations) > MOST_OPERATIONS:
        raise _malformed(f"it has more than {MOST_OPERATIONS:,} operations")
    for number, operation in enumerate(operations):
        _check_operation(operation, number)
    return cast("Sequence[Operation]", operations)


def apply_patch(target: object, operations: Sequence[Operation]) -> Any:  # noqa: ANN401 - any JSON value
    """The target after the operations, all of them.

    Raises:
        PatchError: When one does not apply, a ``test`` fails, or what they make is too large.
    """
    # A root of its own, so that "" is a member like any other.
    document = {_ROOT: copy.deepcopy(target)}
    room = LARGEST_COPIES
    try:
        for operation in operations:
            if operation["op"] == "copy":
                room -= len(canonical(_read(document, operation["from"])))
                if room < 0:
                    raise PatchError("The patch copies more than 512 KiB.", operation["path"])
            _APPLY[operation["op"]](document, operation)
    except RecursionError as error:
        # Each move can nest a value deeper, beyond what a record may hold anyway.
        raise PatchError("The patch nests values too deep.", "") from error
    return document[_ROOT]


def _check_operation(operation: object, number: int) -> None:
    if not isinstance(operation, dict):
        raise _malformed("each operation should be an object", number)
    members = cast("Mapping[str, object]", operation)
    kind = members.get("op")
    if not isinstance(kind, str) or kind not in _APPLY:
        raise _malformed(f"'op' should be one of {', '.join(_APPLY)}", number)
    needed = ["path", *(["from"] if kind in {"move", "copy"} else [])]
    for name in needed:
        pointer = members.get(name)
        if not isinstance(pointer, str):
            raise _malformed(f"'{name}' should be a JSON Pointer", number)
        try:
            split_pointer(pointer)
        except ValueError as error:
            raise _malformed(f"'{name}' should be a JSON Pointer: {error}", number) from error
    if kind in {"add", "replace", "test"} and "value" not in members:
        raise _malformed("'value' is missing", number)


def _malformed(reason: str, number: int | None = None) -> InvalidRequestError:
    where = "" if number is None else f" operation {number}:"
    return InvalidRequestError(f"Invalid JSON Patch:{where} {reason}.", code="invalid_patch")


def _add(document: dict[str, Any], operation: Operation) -> None:
    _insert(document, operation["path"], copy.deepcopy(operation["value"]))


def _remove(document: dict[str, Any], operation: Operation) -> None:
    _take(document, operation["path"])


def _replace(document: dict[str, Any], operation: Operation) -> None:
    parent, token = _find(document, operation["path"])
    _item(parent, token, operation["path"])
    parent[token] = copy.deepcopy(operation["value"])


def _move(document: dict[str, Any], operation: Operation) -> None:
    source, path = operation["from"], operation["path"]
    if source != path and is_within(path, source):
        raise PatchError("A value cannot be moved into itself.", path)
    _insert(document, path, _take(document, source))


def _copy(document: dict[str, Any], operation: Operation) -> None:
    _insert(document, operation["path"], copy.deepcopy(_read(document, operation["from"])))


def _test(document: dict[str, Any], operation: Operation) -> None:
    if not equal(_read(document, operation["path"]), operation["value"]):
        raise PatchError(
            f"The patch's test of '{quote(operation['path'])}' failed.", operation["path"]
        )


_APPLY: Final[Mapping[str, Callable[[dict[str, Any], Operation], None]]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def _find(document: dict[str, Any], pointer: str) -> tuple[Any, Any]:
    """What holds the place that a pointer names, and under which key or number."""
    value: Any = document
    *path, last = [_ROOT, *split_pointer(pointer)]
    for token in path:
        value = _item(value, _key(value, token, pointer), pointer)
    return value, _key(value, last, pointer)


def _key(parent: object, token: str, pointer: str) -> str | int:
    if isinstance(parent, dict):
        return token
    if isinstance(parent, list):
        if token == _PAST_THE_END:
            return len(cast("list[object]", parent))
        if _NUMBER.fullmatch(token):
            return int(token)
    raise _nothing_at(pointer)


def _item(parent: Any, key: str | int, pointer: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return parent[key]
    except (KeyError, IndexError) as error:
        raise _nothing_at(pointer) from error


def _read(document: dict[str, Any], pointer: str) -> Any:  # noqa: ANN401 - any JSON value
    return _item(*_find(document, pointer), pointer)


def _take(document: dict[str, Any], pointer: str) -> Any:  # noqa: ANN401 - any JSON value
    if not pointer:
        raise PatchError("The whole record cannot be removed or moved by a patch.", pointer)
    parent, key = _find(document, pointer)
    value = _item(parent, key, pointer)
    del parent[key]
    return value


def _insert(document: dict[str, Any], pointer: str, value: object) -> None:
    parent, key = _find(document, pointer)
    if isinstance(key, int):
        if key > len(parent) or len(parent) >= MOST_VALUES:
            raise _nothing_at(pointer)
        parent.insert(key, value)
    else:
        parent[key] = value


def _nothing_at(pointer: str) -> PatchError:
    return PatchError(f"The patch does not apply: there is nothing at '{quote(pointer)}'.", pointer)
