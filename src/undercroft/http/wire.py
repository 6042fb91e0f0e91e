"""What every request body and response body shares."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, TypeAlias, cast, overload
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import parse_id
from undercroft.retrieval.filters import RESERVED

_MAX_DEPTH: Final = 64
_MAX_VALUES: Final = 20_000


class RequestBody(BaseModel):
    """A JSON body.

    Unknown fields are refused by name, nothing is guessed (neither ``"5"`` nor ``true`` is a number), and no text in it
    has a character PostgreSQL cannot hold.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_storable_text(cls, value: object) -> object:
        _check_values(value, 0, _MAX_VALUES)
        return value


def _check_values(value: object, depth: int, room: int) -> int:
    """Refuse what cannot be stored, and more than there is room for: each wrong value would make an error of its own.

    Returns:
        How many values there may be besides.
    """
    if depth > _MAX_DEPTH:
        raise PydanticCustomError("too_deep", "is nested deeper than 64 levels")
    if room < 1:
        raise PydanticCustomError("too_many_values", "the body holds more than 20,000 values")
    room -= 1
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            _check_text(str(key))
            room = _check_values(item, depth + 1, room)
    elif isinstance(value, Sequence):
        for item in cast("Sequence[object]", value):
            room = _check_values(item, depth + 1, room)
    return room


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise PydanticCustomError("nul_character", "contains a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise PydanticCustomError("lone_surrogate", "contains half of a surrogate pair")


def _storable(text: str) -> str:
    _check_text(text)
    return text


StorableText = Annotated[str, AfterValidator(_storable)]
"""Text from a query, a form or a path, under the same rule as text in a body."""


def _not_supported(value: bool) -> bool:
    if value:
        raise PydanticCustomError("not_supported", "is not supported yet")
    return value


OnlyFalse: TypeAlias = Annotated[
    bool, AfterValidator(_not_supported), WithJsonSchema({"type": "boolean", "const": False})
]
"""A flag that cannot be set yet. ``Literal[False]`` would take the number 0 for false."""

Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]
"""Up to 16 pairs of text, as OpenAI has them."""


_KINDS: Final[Mapping[type, str]] = {
    str: "(text)",
    bool: "(flag)",
    int: "(number)",
    float: "(number)",
}
"""What stands in an error's place beside the names of fields, and is recognised as none."""


def _kind(value: object) -> str | None:
    return _KINDS.get(type(value))


SentValue: TypeAlias = Annotated[
    Annotated[str, Field(max_length=512), Tag("(text)")]
    | Annotated[bool, Tag("(flag)")]
    | Annotated[float, Field(allow_inf_nan=False), Tag("(number)")],
    # Without it an error has one line for each of the three, whichever was meant.
    Discriminator(
        _kind,
        custom_error_type="value_type",
        custom_error_message="should be a text, a number, true or false",
    ),
]
"""An attribute's value, as a request has it."""


def _not_reserved(key: str) -> str:
    if key.startswith(RESERVED):
        raise PydanticCustomError(
            "reserved_key",
            f"has a key that begins with '{RESERVED}', which names what every document has",
        )
    return key


Attributes = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_not_reserved)],
        SentValue,
    ],
    Field(max_length=16),
]
"""Up to 16 attributes of a document in a collection."""
AttributeValue: TypeAlias = str | bool | int | float
"""One of them as it is shown."""
_MOST_EXACT: Final = 2**53
"""Below it a number with a fraction can hold each whole one."""

JsonObject: TypeAlias = dict[str, Any]


def render_value(value: AttributeValue) -> AttributeValue:
    """An attribute's value: a whole number without a fraction, as it is kept with one whatever was sent.

    But for those that no reader of JSON takes as whole ones: with digits alone they could not be sent again.
    """
    if isinstance(value, str | bool):
        return value
    return int(value) if value == int(value) and abs(value) < _MOST_EXACT else float(value)


def render_attributes(attributes: Mapping[str, AttributeValue]) -> JsonObject:
    """A document's attributes in a collection."""
    return {key: render_value(value) for key, value in attributes.items()}


def require_id(prefix: str, what: str, text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one: for a caller, an impossible id and an absent object are the same.
    """
    value = parse_id(prefix, text)
    if value is None:
        raise NotFoundError(what, text[:100].encode("ascii", "replace").decode(), param=param)
    return value


@overload
def render_time(moment: datetime) -> int: ...
@overload
def render_time(moment: None) -> None: ...
def render_time(moment: datetime | None) -> int | None:
    """A time as every object shows it: in seconds since 1970, in UTC."""
    return None if moment is None else int(moment.timestamp())


def page_of(items: Sequence[JsonObject], limit: int) -> JsonObject:
    """OpenAI's list object over one item more than was asked for, which tells whether there is more."""
    return list_of(items[:limit], has_more=len(items) > limit)


def list_of(items: Sequence[JsonObject], *, has_more: bool) -> JsonObject:
    """OpenAI's list object."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
