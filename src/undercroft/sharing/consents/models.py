"""Notices, consents and what happens to them, in the terms of ISO/IEC TS 27560 and of W3C's DPV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from undercroft.sharing.models import Resource

NOTICE_PREFIX: Final = "notice_"
CONSENT_PREFIX: Final = "consent_"


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who is named in a notice.

    Attributes:
        contact: An address where they can be reached.
    """

    name: str
    contact: str


@dataclass(frozen=True, slots=True)
class NoticeContent:
    """What a version of a notice says. All of it is content: encrypted where it is kept.

    Attributes:
        language: Of the text, as a BCP 47 tag.
        purpose_description: The purpose in words; its code stands beside the content.
        data_categories: Terms of DPV's personal data, or the controller's own.
        recipients: Who is shown the data.
        retention: How long it is kept, in words.
        jurisdictions: ISO 3166 codes.
        withdrawal: How consent is taken back.
    """

    title: str
    text: str
    language: str
    purpose_description: str
    data_categories: Sequence[str]
    controller: Party
    recipients: Sequence[str]
    retention: str
    jurisdictions: Sequence[str]
    withdrawal: str


@dataclass(frozen=True, slots=True)
class NoticeTerms:
    """What of a notice the service itself holds to.

    Attributes:
        validity_days: How long a consent counts, from the day it is given or renewed.
        retention_days: After how many days the thing is erased, where ``erases`` says so.
        erases: Whether the thing is erased when consent is withdrawn or retention is over.
    """

    validity_days: int
    retention_days: int | None
    erases: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """A version of a notice.

    Attributes:
        digest: SHA-256 of its canonical JSON, by which a receipt names what was read.
        salt: Of the ledger's commitments to the notice.
    """

    id: UUID
    owner_id: UUID
    purpose: str
    version: int
    latest: int
    content: NoticeContent
    terms: NoticeTerms
    digest: bytes
    created_at: datetime
    salt: bytes = field(repr=False)


class ConsentState(StrEnum):
    """Where a consent is."""

    ASKED = "asked"
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class ConsentEventKind(StrEnum):
    """What happens to a consent."""

    ASKED = "asked"
    GIVEN = "given"
    REFUSED = "refused"
    RENEWED = "renewed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class Erasure(StrEnum):
    """What becomes of the thing when consent ends."""

    NONE = "none"
    """Nothing: the notice promised nothing."""
    PROMISED = "promised"
    PENDING = "pending"
    """A worker erases it within a minute or so; what a legal hold keeps, when that is lifted."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    """Something that happened to a consent.

    Attributes:
        entry_id: The ledger's entry of it.
    """

    kind: ConsentEventKind
    notice_version: int
    occurred_at: datetime
    entry_id: UUID


@dataclass(frozen=True, slots=True)
class Use:
    """Something that was done under a consent.

    Attributes:
        id: The ledger's entry of it.
        resource: What it was done with, on the wire.
    """

    id: UUID
    occurred_at: datetime
    actor_id: UUID
    action: str
    resource: str
    version: int | None
    grant_id: UUID
    purpose: str | None


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent as it is kept.

    Attributes:
        resource: What it is about; it may be gone.
        is_gone: Whether it is.
        subject_id: Whose consent it is.
        controller_id: Who asked for it: the owner of the resource.
        retain_until: When the retention that the notice promised is over; None once its clock was stopped.
        salt: Of the ledger's commitments to the consent.
    """

    id: UUID
    notice_id: UUID
    notice_version: int
    purpose: str
    resource: Resource
    is_gone: bool
    subject_id: UUID
    controller_id: UUID
    state: ConsentState
    terms: NoticeTerms
    asked_at: datetime
    given_at: datetime | None
    valid_until: datetime | None
    retain_until: datetime | None
    erase_after: datetime | None
    ended_at: datetime | None
    salt: bytes = field(repr=False)

    @property
    def erasure(self) -> Erasure:
        """What becomes of the thing."""
        if self.erase_after is not None:
            return Erasure.DONE if self.is_gone else Erasure.PENDING
        live = self.state in {ConsentState.ASKED, ConsentState.GIVEN, ConsentState.EXPIRED}
        return Erasure.PROMISED if self.terms.erases and live else Erasure.NONE


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """A consent with what was agreed to, what has happened to it, and what was done under it.

    Attributes:
        uses: The newest first, no more than a page.
        has_more_uses: Whether there are older ones.
    """

    consent: Consent
    notice: Notice
    events: Sequence[ConsentEvent]
    uses: Sequence[Use] = ()
    has_more_uses: bool = False


@dataclass(frozen=True, slots=True)
class DueConsent:
    """A consent whose time is over; the scope in which that is put on record, as its subject's."""

    tenant_id: UUID
    id: UUID
    principal_id: UUID

    @property
    def actor_id(self) -> None:
        """None: nobody acts for anybody."""

    @property
    def purpose(self) -> None:
        """None: nothing is read under a grant."""


@dataclass(frozen=True, slots=True)
class DueErasure:
    """A thing to erase because a notice promised it; the scope of that, as its owner's."""

    tenant_id: UUID
    resource: Resource
    principal_id: UUID

    @property
    def actor_id(self) -> None:
        """None: nobody acts for anybody."""

    @property
    def purpose(self) -> None:
        """None: nothing is read under a grant."""


def describe_content(content: NoticeContent) -> Mapping[str, Any]:
    """What a notice says, as JSON."""
    return {
        "title": content.title,
        "text": content.text,
        "language": content.language,
        "purpose_description": content.purpose_description,
        "data_categories": list(content.data_categories),
        "controller": {"name": content.controller.name, "contact": content.controller.contact},
        "recipients": list(content.recipients),
        "retention": content.retention,
        "jurisdictions": list(content.jurisdictions),
        "withdrawal": content.withdrawal,
    }
