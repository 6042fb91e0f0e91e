"""Refresh tokens: how they look, and how each makes the next.

A refresh token is ``ur_`` + 22 characters that all tokens of a session share + 43 of its own. Both parts are random, so
whoever has the first of them has had a token of that session.

The next token's own part is HMAC-SHA256 of the whole token under a salt that is made for this once. So the service can
make it again for whoever lost the answer, and keeps nothing from which it could be made without the token before.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

REFRESH_TOKEN_PREFIX: Final = "ur_"  # noqa: S105 - what every token begins with
_FORMAT: Final = re.compile(r"ur_[0-9A-Za-z_-]{65}")
_FAMILY_END: Final = 3 + 22
_FAMILY_BYTES: Final = 16
_OWN_BYTES: Final = 32
SALT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token, as its bearer sends it."""

    text: str = field(repr=False)

    @property
    def family_hash(self) -> bytes:
        """What is stored of the part that all tokens of the session share."""
        return hashlib.sha256(self.text[:_FAMILY_END].encode()).digest()

    @property
    def token_hash(self) -> bytes:
        """What is stored of the whole."""
        return hashlib.sha256(self.text.encode()).digest()

    def successor(self, salt: bytes) -> "RefreshToken":
        """The token that takes its place."""
        own = hmac.digest(salt, self.text.encode(), "sha256")
        return RefreshToken(self.text[:_FAMILY_END] + _encode(own))


def make_refresh_token(entropy: Callable[[int], bytes]) -> RefreshToken:
    """The first token of a session, from 48 random bytes."""
    return RefreshToken(f"ur_{_encode(entropy(_FAMILY_BYTES))}{_encode(entropy(_OWN_BYTES))}")


def parse_refresh_token(presented: str) -> RefreshToken | None:
    """A token that could be one of ours; None for rubbish, which never reaches the database."""
    return RefreshToken(presented) if _FORMAT.fullmatch(presented) else None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
