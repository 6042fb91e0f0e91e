"""Verification links, and what one says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.kit.ids import render_id
from undercroft.sharing.consents.models import ConsentState
from undercroft.sharing.models import ResourceKind, Way
from undercroft.vault.records.access import RecordAccess
from undercroft.vault.records.models import RECORD_PREFIX
from undercroft.verification.models import ProofKind, Verdict

VERIFICATION_LINK_PREFIX: Final = "verification_"
LONGEST_LIFETIME: Final = timedelta(days=3650)

VERIFICATION_TOKEN_PREFIX: Final = "uv_"  # noqa: S105 - what every token begins with


class LinkStanding(StrEnum):
    """Where a link is now."""

    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"
    """By its creator, or because they may not read what it is to any more."""


KIND_OF_RESOURCE: Final = {
    ResourceKind.DOCUMENT.name.lower(): ProofKind.DOCUMENT_VERSION,
    ResourceKind.RECORD.name.lower(): ProofKind.RECORD_FIELDS,
}
"""What is verified of a thing that a link is to."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a link is to.

    Attributes:
        document_id: None once the document was erased, and of a record.
        record_id: None once the record was erased, and of a document.
        fields: Of a record, the pointers of its fields; they go with it.
    """

    kind: ProofKind
    version: int
    document_id: UUID | None = None
    record_id: UUID | None = None
    fields: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class VerificationLink:
    """A link as its creator sees it. Its token is not shown again."""

    id: UUID
    target: Target
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
class Readable:
    """A thing that somebody may read.

    Attributes:
        reference: Its id on the wire.
        salt: What the ledger's commitments to it are made with.
        way: How they come to it.
    """

    reference: str
    owner_id: UUID
    salt: bytes = field(repr=False)
    way: Way


@dataclass(frozen=True, slots=True)
class ReadableRecord:
    """A version of a record of which somebody may read something.

    Attributes:
        salt: What the ledger's commitments to the record are made with.
    """

    id: UUID
    owner_id: UUID
    salt: bytes = field(repr=False)
    access: RecordAccess

    def of_fields(self, pointers: Sequence[str]) -> Readable | None:
        """These of its fields; None when they may not read all of them."""
        way = self.access.way_to_fields(pointers)
        if way is None:
            return None
        return Readable(render_id(RECORD_PREFIX, self.id), self.owner_id, self.salt, way)


@dataclass(frozen=True, slots=True)
class NamedField:
    """A field that a link is to.

    Attributes:
        salt: In hexadecimal.
        sha256: Of the salt followed by the field's canonical JSON.
    """

    pointer: str
    salt: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LinkVerdict:
    """What a link says.

    Attributes:
        verdict: Of the version; nothing but its kind when the link does not count.
        sha256: Of a document's content, as long as that is there.
        consent: Where the consent is that its creator's right rests on; None when it rests on none.
        fields: Of a record, what commits to each field, as long as they are there.
    """

    standing: LinkStanding
    verdict: Verdict
    sha256: str | None = None
    consent: ConsentState | None = None
    fields: Sequence[NamedField] | None = None
