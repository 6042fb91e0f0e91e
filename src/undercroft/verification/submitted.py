"""Proofs as somebody sends them: which kind one is, which log it names, and whether that log signed it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from undercroft.ledger.verification.answers import START as ANSWER_START
from undercroft.ledger.verification.answers import ProvedAnswer, check_answer, find_origin
from undercroft.ledger.verification.consents import START as CONSENT_START
from undercroft.ledger.verification.consents import (
    ConsentReceipt,
    check_consent_receipt,
    parse_consent_receipt,
)
from undercroft.ledger.verification.findings import VerificationError
from undercroft.ledger.verification.notes import VerifierKey, check_signature, parse_key
from undercroft.ledger.verification.proofs import HEADER as PROOF_HEADER
from undercroft.ledger.verification.proofs import Proof, parse_proof
from undercroft.ledger.verification.receipts import HEADER as RECEIPT_HEADER
from undercroft.ledger.verification.receipts import Receipt, check_receipt, parse_receipt
from undercroft.ledger.verification.records import (
    RecordReceipt,
    check_record_receipt,
    is_record_receipt,
    parse_record_receipt,
)
from undercroft.verification.errors import NoProofError
from undercroft.verification.models import ProofKind

LARGEST_PROOF: Final = 512 * 1024
"""Bytes. A bundle of forty passages has a fifth of it."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Where an answer comes from, not checked yet."""

    data: bytes


Unchecked: TypeAlias = Receipt | RecordReceipt | ConsentReceipt | Proof | Bundle
Checked: TypeAlias = Receipt | RecordReceipt | ConsentReceipt | Proof | ProvedAnswer


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was sent.

    Attributes:
        origin: The log that it says it is of.
    """

    kind: ProofKind
    origin: str
    proof: Unchecked


def read_submitted(data: bytes) -> Submitted:
    """Read a proof; its signatures are not checked.

    Raises:
        NoProofError: When it is none, or malformed.
    """
    try:
        return _read(data)
    except VerificationError as error:
        raise NoProofError(str(error)) from None


def check_submitted(
    submitted: Submitted, verifier_keys: Sequence[str]
) -> tuple[Checked, VerifierKey] | None:
    """The proof and the key that signed it; None when that is none of these, or anything about it is wrong."""
    keys = [parse_key(text) for text in verifier_keys]
    try:
        return _check(submitted.proof, keys)
    except VerificationError:
        return None


def _read(data: bytes) -> Submitted:
    if data.startswith(RECEIPT_HEADER):
        receipt = parse_receipt(data)
        return Submitted(ProofKind.DOCUMENT_VERSION, receipt.log, receipt)
    if data.startswith(PROOF_HEADER):
        proof = parse_proof(data)
        return Submitted(ProofKind.ENTRY, proof.checkpoint.origin, proof)
    if data.startswith(CONSENT_START):
        consent = parse_consent_receipt(data)
        return Submitted(ProofKind.CONSENT, consent.log, consent)
    if is_record_receipt(data):
        fields = parse_record_receipt(data)
        return Submitted(ProofKind.RECORD_FIELDS, fields.log, fields)
    if data.lstrip().startswith(ANSWER_START):
        return Submitted(ProofKind.ANSWER, find_origin(data), Bundle(data))
    raise NoProofError("it begins like nothing that the service hands out")


def _check(proof: Unchecked, keys: Sequence[VerifierKey]) -> tuple[Checked, VerifierKey]:
    match proof:
        case Receipt():
            return proof, check_receipt(proof, keys)
        case RecordReceipt():
            return proof, check_record_receipt(proof, keys)
        case ConsentReceipt():
            return proof, check_consent_receipt(proof, keys)
        case Proof():
            return proof, check_signature(proof.checkpoint, keys)
        case Bundle():
            answer = check_answer(proof.data, keys)
            return answer, answer.signed_by
