"""Identifiers: UUIDv7 in the database, a readable prefix on the wire.

One object has one id. ``file-`` is a document, ``vs_`` a collection, ``resp_`` a response.
"""

import os
from collections.abc import Callable
from typing import Final
from uuid import UUID

from undercroft.kit.clock import Clock, SystemClock

_HEX_DIGITS: Final = frozenset("0123456789abcdef")


class IdSource:
    """Makes UUIDv7 values (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits.

    Args:
        clock: Where the timestamp comes from.
        entropy: Returns that many random bytes; a test passes a seeded one.
    """

    def __init__(
        self, clock: Clock | None = None, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._clock = clock or SystemClock()
        self._entropy = entropy

    def new(self) -> UUID:
        """A fresh id, sorting after every id made in an earlier millisecond."""
        milliseconds = int(self._clock.now().timestamp() * 1000)
        random_bits = int.from_bytes(self._entropy(10))
        value = (milliseconds & (1 << 48) - 1) << 80 | random_bits & (1 << 80) - 1
        value = value & ~(0xF << 76) | 0x7 << 76
        value = value & ~(0x3 << 62) | 0x2 << 62
        return UUID(int=value)


def render_id(prefix: str, value: UUID) -> str:
    """The wire form: the prefix (with its separator) and 32 hexadecimal digits."""
    return f"{prefix}{value.hex}"


def parse_id(prefix: str, text: str) -> UUID | None:
    """The id behind its wire form, or None when ``text`` cannot be one.

    Only the exact form that :func:`render_id` writes is accepted: an object with two spellings of its id would be
    two objects to every cache and log in front of us.
    """
    digits = text.removeprefix(prefix)
    if len(digits) != 32 or len(text) != len(prefix) + 32 or not _HEX_DIGITS.issuperset(digits):
        return None
    return UUID(hex=digits)
