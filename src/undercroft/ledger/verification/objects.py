"""JSON objects as somebody sends them, however they are laid out."""

import json
from collections.abc import Mapping, Sequence
from typing import cast


class MalformedObjectError(ValueError):
    """The bytes are no JSON object that says one thing only; the message says why."""


def parse_object(data: bytes, largest: int) -> Mapping[str, object]:
    """Read an object with no name twice: two programs could read two things in that.

    Raises:
        MalformedObjectError: When it is none, or longer than that many bytes.
    """
    if len(data) > largest:
        raise MalformedObjectError("it is too long")
    try:
        value: object = json.loads(data.decode(), object_pairs_hook=_unique)
        # An escape can write half of a surrogate pair, which no text that is hashed can hold.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise MalformedObjectError(
            "it is not JSON in UTF-8, or a name stands in it twice"
        ) from None
    if not isinstance(value, dict):
        raise MalformedObjectError("it is no object")
    return cast("Mapping[str, object]", value)


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands there twice")
    return members
