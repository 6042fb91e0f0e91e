"""What verification can find wrong, and how much of it is told."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

SHOWN: Final = 3
"""The most problems of one kind that a report spells out: the first ones. The others are counted."""

_LONGEST_QUOTE: Final = 120


class Fault(StrEnum):
    """A kind of problem; its value stands in the JSON report and in ``docs/verify.md``."""

    MALFORMED_CHECKPOINT = "malformed_checkpoint"
    OTHER_ORIGIN = "other_origin"
    OTHER_KEY = "other_key"
    BAD_SIGNATURE = "bad_signature"
    TAIL_CUT_OFF = "tail_cut_off"
    OLD_CHECKPOINT = "old_checkpoint"
    FORKED = "forked"
    ENTRY_MISMATCH = "entry_mismatch"
    TILE_MISMATCH = "tile_mismatch"
    ROOT_MISMATCH = "root_mismatch"
    MALFORMED_ENTRIES = "malformed_entries"
    MALFORMED_TILE = "malformed_tile"
    NOT_CANONICAL = "not_canonical"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_ENTRY = "invalid_entry"
    FOREIGN_ENTRY = "foreign_entry"
    MISSING_FILE = "missing_file"
    UNREADABLE_FILE = "unreadable_file"
    MALFORMED_PROOF = "malformed_proof"
    NOT_INCLUDED = "not_included"
    MALFORMED_RECEIPT = "malformed_receipt"
    MALFORMED_PROVENANCE = "malformed_provenance"
    MALFORMED_ARCHIVE = "malformed_archive"
    MALFORMED_MANIFEST = "malformed_manifest"
    UNLISTED_FILE = "unlisted_file"
    FILE_MISMATCH = "file_mismatch"
    CONTENT_MISMATCH = "content_mismatch"
    OPENING_MISMATCH = "opening_mismatch"


@dataclass(frozen=True, slots=True)
class Span:
    """Positions of entries, the first and the last that may be meant."""

    first: int
    last: int

    def __str__(self) -> str:
        if self.first == self.last:
            return f"entry {self.first}"
        return f"entries {self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        fault: Its kind.
        message: What it is, for a person; printable, whatever the file holds.
        entries: The bad entry, or, where it cannot be told exactly, the entries among which the first bad one is.
        path: The file that shows it.
    """

    fault: Fault
    message: str
    entries: Span | None = None
    path: str | None = None


class VerificationError(Exception):
    """Something is wrong, and what was being read cannot be read further."""

    def __init__(
        self, fault: Fault, message: str, *, entries: Span | None = None, path: str | None = None
    ) -> None:
        super().__init__(message)
        self.problem = Problem(fault, message, entries, path)


class Findings:
    """Collects problems in the order in which they are met, within bounds."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.counts: Counter[Fault] = Counter()

    def add(
        self, fault: Fault, message: str, *, entries: Span | None = None, path: str | None = None
    ) -> None:
        """Keep a problem if it is among the first of its kind, and count it."""
        self.take(Problem(fault, message, entries, path))

    def take(self, problem: Problem) -> None:
        """Keep a problem if it is among the first of its kind, and count it."""
        self.counts[problem.fault] += 1
        if self.counts[problem.fault] <= SHOWN:
            self.problems.append(problem)

    def include(self, others: "Findings", *, entries_are_good: bool) -> None:
        """Take what another has collected; where the entries are known to be good, no entry is named."""
        shown = [replace(problem, entries=None) for problem in others.problems]
        self.problems += shown if entries_are_good else others.problems
        self.counts += others.counts


def quote(text: str) -> str:
    """A foreign text for a message: bounded, and nothing in it that a terminal obeys."""
    shown = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
    return json.dumps(shown)
