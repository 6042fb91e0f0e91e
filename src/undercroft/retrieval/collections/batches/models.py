"""Batches of files."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from undercroft.retrieval.collections.models import StatusCounts

BATCH_PREFIX: Final = "vsfb_"


class BatchStatus(StrEnum):
    """What became of a batch as a whole; the words are OpenAI's."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Files that were put into a collection by one request.

    Attributes:
        is_cancelled: Whether somebody stopped it while a file of it still was to be indexed.
        counts: Of its files by their own state; those that are not in the collection any more are cancelled.
    """

    id: UUID
    collection_id: UUID
    created_at: datetime
    is_cancelled: bool
    counts: StatusCounts

    @property
    def status(self) -> BatchStatus:
        """Cancelled is also one of which no file is left; failed one that has files, and none of them is indexed."""
        counts = self.counts
        if self.is_cancelled or 0 < counts.total == counts.cancelled:
            return BatchStatus.CANCELLED
        if counts.in_progress:
            return BatchStatus.IN_PROGRESS
        if counts.failed and not counts.completed:
            return BatchStatus.FAILED
        return BatchStatus.COMPLETED
