"""Verification links, and what one says."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.sharing.consents.models import ConsentState
from undercroft.sharing.models import Way
from undercroft.verification.models import Verdict

VERIFICATION_LINK_PREFIX: Final = "verification_"
LONGEST_LIFETIME: Final = timedelta(days=3650)

VERIFICATION_TOKEN_PREFIX: Final = "uv_"  # noqa: S105 - what every token begins with


class LinkStanding(StrEnum):
    """Where a link is now."""

    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"
    """By its creator, or because they may not read the document any more."""


@dataclass(frozen=True, slots=True)
class VerificationLink:
    """A link as its creator sees it. Its token is not shown again.

    Attributes:
        document_id: None once the document was erased.
    """

    id: UUID
    document_id: UUID | None
    version: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class CreatedVerificationLink:
    """A new link with its token, which exists only here."""

    link: VerificationLink
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CreatorScope:
    """By whose right a link counts: whoever follows it is told what its creator may know, and less."""

    link_id: UUID
    tenant_id: UUID
    principal_id: UUID
    purpose: str | None

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""


@dataclass(frozen=True, slots=True)
class ReadableDocument:
    """A document that somebody may read.

    Attributes:
        salt: What the ledger's commitments to the document are made with.
        way: How they come to it.
    """

    id: UUID
    owner_id: UUID
    salt: bytes = field(repr=False)
    way: Way


@dataclass(frozen=True, slots=True)
class LinkVerdict:
    """What a link says.

    Attributes:
        verdict: Of the version; nothing but its kind when the link does not count.
        sha256: Of the content, as long as that is there.
        consent: Where the consent is that its creator's right rests on; None when it rests on none.
    """

    standing: LinkStanding
    verdict: Verdict
    sha256: str | None = None
    consent: ConsentState | None = None
