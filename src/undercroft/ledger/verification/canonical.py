"""JSON in the one spelling of RFC 8785, as far as the ledger uses it: no number in it has a fraction."""

import json
from collections.abc import Sequence
from typing import Final, NoReturn

_LARGEST: Final = (1 << 53) - 1


class NotCanonicalError(ValueError):
    """The bytes are not JSON, or not in the one spelling; the message says which."""


def parse_canonical(data: bytes) -> object:
    """Read JSON whose every byte is as RFC 8785 wants it.

    Raises:
        NotCanonicalError: When it is not.
    """
    try:
        value: object = json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_refuse,
            parse_constant=_refuse,
        )
    except NotCanonicalError:
        raise
    except (ValueError, RecursionError):
        raise NotCanonicalError("it is not JSON in UTF-8") from None
    try:
        same = _write(value).encode() == data
    except (UnicodeEncodeError, RecursionError):
        same = False
    if not same:
        raise NotCanonicalError("it is JSON, but not spelt as RFC 8785 wants it")
    return value


def _write(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    # The order is by UTF-16 units, which differs from that of code points.
    if names != sorted(set(names), key=lambda name: name.encode("utf-16-be", "surrogatepass")):
        raise NotCanonicalError("its names are not in order, or one stands there twice")
    return dict(pairs)


def _whole(text: str) -> int:
    value = int(text)
    if abs(value) > _LARGEST:
        raise NotCanonicalError("it has a number that JSON cannot hold exactly")
    return value


def _refuse(_: str) -> NoReturn:
    raise NotCanonicalError("it has a number that is not whole")
