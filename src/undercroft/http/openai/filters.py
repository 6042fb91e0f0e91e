"""OpenAI's filters: comparisons of a document's attributes, and what is made of several."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, cast

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from undercroft.http.wire import RequestBody, SentValue
from undercroft.kit.ids import parse_id
from undercroft.retrieval.collections.models import COLLECTION_PREFIX
from undercroft.retrieval.filters import RESERVED, Comparison, Compound, Filter, Membership, Value
from undercroft.vault.models import DOCUMENT_PREFIX

_MOST_VALUES: Final = 200
"""How many comparisons a filter makes, one with each value of a list: of every document that it is held against."""
_DEEPEST: Final = 8

_IDS: Final = {"document": DOCUMENT_PREFIX, "collection": COLLECTION_PREFIX}
_TYPES: Final[dict[str, type]] = {
    "document": str,
    "collection": str,
    "media_type": str,
    "created_at": float,
    "byte_size": float,
}
"""What every document has where it is found, by the rest of its key."""

Key = Annotated[str, Field(min_length=1, max_length=64)]


class ComparisonFilter(RequestBody):
    """What the value of an attribute is compared with."""

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte"]
    key: Key
    value: SentValue

    @model_validator(mode="after")
    def _is_comparable(self) -> Self:
        if isinstance(self.value, bool) and self.type not in {"eq", "ne"}:
            raise PydanticCustomError(
                "filter_order", "compares true or false by order; that takes a number or a text"
            )
        _check_own_key(self.type, self.key, [self.value])
        return self

    def as_filter(self) -> Filter:
        """What is asked of a document."""
        return Comparison(self.type, self.key, _stored(self.key, self.value))


class MembershipFilter(RequestBody):
    """Which values an attribute's may be, or may not."""

    type: Literal["in", "nin"]
    key: Key
    value: Annotated[list[SentValue], Field(min_length=1, max_length=_MOST_VALUES)]

    @model_validator(mode="after")
    def _is_comparable(self) -> Self:
        _check_own_key(self.type, self.key, self.value)
        return self

    def as_filter(self) -> Filter:
        """What is asked of a document."""
        return Membership(self.type, self.key, [_stored(self.key, value) for value in self.value])


class CompoundFilter(RequestBody):
    """Filters of which all, or any, have to hold."""

    type: Literal["and", "or"]
    filters: Annotated[list["AnyFilter"], Field(min_length=1, max_length=_MOST_VALUES)]

    def as_filter(self) -> Filter:
        """What is asked of a document."""
        return Compound(self.type, [each.as_filter() for each in self.filters])


_TAGS: Final = {
    **dict.fromkeys(("eq", "ne", "gt", "gte", "lt", "lte"), "(comparison)"),
    **dict.fromkeys(("in", "nin"), "(membership)"),
    **dict.fromkeys(("and", "or"), "(compound)"),
}
"""What stands in an error's place beside the names of fields, and is recognised as none."""


def _tag(value: Any) -> str | None:  # noqa: ANN401 - whatever was sent
    is_object = isinstance(value, Mapping)
    kind: object = (
        cast("Mapping[str, object]", value).get("type")
        if is_object
        else getattr(value, "type", None)
    )
    return _TAGS.get(kind) if isinstance(kind, str) else None


AnyFilter: TypeAlias = Annotated[
    Annotated[ComparisonFilter, Tag("(comparison)")]
    | Annotated[MembershipFilter, Tag("(membership)")]
    | Annotated[CompoundFilter, Tag("(compound)")],
    Discriminator(
        _tag,
        custom_error_type="filter_type",
        custom_error_message="should be an object whose type is one of eq, ne, gt, gte, lt, lte, in, nin, and, or",
    ),
]
CompoundFilter.model_rebuild()


def _check_size(condition: AnyFilter) -> AnyFilter:
    if _depth(condition) > _DEEPEST:
        raise PydanticCustomError(
            "filter_depth", "is nested deeper than {most} filters", {"most": _DEEPEST}
        )
    if _count(condition) > _MOST_VALUES:
        raise PydanticCustomError(
            "filter_size", "makes more than {most} comparisons", {"most": _MOST_VALUES}
        )
    return condition


Filters: TypeAlias = Annotated[AnyFilter, AfterValidator(_check_size)]
"""A filter as a request has it, with all that is in it."""


def _depth(condition: AnyFilter) -> int:
    if isinstance(condition, CompoundFilter):
        return 1 + max(_depth(each) for each in condition.filters)
    return 1


def _count(condition: AnyFilter) -> int:
    if isinstance(condition, CompoundFilter):
        return 1 + sum(_count(each) for each in condition.filters)
    return len(condition.value) if isinstance(condition, MembershipFilter) else 1


def _check_own_key(operator: str, key: str, values: Sequence[Value]) -> None:
    """Of the keys that every document has: that there is such a one, and that its values can be these."""
    if not key.startswith(RESERVED):
        return
    name = key.removeprefix(RESERVED)
    if name not in _TYPES:
        known = ", ".join(RESERVED + known for known in _TYPES)
        raise PydanticCustomError(
            "filter_key", "has a key that is not known; there are {known}", {"known": known}
        )
    if not all(type(value) is _TYPES[name] for value in values):
        what = "a text" if _TYPES[name] is str else "a number"
        raise PydanticCustomError(
            "filter_value",
            "compares '{key}' with what is not {what}",
            {"key": key, "what": what},
        )
    if name not in _IDS:
        return
    if operator not in {"eq", "ne", "in", "nin"}:
        raise PydanticCustomError(
            "filter_order", "compares '{key}' by order; ids have none", {"key": key}
        )
    if any(parse_id(_IDS[name], str(value)) is None for value in values):
        raise PydanticCustomError(
            "filter_value",
            "compares '{key}' with what is no id of a {name}",
            {"key": key, "name": name},
        )


def require_known_key(key: str) -> str:
    """A key to count or to sort by: an attribute's, or of what every document has and can be counted."""
    name = key.removeprefix(RESERVED)
    if not key.startswith(RESERVED) or name in _TYPES.keys() - _IDS.keys():
        return key
    known = ", ".join(RESERVED + name for name in _TYPES if name not in _IDS)
    if name in _IDS:
        raise PydanticCustomError(
            "filter_key",
            "names '{key}', which filters compare, and which is neither counted nor sorted by; {known} are",
            {"key": key, "known": known},
        )
    raise PydanticCustomError(
        "filter_key", "has a key that is not known; there are {known}", {"known": known}
    )


def _stored(key: str, value: Value) -> Value:
    """A value as the database has it."""
    prefix = _IDS.get(key.removeprefix(RESERVED)) if key.startswith(RESERVED) else None
    return value if prefix is None else str(parse_id(prefix, str(value)))
