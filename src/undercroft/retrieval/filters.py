"""Filters on what is known of a document where it is found, in OpenAI's grammar.

They become predicates in SQL/JSON's path language, which PostgreSQL evaluates; each is bound as a parameter.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Value: TypeAlias = str | float | bool
Ordering: TypeAlias = Literal["eq", "ne", "gt", "gte", "lt", "lte"]

RESERVED: Final = "undercroft."
"""What the keys begin with that no attribute has: those that every document has."""

_OPERATORS: Final[dict[str, str]] = {"eq": "==", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one key's value has to be.

    Without the key, or with a value of another type, no comparison holds but ``ne`` and ``nin``: these two are what
    ``eq`` and ``in`` are not.
    """

    type: Ordering
    key: str
    value: Value


@dataclass(frozen=True, slots=True)
class Membership:
    """Which values one key's value has to be among."""

    type: Literal["in", "nin"]
    key: str
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Compound:
    """Filters of which all or any have to hold."""

    type: Literal["and", "or"]
    filters: Sequence["Filter"]


Filter: TypeAlias = Comparison | Membership | Compound


def render_path(condition: Filter) -> str:
    """The predicate. Each key and value stands in it as JSON, which is what a path's literals are."""
    if isinstance(condition, Compound):
        operator = " && " if condition.type == "and" else " || "
        return operator.join(f"({render_path(each)})" for each in condition.filters)
    accessor = f"$.{json.dumps(condition.key)}"
    if isinstance(condition, Membership):
        return _among(accessor, condition.values, is_wanted=condition.type == "in")
    if condition.type == "ne":
        return _among(accessor, [condition.value], is_wanted=False)
    return f"{accessor} {_OPERATORS[condition.type]} {json.dumps(condition.value)}"


def _among(accessor: str, values: Sequence[Value], *, is_wanted: bool) -> str:
    # What cannot be compared is unknown, and so is its negation; whether there is such a value is known.
    equal = " || ".join(f"@ == {json.dumps(value)}" for value in values)
    return f"{'' if is_wanted else '!'}exists({accessor} ? ({equal}))"
