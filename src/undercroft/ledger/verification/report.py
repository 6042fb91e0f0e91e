"""What verification found, for people and for programs."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from undercroft.ledger.verification.answers import ProvedAnswer
from undercroft.ledger.verification.consents import ConsentReceipt
from undercroft.ledger.verification.findings import Fault, Problem, Span, quote
from undercroft.ledger.verification.notes import Checkpoint
from undercroft.ledger.verification.receipts import Receipt
from undercroft.ledger.verification.records import RecordReceipt

AnyReceipt: TypeAlias = Receipt | RecordReceipt | ConsentReceipt

WITHOUT_EARLIER: Final = (
    "that the log was cut short, or forked, and signed again by whoever holds its key: no earlier checkpoint was "
    "given. Keep this checkpoint, and give it with --since the next time"
)
OTHERS: Final = (
    "that others are shown another log, or another end of this one: compare checkpoints with theirs"
)
BEFORE: Final = "that something was done and never logged"
UNPROVED_FILES: Final = (
    "that files outside log, proofs and entries were exchanged together with the manifest, which nobody signs, "
    "other than those whose content an entry proves"
)
ONE_ENTRY: Final = "anything about the other entries of the log: this is the proof of one"

WITHOUT_CONTENT: Final = (
    "that a file you have is another one: give it with --content, or compare its SHA-256 yourself"
)
ONE_ANSWER: Final = (
    "that the model was told more than these passages: the text of the answer is not proved"
)
ONE_RECEIPT: Final = "what became of the document since: this is the receipt of one version, not the proof of its entry"
ONE_RECORD: Final = (
    "what became of the record since, or what the fields say of which no value came with it: this is the receipt of "
    "one version, not the proof of its entry"
)
ONE_CONSENT: Final = (
    "what became of the consent since: this is its receipt as it was then; ask for a newer one, or look up the entries "
    "that it names"
)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The earlier checkpoint that was given.

    Attributes:
        checkpoint: What it says.
        compared: Whether the log could be compared with it; one proof alone cannot, unless both are of one size.
    """

    checkpoint: Checkpoint
    compared: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a verification.

    Attributes:
        kind: What was verified: ``log``, ``bundle``, ``proof``, ``receipt``, ``record_receipt``, ``consent_receipt``
            or ``provenance``.
        checkpoint: The one verified against; None when it cannot be read.
        signed_by: The key that signed it; None when no known one did.
        earlier: The earlier checkpoint, when it was given and is good.
        problems: The first of each kind.
        counts: How many of each kind there are.
        proved: How many single entries have a good proof.
        cannot_exclude: What may be wrong all the same.
        receipt: What was signed, when it is a receipt that can be read.
        answer: What was proved of an answer.
    """

    kind: str
    checkpoint: Checkpoint | None
    signed_by: str | None
    earlier: Earlier | None
    problems: tuple[Problem, ...]
    counts: Counter[Fault]
    proved: int
    cannot_exclude: tuple[str, ...]
    receipt: AnyReceipt | None = None
    answer: ProvedAnswer | None = None

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def first_bad(self) -> Span | None:
        """The first bad entry, or those among which it is; None when no entry is bad, or it cannot be told."""
        spans = [problem.entries for problem in self.problems if problem.entries is not None]
        return min(spans, key=lambda span: (span.last, -span.first), default=None)

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(
            {
                "good": self.good,
                "kind": self.kind,
                "checkpoint": _outline(self.checkpoint),
                "signed_by": self.signed_by,
                "since": _outline(self.earlier.checkpoint) if self.earlier else None,
                "first_bad_entry": _range(self.first_bad),
                "problems": [
                    {
                        "code": problem.fault.value,
                        "message": problem.message,
                        "entries": _range(problem.entries),
                        "path": problem.path,
                    }
                    for problem in self.problems
                ],
                "counts": {fault.value: count for fault, count in sorted(self.counts.items())},
                "proved": self.proved,
                "cannot_exclude": list(self.cannot_exclude),
                "receipt": None if self.receipt is None else _fields(self.receipt),
                "answer": _answer(self.answer),
            },
            indent=2,
        )

    def to_text(self) -> str:
        """Lines for a person."""
        lines = ["GOOD" if self.good else "BAD"]
        lines += [f"  {problem.fault.value}: {problem.message}" for problem in self.problems]
        shown = Counter(problem.fault for problem in self.problems)
        for fault, count in sorted((self.counts - shown).items()):
            lines.append(f"  {fault.value}: {count} more")
        if self.first_bad is not None:
            exact = self.first_bad.first == self.first_bad.last
            lines.append(f"First bad entry: {'' if exact else 'among '}{self.first_bad}.")
        lines += self._outline()
        if self.cannot_exclude:
            lines.append("What this cannot exclude:")
            lines += [f"  - {text}." for text in self.cannot_exclude]
        return "\n".join(lines)

    def _outline(self) -> list[str]:
        lines: list[str] = []
        if self.checkpoint is not None:
            lines.append(
                f"Log {quote(self.checkpoint.origin)}, {self.checkpoint.size} entries, "
                f"root {self.checkpoint.root.hex()}, "
                + (
                    f"signed by {quote(self.signed_by)}."
                    if self.signed_by
                    else "not signed by a key given."
                )
            )
        if self.receipt is not None:
            by = (
                f"signed by {quote(self.signed_by)}"
                if self.signed_by
                else "not signed by a key given"
            )
            lines.append(f"Receipt, {by}:")
            lines += _describe(self.receipt)
        if self.answer is not None:
            shown = len(self.answer.opened)
            lines.append(
                f"Answer {self.answer.response} of {quote(self.answer.model)}, made from "
                f"{self.answer.passages} passages; {shown} of them are shown:"
            )
            lines += [
                f"  {said['number']}: {said['document']}, version {said['version']}, characters "
                f"{said['start']} to {said['end']}, under {said['grants'] or 'no grant'}"
                for said in self.answer.opened
            ]
        if self.proved:
            lines.append(f"Single entries proved: {self.proved}.")
        if self.earlier is not None and self.good and self.earlier.compared:
            lines.append(
                f"It continues the earlier checkpoint of {self.earlier.checkpoint.size} entries."
            )
        return lines


def _outline(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    if checkpoint is None:
        return None
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
    }


def _describe(receipt: AnyReceipt) -> list[str]:
    said = _fields(receipt)
    if not isinstance(receipt, RecordReceipt):
        return [f"  {name} {value}" for name, value in said.items()]
    # Whoever wrote the values may have written them for a terminal.
    return [
        *(f"  {name} {value}" for name, value in said.items() if name != "fields"),
        *(
            f"  field {quote(pointer)} "
            + (quote(receipt.shown[pointer]) if pointer in receipt.shown else "is not shown")
            for pointer in receipt.fields
        ),
    ]


def _fields(receipt: AnyReceipt) -> dict[str, Any]:
    if isinstance(receipt, RecordReceipt):
        return {
            "log": receipt.log,
            "record": receipt.record,
            "version": receipt.version,
            "time": receipt.time,
            "entry": receipt.entry,
            "fields": {pointer: receipt.shown.get(pointer) for pointer in receipt.fields},
        }
    if isinstance(receipt, ConsentReceipt):
        return {"log": receipt.log, **receipt.fields}
    return {
        "log": receipt.log,
        "document": receipt.document,
        "version": receipt.version,
        "size": receipt.size,
        "sha256": receipt.sha256,
        "time": receipt.time,
        "entry": receipt.entry,
    }


def _answer(answer: ProvedAnswer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "response": answer.response,
        "model": answer.model,
        "passages": answer.passages,
        "opened": [dict(said) for said in answer.opened],
    }


def _range(span: Span | None) -> dict[str, int] | None:
    return None if span is None else {"first": span.first, "last": span.last}
