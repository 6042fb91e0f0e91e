"""Verifies what is at a path: a mirrored log, a bundle, one proof, a receipt or where one answer comes from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from undercroft.ledger.verification.answers import (
    MAX_ANSWER,
    START,
    ProvedAnswer,
    check_answer,
)
from undercroft.ledger.verification.bundles import (
    LOG_FOLDER,
    MANIFEST,
    check_contents,
    check_files,
    check_proofs,
    find_unproved,
)
from undercroft.ledger.verification.consents import (
    MAX_RECEIPT,
    ConsentReceipt,
    check_consent_receipt,
    parse_consent_receipt,
)
from undercroft.ledger.verification.consents import START as CONSENT_START
from undercroft.ledger.verification.entries import MAX_ENTRY
from undercroft.ledger.verification.files import (
    Files,
    FilesBelow,
    FolderFiles,
    TarFiles,
    open_plain,
    read_file,
)
from undercroft.ledger.verification.findings import Fault, Findings, VerificationError
from undercroft.ledger.verification.history import (
    History,
    check_earlier_mirror,
    check_tail,
    read_history,
)
from undercroft.ledger.verification.log import Anchor, LogWalk
from undercroft.ledger.verification.notes import (
    MAX_NOTE,
    Checkpoint,
    VerifierKey,
    check_signature,
    parse_checkpoint,
)
from undercroft.ledger.verification.openings import EntryWitness
from undercroft.ledger.verification.proofs import HEADER, MAX_PROOF, check_proof, log_of
from undercroft.ledger.verification.receipts import HEADER as RECEIPT_HEADER
from undercroft.ledger.verification.receipts import (
    Receipt,
    check_receipt,
    check_receipt_content,
    parse_receipt,
)
from undercroft.ledger.verification.records import HEADER as RECORD_HEADER
from undercroft.ledger.verification.records import (
    MAX_FIELDS,
    RecordReceipt,
    check_record_receipt,
    is_record_receipt,
    parse_record_receipt,
)
from undercroft.ledger.verification.report import (
    BEFORE,
    ONE_ANSWER,
    ONE_CONSENT,
    ONE_ENTRY,
    ONE_RECEIPT,
    ONE_RECORD,
    OTHERS,
    UNPROVED_FILES,
    WITHOUT_CONTENT,
    WITHOUT_EARLIER,
    AnyReceipt,
    Earlier,
    Report,
)
from undercroft.ledger.verification.tiles import CHECKPOINT

_RECEIPTS: Final = (RECEIPT_HEADER, RECORD_HEADER, CONSENT_START, START)
"""How they begin; the last is the beginning of the one before it as well."""


class VerificationUsageError(Exception):
    """What was asked makes no sense; the message says what to give instead."""


def verify_path(
    path: Path,
    keys: Sequence[VerifierKey],
    *,
    since: Path | None = None,
    entry: Path | None = None,
    content: Path | None = None,
) -> Report:
    """Verify a log's mirror (a folder), a bundle (a folder or a tar archive), a proof, a receipt or a provenance.

    Args:
        path: What to verify.
        keys: Whose signature is believed: one key, or all that the log has had; they have one name.
        since: An earlier checkpoint of the log, or the folder of an earlier mirror.
        entry: The entry's bytes, for a proof and for nothing else.
        content: The file that a receipt is of, for a receipt and for nothing else.

    Raises:
        VerificationUsageError: When the arguments do not fit what is at the path.
        OSError: When it cannot be read.
    """
    if len({key.name for key in keys}) != 1:
        raise VerificationUsageError("the keys are of different logs: give those of one")
    start = b"" if path.is_dir() else _read_start(path)
    if start in _RECEIPTS:
        if entry is not None or since is not None:
            raise VerificationUsageError(
                f"{path} is a receipt or a provenance: --entry and --since have no meaning for it"
            )
        if start == RECEIPT_HEADER:
            return _verify_receipt(path, keys, content)
    if content is not None:
        raise VerificationUsageError(
            f"{path} is not the receipt of a document, so --content has no meaning for it"
        )
    if start == CONSENT_START:
        return _verify_consent_receipt(path, keys)
    if start == RECORD_HEADER:
        return _verify_record_receipt(path, keys)
    if start == START:
        return _verify_object(path, keys)
    return _verify_log(path, start, keys, since, entry)


def _verify_log(
    path: Path, start: bytes, keys: Sequence[VerifierKey], since: Path | None, entry: Path | None
) -> Report:
    """A mirror, a bundle or a proof."""
    is_proof = start.startswith(HEADER)
    if is_proof != (entry is not None):
        raise VerificationUsageError(
            f"{path} is a proof: give the entry that it proves as well, with --entry FILE"
            if is_proof
            else f"{path} is not a proof of one entry, so --entry has no meaning for it"
        )
    verification = _Verification(keys, since)
    if entry is not None:
        return verification.proof(path, entry)
    if path.is_dir():
        files = FolderFiles(path)
        return verification.bundle(files) if files.has(MANIFEST) else verification.log(files)
    try:
        with TarFiles(path) as files:
            return verification.bundle(files)
    except VerificationError as error:
        return verification.stopped("bundle", error)


def _read_start(path: Path) -> bytes:
    try:
        with open_plain(path, str(path)) as file:
            start = file.read(max(map(len, (HEADER, *_RECEIPTS))))
    except VerificationError as error:
        raise VerificationUsageError(str(error)) from None
    known = (mark for mark in _RECEIPTS if start.startswith(mark))
    return next(known, start)


def _verify_receipt(path: Path, keys: Sequence[VerifierKey], content: Path | None) -> Report:
    findings = Findings()
    receipt: Receipt | None = None
    signed_by: VerifierKey | None = None
    try:
        receipt = parse_receipt(read_file(path, MAX_NOTE, str(path)))
        signed_by = check_receipt(receipt, keys)
        if content is not None:
            check_receipt_content(receipt, content)
    except VerificationError as error:
        findings.take(error.problem)
    open_questions = (ONE_RECEIPT,) if content is not None else (WITHOUT_CONTENT, ONE_RECEIPT)
    return _report_receipt("receipt", receipt, signed_by, findings, *open_questions)


def _verify_consent_receipt(path: Path, keys: Sequence[VerifierKey]) -> Report:
    findings = Findings()
    receipt: ConsentReceipt | None = None
    signed_by: VerifierKey | None = None
    try:
        receipt = parse_consent_receipt(read_file(path, MAX_RECEIPT, str(path)))
        signed_by = check_consent_receipt(receipt, keys)
    except VerificationError as error:
        findings.take(error.problem)
    return _report_receipt("consent_receipt", receipt, signed_by, findings, ONE_CONSENT)


def _verify_record_receipt(path: Path, keys: Sequence[VerifierKey]) -> Report:
    findings = Findings()
    receipt: RecordReceipt | None = None
    signed_by: VerifierKey | None = None
    try:
        receipt = parse_record_receipt(read_file(path, MAX_FIELDS, str(path)))
        signed_by = check_record_receipt(receipt, keys)
    except VerificationError as error:
        findings.take(error.problem)
    return _report_receipt("record_receipt", receipt, signed_by, findings, ONE_RECORD)


def _report_receipt(
    kind: str,
    receipt: AnyReceipt | None,
    signed_by: VerifierKey | None,
    findings: Findings,
    *cannot_exclude: str,
) -> Report:
    return Report(
        kind=kind,
        checkpoint=None,
        signed_by=None if signed_by is None else str(signed_by),
        earlier=None,
        problems=tuple(findings.problems),
        counts=findings.counts,
        proved=0,
        cannot_exclude=cannot_exclude,
        receipt=receipt,
    )


def _verify_object(path: Path, keys: Sequence[VerifierKey]) -> Report:
    """JSON says itself of which format it is; what cannot be read is taken for an answer's, and found malformed."""
    try:
        is_receipt = is_record_receipt(read_file(path, MAX_ANSWER, str(path)))
    except VerificationError:
        is_receipt = False
    return _verify_record_receipt(path, keys) if is_receipt else _verify_answer(path, keys)


