"""Changes of a record's data, made by whoever may change all of it or some of it. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.vault.records.errors import FieldNotGrantedError
from undercroft.vault.schemas.json_text import check_json
from undercroft.vault.schemas.pointers import (
    is_within,
    join_pointer,
    read_fields,
    select_fields,
    split_pointer,
    without_fields,
)

Change: TypeAlias = Callable[[Mapping[str, Any]], object]
"""Makes a record's new data from its present data, which it leaves as it is."""


def apply_change(
    data: Mapping[str, Any], change: Change, fields: frozenset[str] | None
) -> dict[str, Any]:
    """A record's data after a change that touches nothing but these fields.

    The change is shown nothing else of the data, either: by a patch that tests or copies what it may not see, its maker
    would learn what that is.

    Args:
        data: All that the record says.
        change: What makes the fields' new state from their present one.
        fields: The pointers below which it may change something; None for everywhere.

    Raises:
        FieldNotGrantedError: When it sets another field.
        UndercroftError: Of kind UNPROCESSABLE, when it makes no object.
        InvalidRequestError: When what it makes is nested too deep or holds too many values.
    """
    if fields is None:
        return require_object(change(data))
    changed = require_object(change(select_fields(data, fields)))
    _refuse_others(without_fields(changed, fields), "", fields)
    merged = without_fields(data, fields)
    for pointer, value in read_fields(changed, fields).items():
        _set(merged, pointer, value)
    return merged


def require_object(value: object) -> dict[str, Any]:
    """What a change made, when a record can be that.

    Raises:
        UndercroftError: Of kind UNPROCESSABLE, when it is no object.
        InvalidRequestError: When it is nested too deep or holds too many values.
    """
    if not isinstance(value, dict):
        raise UndercroftError(
            "A record's data is a JSON object; the patch would make something else of it.",
            kind=ErrorKind.UNPROCESSABLE,
            code="not_an_object",
        )
    data = cast("dict[str, Any]", value)
    check_json(data)
    return data


def _refuse_others(rest: Mapping[str, Any], place: str, fields: frozenset[str]) -> None:
    """Of what is not below the fields, only the objects around them may be there."""
    for name, value in rest.items():
        pointer = join_pointer(place, name)
        if not isinstance(value, dict) or not any(is_within(each, pointer) for each in fields):
            raise FieldNotGrantedError(pointer)
        _refuse_others(cast("dict[str, Any]", value), pointer, fields)


def _set(data: dict[str, Any], pointer: str, value: object) -> None:
    """Put a field into its place. Its parents are copies that ``without_fields`` made, or are made here."""
    *path, name = split_pointer(pointer)
    place = ""
    for token in path:
        place = join_pointer(place, token)
        child: object = data.setdefault(token, {})
        if not isinstance(child, dict):
            # Something else stands where the field's object would be, and that is not theirs to take away.
            raise FieldNotGrantedError(place)
        data = cast("dict[str, Any]", child)
    data[name] = value
