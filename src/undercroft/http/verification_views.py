"""What is told of a proof."""

from typing import Annotated, Literal

from pydantic import Field

from undercroft.http.objects import Shown, Time
from undercroft.http.wire import JsonObject, render_time
from undercroft.kit.ids import render_id
from undercroft.vault.models import DOCUMENT_PREFIX
from undercroft.vault.records.models import RECORD_PREFIX
from undercroft.verification.links.models import (
    VERIFICATION_LINK_PREFIX,
    LinkVerdict,
    VerificationLink,
)
from undercroft.verification.models import NamedGrant, NamedPassage, Verdict

Status = Literal[
    "unchanged",
    "deleted",
    "erased",
    "changed",
    "asked",
    "given",
    "refused",
    "withdrawn",
    "expired",
]
ConsentStatus = Literal["asked", "given", "refused", "withdrawn", "expired"]


class NamedGrantObject(Shown):
    """A grant that the proof names, as it is now."""

    grant: str
    status: Literal["live", "expired", "used_up", "revoked"]
    valid_until: Time | None
    consent: Annotated[
        ConsentStatus | None, Field(description="Of the consent that it rests on; null for none.")
    ]


class NamedPassageObject(Shown):
    """A passage that the proof shows, as its document's version is now."""

    number: int
    status: Literal["unchanged", "deleted", "erased", "changed"]
    grants: list[NamedGrantObject]


class VerificationObject(Shown):
    """What there is to say of a proof; the same members whatever it is."""

    object: Literal["verification"]
    kind: Literal["document_version", "record_fields", "consent", "answer", "entry"]
    vouched: Annotated[
        bool,
        Field(description="Whether a log of this installation signed it, and has what it says."),
    ]
    log: Annotated[str | None, Field(description="Who vouches: the origin of the log.")]
    signed_by: Annotated[str | None, Field(description="Name and id of the key.")]
    status: Annotated[Status | None, Field(description="What has become of what it is about.")]
    valid_until: Annotated[
        Time | None,
        Field(description="When the consent ends, or the first of the grants that still count."),
    ]
    passages: Annotated[
        list[NamedPassageObject] | None,
        Field(description="Of an answer, the passages that the proof shows."),
    ]


class NamedFieldObject(Shown):
    """A field that a link is to. `sha256` is of the bytes of `salt` and the field's JSON as RFC 8785 spells it."""

    field: str
    salt: str
    sha256: str


class LinkVerificationObject(VerificationObject):
    """What a verification link says."""

    link: Annotated[
        Literal["live", "expired", "revoked"],
        Field(description="Where the link is; the rest is null unless it is live."),
    ]
    sha256: Annotated[
        str | None,
        Field(description="Of a document's content: `sha256sum` of the right file is the same."),
    ]
    fields: Annotated[
        list[NamedFieldObject] | None,
        Field(description="Of a record, what commits to each field; no value is told."),
    ]
    consent: Annotated[
        ConsentStatus | None,
        Field(description="Of the consent that its creator's right rests on; null for none."),
    ]


class VerificationLinkObject(Shown):
    """A verification link. Its token is not shown again."""

    id: str
    object: Literal["verification_link"]
    document: Annotated[
        str | None, Field(description="Null once it was erased, and of a record's.")
    ]
    record: Annotated[
        str | None, Field(description="Null once it was erased, and of a document's.")
    ]
    fields: Annotated[list[str] | None, Field(description="Of a record; they go with it.")]
    version: int
    created_at: Time
    expires_at: Time
    revoked_at: Time | None


class NewVerificationLinkObject(VerificationLinkObject):
    """A new link, with its token."""

    token: Annotated[str, Field(description="Shown this once.")]
    url: Annotated[str, Field(description="Where anybody follows it.")]
    qr: Annotated[str, Field(description="The address as a QR code: an SVG image.")]


def render_link_verdict(said: LinkVerdict) -> JsonObject:
    """What a link says."""
    return {
        **render_verdict(said.verdict),
        "link": said.standing.value,
        "sha256": said.sha256,
        "fields": None
        if said.fields is None
        else [
            {"field": each.pointer, "salt": each.salt, "sha256": each.sha256}
            for each in said.fields
        ],
        "consent": None if said.consent is None else said.consent.value,
    }


def render_link(link: VerificationLink) -> JsonObject:
    """A link, for whoever made it."""
    target = link.target
    document, record = target.document_id, target.record_id
    return {
        "id": render_id(VERIFICATION_LINK_PREFIX, link.id),
        "object": "verification_link",
        "document": None if document is None else render_id(DOCUMENT_PREFIX, document),
        "record": None if record is None else render_id(RECORD_PREFIX, record),
        "fields": None if target.fields is None else list(target.fields),
        "version": target.version,
        "created_at": render_time(link.created_at),
        "expires_at": render_time(link.expires_at),
        "revoked_at": render_time(link.revoked_at),
    }


def render_verdict(verdict: Verdict) -> JsonObject:
    """What is said of a proof."""
    passages = verdict.passages
    return {
        "object": "verification",
        "kind": verdict.kind.value,
        "vouched": verdict.log is not None,
        "log": verdict.log,
        "signed_by": verdict.signed_by,
        "status": None if verdict.status is None else verdict.status.value,
        "valid_until": render_time(verdict.valid_until),
        "passages": None if passages is None else list(map(_render_passage, passages)),
    }


def _render_passage(passage: NamedPassage) -> JsonObject:
    return {
        "number": passage.number,
        "status": passage.standing.value,
        "grants": list(map(_render_grant, passage.grants)),
    }


def _render_grant(grant: NamedGrant) -> JsonObject:
    return {
        "grant": grant.reference,
        "status": grant.standing.value,
        "valid_until": render_time(grant.valid_until),
        "consent": None if grant.consent is None else grant.consent.value,
    }