def _verify_answer(path: Path, keys: Sequence[VerifierKey]) -> Report:
    findings = Findings()
    answer: ProvedAnswer | None = None
    try:
        answer = check_answer(read_file(path, MAX_ANSWER, str(path)), keys)
    except VerificationError as error:
        findings.take(error.problem)
    return Report(
        kind="provenance",
        checkpoint=None if answer is None else answer.checkpoint,
        signed_by=None if answer is None else str(answer.signed_by),
        earlier=None,
        problems=tuple(findings.problems),
        counts=findings.counts,
        proved=0 if answer is None else answer.entries,
        cannot_exclude=(WITHOUT_EARLIER, ONE_ANSWER, OTHERS, BEFORE),
        answer=answer,
    )


class _Verification:
    """One verification under way."""

    def __init__(self, keys: Sequence[VerifierKey], since: Path | None) -> None:
        self._keys = keys
        self._log = log_of(keys[0].name)
        self._findings = Findings()
        self._since = since
        self._history: History | None = None
        self._checkpoint: Checkpoint | None = None
        self._signed_by: VerifierKey | None = None
        self._proved = 0
        if since is not None:
            self._history = read_history(since, keys, self._findings)

    def log(self, files: Files) -> Report:
        """A mirrored log."""
        try:
            self._walk(files, [])
        except VerificationError as error:
            return self.stopped("log", error)
        return self._report("log", compared=True)

    def bundle(self, files: Files) -> Report:
        """An export: its files, its proofs, its log."""
        try:
            listed = check_files(files, self._findings)
            proved = check_proofs(files, self._keys, self._log, self._findings)
            witness = EntryWitness(files, find_unproved(files, listed), self._findings)
            # A proof is as good as its checkpoint, so the log has to have been that way.
            roots = {
                (proof.checkpoint.size, proof.checkpoint.root): identifier
                for identifier, proof in ((name, each.proof) for name, each in proved.items())
            }
            anchors = [
                Anchor(size, root, f"the proof of {identifier}", f"proofs/{identifier}.tlog-proof")
                for (size, root), identifier in roots.items()
            ]
            self._walk(FilesBelow(files, LOG_FOLDER), anchors, witness)
            contents = {name: each.entry.content for name, each in proved.items()}
            check_contents(listed, contents | witness.contents, self._findings)
            self._proved = len(contents | witness.contents)
        except VerificationError as error:
            return self.stopped("bundle", error)
        return self._report("bundle", UNPROVED_FILES, compared=True)

    def proof(self, path: Path, entry: Path) -> Report:
        """One entry."""
        try:
            found = check_proof(
                read_file(path, MAX_PROOF, str(path)),
                read_file(entry, MAX_ENTRY, str(entry)),
                self._keys,
                self._log,
            )
        except VerificationError as error:
            return self.stopped("proof", error)
        self._checkpoint = found.proof.checkpoint
        self._signed_by = check_signature(self._checkpoint, self._keys)
        self._proved = 1
        earlier = self._history.checkpoint if self._history is not None else None
        same_size = earlier is not None and earlier.size == self._checkpoint.size
        if earlier is not None and same_size and earlier.root != self._checkpoint.root:
            self._findings.add(
                Fault.FORKED,
                "the log was forked: the proof's checkpoint has the size of the earlier one and another root",
                path=str(path),
            )
        return self._report("proof", ONE_ENTRY, compared=same_size)

    def stopped(self, kind: str, error: VerificationError) -> Report:
        """The report when there is no going on."""
        self._findings.take(error.problem)
        return self._report(kind, compared=False)

    def _walk(
        self, files: Files, anchors: Sequence[Anchor], witness: EntryWitness | None = None
    ) -> None:
        checkpoint = parse_checkpoint(files.read(CHECKPOINT, MAX_NOTE))
        self._checkpoint = checkpoint
        try:
            self._signed_by = check_signature(checkpoint, self._keys)
        except VerificationError as error:
            if error.problem.fault is Fault.OTHER_ORIGIN:
                raise
            # The rest can still tell which entries were changed.
            self._findings.take(error.problem)
        known = [*anchors, *([self._history.anchor()] if self._history else [])]
        check_tail(files, checkpoint.size, known, self._findings)
        take = None if witness is None else witness.take
        LogWalk(files, checkpoint, self._log, known, self._findings, take).run()
        if witness is not None:
            witness.finish(checkpoint.size)
        if self._history is not None:
            check_earlier_mirror(files, checkpoint.size, self._history, self._findings)

    def _report(self, kind: str, *limits: str, compared: bool) -> Report:
        earlier = None if self._history is None else Earlier(self._history.checkpoint, compared)
        if earlier is None or not compared:
            limits = (WITHOUT_EARLIER, *limits)
        return Report(
            kind=kind,
            checkpoint=self._checkpoint,
            signed_by=None if self._signed_by is None else str(self._signed_by),
            earlier=earlier,
            problems=tuple(self._findings.problems),
            counts=self._findings.counts,
            proved=self._proved,
            cannot_exclude=(*limits, OTHERS, BEFORE),
        )
