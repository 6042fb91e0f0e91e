"""What one look of a subschema at a value costs, as far as that depends on the subschema. Pure.

The unit is what a plain look costs for each byte of the value, some 30 ns. The weights were measured, against the
values that are worst for each keyword. Numbers are compared exactly, with thousands of bits if they are far apart.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias, cast

SubschemaWeight: TypeAlias = Callable[[Mapping[str, object]], int]

_COMPARED: Final = 4
"""Bytes of what a value is compared with that weigh 1."""
_QUOTED: Final = 128
"""Bytes of what was not met, in an error, that weigh 1."""
_NUMBER: Final = 15
_FAR_NUMBER: Final = 150
_FRACTION: Final = 100
_UNIQUE: Final = 60
_BOUND: Final = 5
_BOUNDS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_REPEATED: Final = re.compile(r"\{(?P<least>[0-9]{1,9})(?:,(?P<most>[0-9]{0,9}))?\}")


def weigh_work(schema: Mapping[str, object]) -> int:
    """What deciding costs for one byte of data."""
    weight = 1 + _size(schema.get("dependentRequired")) // _COMPARED
    options = schema.get("enum")
    # Of texts alone the checker makes a table.
    if isinstance(options, list) and not _are_texts(cast("list[object]", options)):
        weight += _comparing(cast("list[object]", options))
    weight += _comparing(schema.get("const"))
    weight += _BOUND * len(schema.keys() & set(_BOUNDS))
    if schema.get("uniqueItems") is True:
        weight += _UNIQUE
    step = schema.get("multipleOf")
    if isinstance(step, float) and not step.is_integer():
        weight += _FRACTION
    return weight + sum(map(positions, _patterns(schema)))


def weigh_errors(schema: Mapping[str, object]) -> int:
    """What the errors cost that one value is the cause of: each has a copy of what was not met."""
    quoted = sum(_size(schema.get(keyword)) for keyword in ("enum", "const", "not", "required"))
    return 1 + quoted // _QUOTED


def positions(pattern: str) -> int:
    """In how many places of a pattern a match can be at once, at most: what is counted is written out."""
    within, groups = len(pattern), 1
    for found in _REPEATED.finditer(pattern):
        times = int(found["most"] or found["least"])
        if pattern[: found.start()].endswith((")", "}")):
            groups *= max(times, 1)
        else:
            within += times
    return within * groups


def _patterns(schema: Mapping[str, object]) -> Iterator[str]:
    names = schema.get("patternProperties")
    if isinstance(names, Mapping):
        yield from cast("Mapping[str, object]", names)
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        yield pattern


def _are_texts(options: Sequence[object]) -> bool:
    return all(isinstance(option, str) for option in options)


def _comparing(value: object) -> int:
    """What it costs to find out whether a value equals this one."""
    return _size(value) // _COMPARED + _numbers(value)


def _numbers(value: object) -> int:
    if isinstance(value, bool):
        return 0
    if isinstance(value, (int, float)):
        return _FAR_NUMBER if "e" in repr(float(value)) else _NUMBER
    if isinstance(value, Mapping):
        return sum(map(_numbers, cast("Mapping[str, object]", value).values()))
    if isinstance(value, list):
        return sum(map(_numbers, cast("list[object]", value)))
    return 0


def _size(value: object) -> int:
    return 0 if value is None else len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
