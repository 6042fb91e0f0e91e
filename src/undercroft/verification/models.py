"""What verification answers. Nothing in it names what was not in the proof already."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from undercroft.sharing.consents.models import ConsentState


class ProofKind(StrEnum):
    """What somebody holds."""

    DOCUMENT_VERSION = "document_version"
    RECORD_FIELDS = "record_fields"
    CONSENT = "consent"
    ANSWER = "answer"
    ENTRY = "entry"


class Standing(StrEnum):
    """What has become of something that was vouched for, from best to worst."""

    UNCHANGED = "unchanged"
    DELETED = "deleted"
    """It is in the trash, and may come back."""
    ERASED = "erased"
    CHANGED = "changed"
    """It is there, and not what was vouched for: somebody has altered what is kept."""


class GrantStanding(StrEnum):
    """Where a grant is now."""

    LIVE = "live"
    EXPIRED = "expired"
    USED_UP = "used_up"
    REVOKED = "revoked"
    """By whatever ended it before its time; also when it went with what it was of."""


@dataclass(frozen=True, slots=True)
class NamedGrant:
    """A grant that the proof names.

    Attributes:
        reference: Its id, as the proof has it.
        consent: Where the consent is that it rests on; None when it rests on none.
    """

    reference: str
    standing: GrantStanding
    valid_until: datetime | None
    consent: ConsentState | None


@dataclass(frozen=True, slots=True)
class NamedPassage:
    """A passage that the proof shows.

    Attributes:
        number: Its place among the passages of the answer.
        standing: Of the version of the document that it is from.
    """

    number: int
    standing: Standing
    grants: Sequence[NamedGrant]


Status: TypeAlias = Standing | ConsentState


@dataclass(frozen=True, slots=True)
class Verdict:
    """What there is to say of a proof.

    Attributes:
        log: The origin of the log that vouches; None when none of this installation's does, and then so is the rest.
        signed_by: Name and id of the key that signed the proof.
        status: What has become of what it is about.
        valid_until: When a consent ends, or the first of the grants that still count.
        passages: Of an answer, those that the proof shows.
    """

    kind: ProofKind
    log: str | None = None
    signed_by: str | None = None
    status: Status | None = None
    valid_until: datetime | None = None
    passages: Sequence[NamedPassage] | None = None
