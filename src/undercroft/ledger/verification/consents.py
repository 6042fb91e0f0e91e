"""A receipt of a consent: JSON-LD in DPV's terms, signed by the keys of a log (docs/consent.md)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from undercroft.ledger.verification.canonical import NotCanonicalError, parse_canonical
from undercroft.ledger.verification.notes import (
    MAX_SIGNATURES,
    Note,
    VerifierKey,
    check_note,
    parse_signature,
)
from undercroft.ledger.verification.receipts import malformed

START: Final = b'{"@context":'
"""How every such receipt begins, as its names are in order."""
HEADER: Final = "undercroft-consent-receipt@v1"
MAX_RECEIPT: Final = 1 << 20

_RECORD: Final = "dpv:hasRecordOfActivity"
_PLACES: Final = {
    "consent": (_RECORD, "dct:identifier"),
    "status": (_RECORD, "dpv:hasConsentStatus"),
    "subject": (_RECORD, "dpv:hasDataSubject"),
    "controller": (_RECORD, "dpv:hasDataController", "dct:identifier"),
    "purpose": (_RECORD, "dpv:hasProcess", "dpv:hasPurpose", "dct:identifier"),
    "resource": (_RECORD, "dpv:hasProcess", "undercroft:resource"),
    "notice": (_RECORD, "dpv:hasNotice", "dct:identifier"),
    "notice_version": (_RECORD, "dpv:hasNotice", "dct:hasVersion"),
    "notice_sha256": (_RECORD, "dpv:hasNotice", "undercroft:sha256"),
}
_TIMES: Final = {
    "given": (_RECORD, "dpv:hasProcess", "dpv:hasDuration", "undercroft:from"),
    "valid_until": (_RECORD, "dpv:hasProcess", "dpv:hasDuration", "undercroft:until"),
}


@dataclass(frozen=True, slots=True)
class ConsentReceipt:
    """What a log signed about a consent.

    Attributes:
        log: The log's origin.
        fields: What it says, by short names, in a fixed order.
        note: The signed text, with its signatures.
    """

    log: str
    fields: dict[str, str]
    note: Note


def parse_consent_receipt(data: bytes) -> ConsentReceipt:
    """Read a receipt; its signatures are not checked.

    Raises:
        VerificationError: When it is malformed.
    """
    try:
        receipt = parse_canonical(data)
    except NotCanonicalError as error:
        raise malformed(str(error)) from None
    if not isinstance(receipt, dict):
        raise malformed("it is no object")
    members = cast("dict[str, object]", receipt)
    if members.get("@type") != "dpv:ConsentReceipt":
        raise malformed("it is no dpv:ConsentReceipt")
    fields = {name: _text(members, place) for name, place in _PLACES.items()}
    for name, place in _TIMES.items():
        if _find(members, place) is not None:
            fields[name] = _text(members, place)
    return ConsentReceipt(_text(members, ("undercroft:log",)), fields, _read_note(members))


def check_consent_receipt(receipt: ConsentReceipt, keys: Sequence[VerifierKey]) -> VerifierKey:
    """Find the key that signed a receipt.

    Raises:
        VerificationError: When it is of another log, signed by no key given, or its signature is wrong.
    """
    return check_note(receipt.note, receipt.log, keys, "receipt")


def _read_note(members: dict[str, object]) -> Note:
    """The note whose text is all but the proof, spelt as it was read."""
    proof = members.get("proof")
    lines = cast("list[object]", proof) if isinstance(proof, list) else []
    if not 1 <= len(lines) <= MAX_SIGNATURES:
        raise malformed(f"its proof is not a list of 1 to {MAX_SIGNATURES} signatures")
    signatures = tuple(parse_signature(line if isinstance(line, str) else "") for line in lines)
    signed = {name: value for name, value in members.items() if name != "proof"}
    text = json.dumps(signed, ensure_ascii=False, separators=(",", ":"))
    return Note(f"{HEADER}\n{text}\n", signatures)


def _find(value: object, place: Sequence[str]) -> object:
    if not place:
        return value
    if not isinstance(value, dict):
        return None
    return _find(cast("dict[str, object]", value).get(place[0]), place[1:])


def _text(members: dict[str, object], place: Sequence[str]) -> str:
    value = _find(members, place)
    if not isinstance(value, str):
        raise malformed(f"it lacks {'/'.join(place)}")
    return value
