"""Share links, and what redeeming one comes to."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from undercroft.sharing.models import Grant, GrantAction, Terms

LINK_PREFIX: Final = "link_"
LINK_ACTIONS: Final = frozenset(
    {
        GrantAction.SEARCH,
        GrantAction.READ,
        GrantAction.READ_PARTS,
        GrantAction.DOWNLOAD,
        GrantAction.SHARE,
    }
)
"""What a link can be for: nobody knows whose writing it would be."""

LINK_TOKEN_PREFIX: Final = "ul_"  # noqa: S105 - what every token begins with


@dataclass(frozen=True, slots=True)
class LinkTerms:
    """A link to be made.

    Attributes:
        terms: Of its grant.
        passcode: What its holder has to know besides.
        email: To whom a code is sent that its holder has to have besides.
        is_one_time: Whether it can be redeemed once.
    """

    terms: Terms
    passcode: str | None = field(default=None, repr=False)
    email: str | None = None
    is_one_time: bool = False


@dataclass(frozen=True, slots=True)
class ShareLink:
    """A link as it is listed. Of its token, passcode and address nothing is shown again."""

    id: UUID
    grant_id: UUID
    is_one_time: bool
    redemptions: int
    has_passcode: bool
    has_step_up: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CreatedLink:
    """A new link with its token, which exists only here."""

    id: UUID
    grant: Grant
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredLink:
    """A link as redeeming it needs it."""

    id: UUID
    tenant_id: UUID
    grant_id: UUID
    passcode: str | None = field(repr=False)
    code_hash: bytes | None = field(repr=False)
    is_code_good: bool
    is_one_time: bool
    redemptions: int
    is_open: bool
    has_step_up: bool


@dataclass(frozen=True, slots=True)
class RedeemedLink:
    """The access token of a link's holder."""

    link_id: UUID
    grant_id: UUID
    access_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CodeSent:
    """A code was sent, with which the link has to be redeemed again."""

    link_id: UUID


@dataclass(frozen=True, slots=True)
class LinkScope:
    """The scope of a link's holder before they have a token."""

    tenant_id: UUID
    principal_id: UUID

    @property
    def actor_id(self) -> None:
        """None: nobody acts for a link's holder."""

    @property
    def purpose(self) -> None:
        """None: nothing of what is shared is read in it."""


def make_code(entropy: Callable[[int], bytes]) -> str:
    """Eight digits."""
    return f"{int.from_bytes(entropy(8)) % 100_000_000:08}"


def hash_code(code: str, link_id: UUID) -> bytes:
    """What is stored of a code, for ten minutes and ten guesses."""
    return hashlib.sha256(link_id.bytes + code.encode()).digest()
