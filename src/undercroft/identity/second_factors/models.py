"""Second factors, recovery codes and challenges, and how they look."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.kit.crypto.aead import bind
from undercroft.kit.tokens import hash_token, is_token, make_token

ENROLMENT_LIFETIME: Final = timedelta(minutes=15)
CHALLENGE_LIFETIME: Final = timedelta(minutes=5)
RECOVERY_CODES: Final = 10
"""How many a person gets at once."""

_CHALLENGE_PREFIX: Final = "us_"
_RECOVERY_BYTES: Final = 15
"""120 random bits: so many that nobody guesses them, hashed once or a thousand times."""
_RECOVERY_CODE: Final = re.compile(r"[a-z2-7]{24}")
_GROUP: Final = 6


class Proof(StrEnum):
    """What somebody has shown their second factor by."""

    CODE = "code"
    RECOVERY_CODE = "recovery_code"


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether somebody has a second factor, and needs one.

    Attributes:
        enabled_at: Since when it is asked for; None while there is none.
        codes_left: Recovery codes that were not used.
        is_demanded: Whether the tenant asks its people for one.
    """

    enabled_at: datetime | None
    codes_left: int
    is_demanded: bool


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A secret that was made for somebody. It is shown once."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a sign-in gets in place of tokens, until the second factor is shown. It is shown once and not stored."""

    text: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Challenged:
    """Who has shown their password, found by a challenge."""

    tenant_id: UUID
    principal_id: UUID

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: it reads nothing under a grant."""


def make_challenge(entropy: Callable[[int], bytes]) -> str:
    """A challenge, from 32 random bytes."""
    return make_token(_CHALLENGE_PREFIX, entropy)


def hash_challenge(text: str) -> bytes | None:
    """What is stored of a challenge; None for rubbish, which never reaches the database."""
    return hash_token(text) if is_token(_CHALLENGE_PREFIX, text) else None


def make_recovery_code(entropy: Callable[[int], bytes]) -> str:
    """A recovery code, in groups that people can read from paper."""
    letters = base64.b32encode(entropy(_RECOVERY_BYTES)).decode().lower()
    return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))


def hash_recovery_code(text: str) -> bytes | None:
    """What is stored of a recovery code, however it is grouped; None for what can be none."""
    letters = "".join(text.split()).replace("-", "").lower()
    if _RECOVERY_CODE.fullmatch(letters) is None:
        return None
    return hashlib.sha256(letters.encode()).digest()


def secret_place(tenant_id: UUID, user_id: UUID) -> bytes:
    """What a sealed secret is bound to."""
    return bind(tenant_id, "second_factors", user_id, "sealed_secret")
