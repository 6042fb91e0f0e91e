"""API keys and access tokens: how they look, and what of them is stored.

A key is ``uk_`` + 8 characters that may be shown + ``_`` + 43 that may not; a token ``ut_`` + 43 that may not. Its
secret part has 256 random bits, so a plain SHA-256 is enough to store: there is nothing to guess that stretching would
slow down. The look-up is by that hash, which takes equally long for a wrong key as for a right one.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from undercroft.kit.tokens import hash_token, is_token, make_token

API_KEY_PREFIX: Final = "uk_"
ACCESS_TOKEN_PREFIX: Final = "ut_"  # noqa: S105 - what every token begins with
_FORMAT: Final = re.compile(r"uk_[0-9a-z]{8}_[0-9A-Za-z_-]{43}")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A freshly made key; ``secret`` exists only here."""

    secret: str
    prefix: str
    key_hash: bytes


def make_key(entropy: Callable[[int], bytes]) -> NewKey:
    """Make a key from 37 random bytes."""
    visible = base64.b32encode(entropy(5)).decode().lower()
    shown = f"{API_KEY_PREFIX}{visible}"
    secret = make_token(f"{shown}_", entropy)
    return NewKey(secret, shown, hash_token(secret))


def make_access_token(entropy: Callable[[int], bytes]) -> str:
    """Make an access token from 32 random bytes; :func:`hash_token` gives what is stored of it."""
    return make_token(ACCESS_TOKEN_PREFIX, entropy)


def is_well_formed(presented: str) -> bool:
    """Whether a presented key could be one of ours, so that rubbish never reaches the database."""
    return _FORMAT.fullmatch(presented) is not None


def is_access_token(presented: str) -> bool:
    """Whether it could be one of our access tokens."""
    return is_token(ACCESS_TOKEN_PREFIX, presented)
