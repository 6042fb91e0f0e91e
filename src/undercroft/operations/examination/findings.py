"""What an examination finds."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

MOST_TO_MEND: Final = 100_000
"""Contents or files that one examination remembers for a repair; another run finds the rest."""
_REMEMBERED: Final = 20


class Fault(StrEnum):
    """What is wrong, in a word that programs can tell apart. Each has a line in docs/backup.md."""

    KEY_UNUSABLE = "key_unusable"
    KEY_ORPHANED = "key_orphaned"
    VALUE_UNREADABLE = "value_unreadable"
    FILE_MISSING = "file_missing"
    FILE_ALTERED = "file_altered"
    FILE_ORPHANED = "file_orphaned"
    CONTENT_ALTERED = "content_altered"
    CONTENT_ORPHANED = "content_orphaned"
    COMMITMENT_MISMATCH = "commitment_mismatch"
    COMMITMENT_MISSING = "commitment_missing"
    INDEX_INCOMPLETE = "index_incomplete"
    INDEX_ORPHANED = "index_orphaned"
    STATISTICS_WRONG = "statistics_wrong"
    LEDGER_GAP = "ledger_gap"
    LEDGER_ENTRY_ALTERED = "ledger_entry_altered"
    LEDGER_TILE_WRONG = "ledger_tile_wrong"
    LEDGER_HEAD_WRONG = "ledger_head_wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        subject: Kind and id of what it is about, as ``blob 0199…``.
    """

    fault: Fault
    tenant_id: UUID
    subject: str
    message: str

    def to_text(self) -> str:
        """One line."""
        return f"{self.fault}: tenant {self.tenant_id.hex}, {self.subject} {self.message}"

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "fault": self.fault,
                "tenant": self.tenant_id.hex,
                "subject": self.subject,
                "message": self.message,
            }
        )


class Findings:
    """Counts findings and tells each as it comes; only the first few are remembered.

    Args:
        tell: Told each finding.
    """

    def __init__(self, tell: Callable[[Finding], None] = lambda _: None) -> None:
        self._tell = tell
        self.counts: Counter[Fault] = Counter()
        self.first: list[Finding] = []

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def add(self, fault: Fault, tenant_id: UUID, subject: str, message: str) -> None:
        """Take one."""
        finding = Finding(fault, tenant_id, subject, message)
        self.counts[fault] += 1
        if len(self.first) < _REMEMBERED:
            self.first.append(finding)
        self._tell(finding)
