"""Consent receipts: what somebody agreed to, in DPV's terms as JSON-LD, signed with the keys of the tenant's log."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from undercroft.kit.ids import render_id
from undercroft.kit.scope import Scope
from undercroft.ledger.keys import LogKeys
from undercroft.ledger.leaves import canonical_object, render_time, user_reference
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.ledger.notes import sign_note
from undercroft.sharing.consents.models import (
    CONSENT_PREFIX,
    NOTICE_PREFIX,
    Consent,
    ConsentEvent,
    ConsentEventKind,
    ConsentRecord,
    ConsentState,
    Notice,
)
from undercroft.sharing.consents.service import ConsentService

HEADER: Final = "undercroft-consent-receipt@v1"
"""The first line of what is signed, so that it can be taken for nothing else that the log signs."""
MEDIA_TYPE: Final = "application/ld+json"

_CONTEXT: Final = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "undercroft": "urn:undercroft:terms#",
}
_STATUS: Final = {
    ConsentState.ASKED: "dpv:ConsentRequested",
    ConsentState.GIVEN: "dpv:ConsentGiven",
    ConsentState.REFUSED: "dpv:ConsentRefused",
    ConsentState.WITHDRAWN: "dpv:ConsentWithdrawn",
    ConsentState.EXPIRED: "dpv:ConsentExpired",
}
_EVENT_STATUS: Final = {
    ConsentEventKind.ASKED: "dpv:ConsentRequested",
    ConsentEventKind.GIVEN: "dpv:ConsentGiven",
    ConsentEventKind.REFUSED: "dpv:ConsentRefused",
    ConsentEventKind.RENEWED: "dpv:RenewedConsentGiven",
    ConsentEventKind.WITHDRAWN: "dpv:ConsentWithdrawn",
    ConsentEventKind.EXPIRED: "dpv:ConsentExpired",
}


class ConsentReceipts:
    """Writes and signs receipts, when they are asked for.

    Args:
        consents: What they are of.
        keys: Sign them.
    """

    def __init__(self, consents: ConsentService, keys: LogKeys) -> None:
        self._consents = consents
        self._keys = keys

    async def get(self, scope: Scope, consent_id: UUID) -> bytes:
        """The receipt of a consent as it is now: JSON-LD as RFC 8785 spells it.

        ``proof`` holds the signature lines of a C2SP signed note, whose text is :data:`HEADER` and the same JSON
        without ``proof``, a line each.

        Raises:
            NotFoundError: When it is neither the principal's, nor did they ask for it.
            KeyUnavailableError: When the key provider does not answer.
        """
        record = await self._consents.get(scope, consent_id)
        keys = await self._keys.get_newest(scope.tenant_id)
        receipt = _describe(record, keys.origin)
        text = f"{HEADER}\n{canonical_object(receipt).decode()}\n"
        signatures = sign_note(text, keys.signers).removeprefix(f"{text}\n").splitlines()
        return canonical_object({**receipt, "proof": signatures})


def _describe(record: ConsentRecord, origin: str) -> dict[str, object]:
    """No number and no name outside of ASCII: the canonical form is the plain one."""
    consent, notice = record.consent, record.notice
    reference = render_id(CONSENT_PREFIX, consent.id)
    return {
        "@context": _CONTEXT,
        "@id": f"urn:undercroft:{reference}:receipt",
        "@type": "dpv:ConsentReceipt",
        "undercroft:log": origin,
        "dpv:hasRecordOfActivity": {
            "@id": f"urn:undercroft:{reference}",
            "@type": "dpv:ConsentRecord",
            "dct:identifier": reference,
            "dct:created": render_time(consent.asked_at),
            "dpv:hasDataSubject": user_reference(consent.subject_id),
            "dpv:hasDataController": {
                "dct:identifier": user_reference(consent.controller_id),
                "dpv:hasName": notice.content.controller.name,
                "dpv:hasContact": notice.content.controller.contact,
            },
            "dpv:hasConsentStatus": _STATUS[consent.state],
            "dpv:hasJurisdiction": list(notice.content.jurisdictions),
            "dpv:hasNotice": _describe_notice(notice),
            "dpv:hasProcess": _describe_process(consent, notice),
            "dpv:hasConsentControl": {
                "@type": "dpv:WithdrawConsent",
                "dct:description": notice.content.withdrawal,
            },
            "dct:provenance": _describe_events(record.events),
        },
    }


def _describe_notice(notice: Notice) -> Mapping[str, Any]:
    return {
        "@type": "dpv:ConsentNotice",
        "dct:identifier": render_id(NOTICE_PREFIX, notice.id),
        "dct:hasVersion": str(notice.version),
        "dct:language": notice.content.language,
        "dct:title": notice.content.title,
        "undercroft:sha256": notice.digest.hex(),
    }


def _describe_process(consent: Consent, notice: Notice) -> Mapping[str, Any]:
    return {
        "@type": "dpv:Process",
        "undercroft:resource": render_id(consent.resource.kind, consent.resource.id),
        "dpv:hasPurpose": {
            "dct:identifier": consent.purpose,
            "dct:description": notice.content.purpose_description,
        },
        "dpv:hasPersonalData": list(notice.content.data_categories),
        "dpv:hasRecipient": list(notice.content.recipients),
        "dpv:hasStorageCondition": {
            "@type": "dpv:StorageDuration",
            "dct:description": notice.content.retention,
            "undercroft:until": _render(consent.retain_until),
            "undercroft:erasure": consent.erasure.value,
        },
        "dpv:hasDuration": {
            "undercroft:from": _render(consent.given_at),
            "undercroft:until": _render(consent.valid_until),
        },
    }


def _describe_events(events: Sequence[ConsentEvent]) -> list[Mapping[str, Any]]:
    return [
        {
            "dpv:hasConsentStatus": _EVENT_STATUS[event.kind],
            "dpv:isIndicatedAtTime": render_time(event.occurred_at),
            "dct:hasVersion": str(event.notice_version),
            "undercroft:entry": render_id(ENTRY_PREFIX, event.entry_id),
        }
        for event in events
    ]


def _render(moment: datetime | None) -> str | None:
    return None if moment is None else render_time(moment)
