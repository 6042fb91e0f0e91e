"""Notices and consents as the routes show them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from undercroft.http.objects import Shown, Time
from undercroft.http.sharing_views import render_resource
from undercroft.http.wire import JsonObject, render_time, require_id
from undercroft.kit.ids import render_id
from undercroft.ledger.leaves import grant_reference, user_reference
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.sharing.consents.models import (
    CONSENT_PREFIX,
    NOTICE_PREFIX,
    ConsentRecord,
    Notice,
    Use,
)
from undercroft.sharing.consents.notices import notice_document


class PartyObject(Shown):
    """Somebody who is named in a notice."""

    name: str
    contact: str


class NoticeObject(Shown):
    """A version of a notice."""

    id: str
    object: Literal["consent_notice"]
    version: int
    latest_version: int
    owner: str
    sha256: Annotated[str, Field(description="Of all that it says: see docs/consent.md.")]
    title: str
    text: str
    language: str
    purpose: str
    purpose_description: str
    data_categories: list[str]
    controller: PartyObject
    recipients: list[str]
    retention: str
    retention_days: int | None
    jurisdictions: list[str]
    validity_days: int
    withdrawal: str
    erases: bool
    created_at: Time


class ConsentEventObject(Shown):
    """Something that happened to a consent."""

    event: Literal["asked", "given", "refused", "renewed", "withdrawn", "expired"]
    notice_version: int
    time: Time
    entry: Annotated[str, Field(description="The ledger's entry of it.")]


class ConsentUseObject(Shown):
    """Something that was done under a consent."""

    id: Annotated[str, Field(description="The ledger's entry of it.")]
    object: Literal["consent.use"]
    time: Time
    actor: str
    action: str
    resource: str
    version: int | None
    grant: str
    purpose: str | None


class ConsentObject(Shown):
    """A consent, with what was agreed to and what was done under it."""

    id: str
    object: Literal["consent"]
    status: Literal["asked", "given", "refused", "withdrawn", "expired"]
    resource: str
    subject: str
    controller: str
    purpose: str
    notice: NoticeObject
    asked_at: Time
    given_at: Time | None
    valid_until: Time | None
    retain_until: Annotated[
        Time | None, Field(description="When retention is over; null when its clock is stopped.")
    ]
    ended_at: Time | None
    erasure: Annotated[
        Literal["none", "promised", "pending", "done"],
        Field(description="What becomes of the resource with it."),
    ]
    events: list[ConsentEventObject]
    uses: Annotated[list[ConsentUseObject], Field(description="The newest first, at most 20.")]
    has_more_uses: bool


class WithdrawnConsents(Shown):
    """All that was taken back."""

    object: Literal["list"]
    data: list[ConsentObject]


class DataSubjectObject(Shown):
    """Whom a thing is about."""

    object: Literal["data_subject"]
    resource: str
    subject: Annotated[str | None, Field(description="Null when it is not personal.")]


def require_notice_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(NOTICE_PREFIX, "notice", text, param)


def require_consent_id(text: str, param: str | None = None) -> UUID:
    """The id behind its wire form.

    Raises:
        NotFoundError: When it cannot be one.
    """
    return require_id(CONSENT_PREFIX, "consent", text, param)


def render_notice(notice: Notice) -> JsonObject:
    """A version of a notice."""
    return {
        "id": render_id(NOTICE_PREFIX, notice.id),
        "object": "consent_notice",
        "version": notice.version,
        "latest_version": notice.latest,
        "owner": user_reference(notice.owner_id),
        "sha256": notice.digest.hex(),
        **notice_document(notice.purpose, notice.content, notice.terms),
        "created_at": render_time(notice.created_at),
    }


def render_consent(record: ConsentRecord) -> JsonObject:
    """A consent."""
    consent = record.consent
    return {
        "id": render_id(CONSENT_PREFIX, consent.id),
        "object": "consent",
        "status": consent.state.value,
        "resource": render_resource(consent.resource),
        "subject": user_reference(consent.subject_id),
        "controller": user_reference(consent.controller_id),
        "purpose": consent.purpose,
        "notice": render_notice(record.notice),
        "asked_at": render_time(consent.asked_at),
        "given_at": render_time(consent.given_at),
        "valid_until": render_time(consent.valid_until),
        "retain_until": render_time(consent.retain_until),
        "ended_at": render_time(consent.ended_at),
        "erasure": consent.erasure.value,
        "events": [
            {
                "event": event.kind.value,
                "notice_version": event.notice_version,
                "time": render_time(event.occurred_at),
                "entry": render_id(ENTRY_PREFIX, event.entry_id),
            }
            for event in record.events
        ],
        "uses": [render_use(use) for use in record.uses],
        "has_more_uses": record.has_more_uses,
    }


def render_use(use: Use) -> JsonObject:
    """Something that was done under a consent."""
    return {
        "id": render_id(ENTRY_PREFIX, use.id),
        "object": "consent.use",
        "time": render_time(use.occurred_at),
        "actor": user_reference(use.actor_id),
        "action": use.action,
        "resource": use.resource,
        "version": use.version,
        "grant": grant_reference(use.grant_id),
        "purpose": use.purpose,
    }
