"""Opaque tokens: a prefix by which their kinds are told apart, and 256 random bits that nobody guesses."""

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Final

_RANDOM_PART: Final = re.compile(r"[0-9A-Za-z_-]{43}")


def make_token(prefix: str, entropy: Callable[[int], bytes]) -> str:
    """A token from 32 random bytes; :func:`hash_token` gives what is stored of it."""
    return f"{prefix}{base64.urlsafe_b64encode(entropy(32)).decode().rstrip('=')}"


def is_token(prefix: str, presented: str) -> bool:
    """Whether it could be a token of that prefix, so that rubbish never reaches the database."""
    is_of_kind = presented.startswith(prefix)
    return is_of_kind and _RANDOM_PART.fullmatch(presented, len(prefix)) is not None


def hash_token(token: str) -> bytes:
    """What is stored of a token: 32 bytes. Its random bits need no stretching, as there is nothing to guess."""
    return hashlib.sha256(token.encode()).digest()
