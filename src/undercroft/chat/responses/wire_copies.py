"""Copies of what is told of a response while it goes on changing."""

from typing import Final, TypeVar, cast

_Json = TypeVar("_Json")
_NESTED: Final = (dict, list)


def copied(value: _Json) -> _Json:
    """A JSON value that shares no object and no list with the given one.

    As ``copy.deepcopy`` in a fraction of the time: JSON has no cycles, no shared parts and no classes that say how.
    """
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return cast(
            "_Json",
            {
                name: copied(cast("object", member)) if isinstance(member, _NESTED) else member
                for name, member in members.items()
            },
        )
    if isinstance(value, list):
        parts = cast("list[object]", value)
        return cast("_Json", [copied(part) for part in parts])
    return value
