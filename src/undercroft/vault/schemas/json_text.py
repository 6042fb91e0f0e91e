"""JSON that says one thing only (I-JSON, RFC 7493): what two readers could take for two different values is refused."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias, cast

import rfc8785

from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.schemas.pointers import join_pointer

JsonValue: TypeAlias = Any
"""What ``json.loads`` answers: None, a bool, a number, a text, a list or a dict with texts for keys."""

DEEPEST: Final = 64
MOST_VALUES: Final = 20_000
LARGEST_INTEGER: Final = 2**53 - 1
_INTEGER_DIGITS: Final = 20
_QUOTED: Final = 200


class _DuplicateKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class _NumberError(ValueError):
    pass


def parse_json(text: bytes | str) -> JsonValue:
    """The value of a JSON text.

    Raises:
        InvalidRequestError: When it is no JSON, names a key twice, is nested deeper than 64 levels, holds more than
            20,000 values, a NUL character, half of a surrogate pair, or a number that a double-precision number cannot
            hold exactly enough (an integer beyond ±(2^53 - 1), a fraction beyond ±1.8e308). ``param`` points to it.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(
            decoded,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_parse_integer,
        )
    except _DuplicateKeyError as error:
        key = quote(error.key)
        raise InvalidRequestError(
            f"The JSON names the key '{key}' twice in one object.", param=key, code="duplicate_key"
        ) from error
    except _NumberError as error:
        raise InvalidRequestError(str(error), code="number_out_of_range") from error
    except RecursionError as error:
        raise _too_deep("") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            "The JSON is not encoded in UTF-8.", code="invalid_json"
        ) from error
    except json.JSONDecodeError as error:
        raise InvalidRequestError(
            f"The JSON is malformed in line {error.lineno}, column {error.colno}.",
            code="invalid_json",
        ) from error
    check_json(value)
    return value


def check_json(value: JsonValue) -> None:
    """Refuse what :func:`parse_json` refuses, in a value that was made from parsed ones.

    Raises:
        InvalidRequestError: As there.
    """
    _check(value, "", 0, MOST_VALUES)


def canonical(value: JsonValue) -> bytes:
    """The one encoding of a value (RFC 8785): equal values, 1 and 1.0 among them, have equal bytes."""
    return rfc8785.dumps(value)


def load_canonical(text: bytes) -> JsonValue:
    """The value of what :func:`canonical` wrote. It writes large fractions without an exponent: they stay fractions."""
    return _CANONICAL.decode(text.decode())


def equal(left: JsonValue, right: JsonValue) -> bool:
    """Whether two values are the same JSON. Python would take true for 1. Costs no more than the smaller one."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        ours, theirs = cast("Mapping[str, Any]", left), cast("Mapping[str, Any]", right)
        return ours.keys() == theirs.keys() and all(
            equal(item, theirs[name]) for name, item in ours.items()
        )
    if isinstance(left, list) and isinstance(right, list):
        first, second = cast("Sequence[Any]", left), cast("Sequence[Any]", right)
        return len(first) == len(second) and all(
            equal(one, other) for one, other in zip(first, second, strict=True)
        )
    return left == right


def quote(text: str) -> str:
    """A caller's text, fit for an error message: short, and nothing that an encoder refuses."""
    return text[:_QUOTED].replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _unique(pairs: Sequence[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key)
            seen.add(key)
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise _NumberError(f"{name} is not a JSON number.")


def _parse_integer(digits: str) -> int:
    # Longer ones are out of range whatever they say, and slow to read.
    return int(digits) if len(digits) <= _INTEGER_DIGITS else int(digits[:_INTEGER_DIGITS])


def _parse_canonical_integer(digits: str) -> float:
    value = int(digits)
    return value if abs(value) <= LARGEST_INTEGER else float(digits)


_CANONICAL: Final = json.JSONDecoder(parse_int=_parse_canonical_integer)
"""Made once: ``json.loads`` makes one for each text, which takes longer than to read a short one."""


def _too_deep(pointer: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The JSON is nested deeper than {DEEPEST} levels.", param=pointer or None, code="too_deep"
    )


def _check(value: JsonValue, pointer: str, depth: int, room: int) -> int:
    if depth > DEEPEST:
        raise _too_deep(pointer[:_QUOTED])
    if room < 1:
        raise InvalidRequestError(
            f"The JSON holds more than {MOST_VALUES:,} values.", code="too_many_values"
        )
    room -= 1
    if isinstance(value, str):
        _check_text(value, pointer)
    elif isinstance(value, dict):
        for key, item in cast("Mapping[str, JsonValue]", value).items():
            _check_text(key, pointer)
            room = _check(item, join_pointer(pointer, key), depth + 1, room)
    elif isinstance(value, list):
        for place, item in enumerate(cast("Sequence[JsonValue]", value)):
            room = _check(item, f"{pointer}/{place}", depth + 1, room)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_number(value, pointer)
    return room


def _check_text(text: str, pointer: str) -> None:
    if "\x00" in text:
        raise _bad(pointer, "contains a NUL character", code="nul_character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _bad(pointer, "contains half of a surrogate pair", code="lone_surrogate")


def _check_number(value: float, pointer: str) -> None:
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise _bad(
                pointer,
                "is an integer beyond ±(2^53 - 1), which readers of JSON round; send a smaller one, or a text",
                code="number_out_of_range",
            )
    elif value in {float("inf"), float("-inf")}:
        raise _bad(pointer, "is a number beyond ±1.8e308", code="number_out_of_range")


def _bad(pointer: str, reason: str, code: str) -> InvalidRequestError:
    where = quote(pointer)
    return InvalidRequestError(
        f"'{where}' {reason}." if where else f"The JSON {reason}.", param=where or None, code=code
    )
