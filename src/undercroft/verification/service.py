"""Says of a proof whether it is one of ours, and what has become of what it is about."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from undercroft.chat.responses.models import RESPONSE_PREFIX
from undercroft.kit.database import Database, Transaction
from undercroft.kit.errors import UnavailableError
from undercroft.kit.ids import parse_id, render_id
from undercroft.ledger.directory import LogDirectory
from undercroft.ledger.leaves import render_time, user_reference
from undercroft.ledger.models import ENTRY_PREFIX
from undercroft.ledger.verification.answers import ProvedAnswer
from undercroft.ledger.verification.consents import ConsentReceipt
from undercroft.ledger.verification.findings import VerificationError
from undercroft.ledger.verification.proofs import Proof
from undercroft.ledger.verification.receipts import Receipt
from undercroft.ledger.verification.records import RecordReceipt
from undercroft.ledger.verification.tree import hash_leaf, root_of_proof
from undercroft.sharing.consents.models import CONSENT_PREFIX, ConsentState
from undercroft.sharing.models import ResourceKind
from undercroft.vault.keys.service import KeyRing
from undercroft.vault.models import DOCUMENT_PREFIX, LARGEST_VERSION
from undercroft.vault.records.models import RECORD_PREFIX
from undercroft.verification.models import (
    NamedGrant,
    NamedPassage,
    Standing,
    Verdict,
)
from undercroft.verification.records import RecordStandings
from undercroft.verification.repository import VerificationRepository
from undercroft.verification.standings import Standings, first_end
from undercroft.verification.submitted import Checked, check_submitted, read_submitted

_MOST_AT_ONCE: Final = 4
"""Checking takes a processor: strangers never have all of the threads that the service works with."""
_BY_HARM: Final = tuple(Standing)


class VerificationService:
    """Verifies what anybody may send.

    A proof that no log here has signed, one of another installation and one of what is unknown here get one answer. It
    is nobody's act, and what it tells is of the proof alone: nothing goes on record.

    Args:
        database: Where it is looked up what has become of it.
        logs: Find the log that a proof names.
        keys: Open the digests of what is kept.
    """

    def __init__(self, database: Database, logs: LogDirectory, keys: KeyRing) -> None:
        self._database = database
        self._logs = logs
        self._standings = Standings(keys)
        self._records = RecordStandings(keys)
        self._repository = VerificationRepository()
        self._running = 0

    async def verify(self, data: bytes) -> Verdict:
        """What there is to say of a proof.

        Raises:
            NoProofError: When it is none, or malformed.
            UnavailableError: When as many are being checked as may be.
            KeyUnavailableError: When the key provider does not answer.
        """
        if self._running >= _MOST_AT_ONCE:
            raise UnavailableError("Too many proofs are being verified; try again.")
        self._running += 1
        try:
            return await self._verify(data)
        finally:
            self._running -= 1

    async def _verify(self, data: bytes) -> Verdict:
        submitted = await asyncio.to_thread(read_submitted, data)
        log = await self._logs.find(submitted.origin)
        if log is None:
            return Verdict(submitted.kind)
        checked = await asyncio.to_thread(check_submitted, submitted, log.verifier_keys)
        if checked is None:
            return Verdict(submitted.kind)
        proof, key = checked
        async with self._database.transaction(log.scope) as transaction:
            verdict = await self._judge(transaction, proof, Verdict(submitted.kind))
        if verdict.status is None:
            return verdict
        return replace(verdict, log=submitted.origin, signed_by=str(key))

    async def _judge(self, transaction: Transaction, proof: Checked, verdict: Verdict) -> Verdict:
        """What is said of a proof that our log has signed; no status when nothing here is what it says."""
        match proof:
            case Receipt():
                return replace(verdict, status=await self._judge_receipt(transaction, proof))
            case RecordReceipt():
                return replace(verdict, status=await self._judge_fields(transaction, proof))
            case ConsentReceipt():
                return await self._judge_consent(transaction, proof, verdict)
            case Proof():
                return replace(verdict, status=await self._judge_entry(transaction, proof))
            case ProvedAnswer():
                return await self._judge_answer(transaction, proof, verdict)

    async def _judge_receipt(self, transaction: Transaction, receipt: Receipt) -> Standing | None:
        document_id = parse_id(DOCUMENT_PREFIX, receipt.document)
        if document_id is None or receipt.version > LARGEST_VERSION:
            return None
        found = await self._standings.of_version(transaction, document_id, receipt.version)
        if found is None or render_id(ENTRY_PREFIX, found.entry_id) != receipt.entry:
            return None
        if found.standing is Standing.ERASED or found.row is None:
            return found.standing
        is_same = (
            found.digest is not None
            and found.digest.hex() == receipt.sha256
            and found.row["byte_size"] == receipt.size
            and render_time(found.row["created_at"]) == receipt.time
        )
        return found.standing if is_same else Standing.CHANGED

    async def _judge_fields(
        self, transaction: Transaction, receipt: RecordReceipt
    ) -> Standing | None:
        record_id = parse_id(RECORD_PREFIX, receipt.record)
        if record_id is None or receipt.version > LARGEST_VERSION:
            return None
        found = await self._records.of_fields(
            transaction, record_id, receipt.version, tuple(receipt.fields)
        )
        if found is None or render_id(ENTRY_PREFIX, found.entry_id) != receipt.entry:
            return None
        if found.standing is not Standing.UNCHANGED or found.created_at is None:
            return found.standing
        kept = {field.pointer: field.commitment for field in found.fields}
        is_same = kept == receipt.fields and render_time(found.created_at) == receipt.time
        return Standing.UNCHANGED if is_same else Standing.CHANGED

    async def _judge_consent(
        self, transaction: Transaction, receipt: ConsentReceipt, verdict: Verdict
    ) -> Verdict:
        said = receipt.fields
        consent_id = parse_id(CONSENT_PREFIX, said["consent"])
        row = None
        if consent_id is not None:
            row = await self._repository.find_consent(transaction, consent_id)
        if row is None:
            return verdict
        agreed = {
            "subject": user_reference(row["subject_id"]),
            "controller": user_reference(row["controller_id"]),
            "purpose": row["purpose"],
            "resource": render_id(ResourceKind[row["resource_kind"].upper()], row["resource_id"]),
        }
        # The rest of it may change as the consent is renewed.
        if any(said[name] != value for name, value in agreed.items()):
            return verdict
        status = ConsentState(row["status"])
        return replace(verdict, status=status, valid_until=row["valid_until"])

    async def _judge_entry(self, transaction: Transaction, proof: Proof) -> Standing | None:
        leaf = await self._repository.find_leaf(transaction, proof.index)
        if leaf is None:
            return None
        checkpoint = proof.checkpoint
        try:
            root = root_of_proof(hash_leaf(leaf), proof.index, checkpoint.size, proof.path)
        except VerificationError:
            return None
        return Standing.UNCHANGED if root == checkpoint.root else None

    async def _judge_answer(
        self, transaction: Transaction, answer: ProvedAnswer, verdict: Verdict
    ) -> Verdict:
        response_id = parse_id(RESPONSE_PREFIX, answer.response)
        if response_id is None:
            return verdict
        is_kept = await self._repository.is_answer_kept(transaction, response_id)
        standings = [Standing.UNCHANGED if is_kept else Standing.ERASED]
        passages: list[NamedPassage] = []
        grants: list[NamedGrant] = []
        for said in answer.opened:
            standing = await self._judge_passage(transaction, said)
            named = await self._standings.of_grants(transaction, str(said["grants"]).split())
            passages.append(NamedPassage(int(said["number"]), standing, named))
            standings.append(standing)
            grants += named
        return replace(
            verdict,
            status=max(standings, key=_BY_HARM.index),
            valid_until=first_end(grants),
            passages=passages,
        )

    async def _judge_passage(
        self, transaction: Transaction, said: Mapping[str, str | int]
    ) -> Standing:
        document_id = parse_id(DOCUMENT_PREFIX, str(said["document"]))
        number = int(said["version"])
        if document_id is None or number > LARGEST_VERSION:
            return Standing.CHANGED
        found = await self._standings.of_version(transaction, document_id, number)
        # The ledger has an answer made of it, so it has been there: what it has no entry of was taken out.
        return Standing.CHANGED if found is None else found.standing
