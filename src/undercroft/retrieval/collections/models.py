"""Collections and their members."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

COLLECTION_PREFIX: Final = "vs_"


class MemberStatus(StrEnum):
    """Whether a member can be found by searching its collection; the words are OpenAI's."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """Of a batch's files alone: it is not in the collection any more."""


@dataclass(frozen=True, slots=True)
class StatusCounts:
    """How many members of a collection, or files of a batch, have each status."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.in_progress + self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents.

    Attributes:
        byte_size: Of its members' contents together.
    """

    id: UUID
    name: str
    metadata: Mapping[str, str]
    created_at: datetime
    last_active_at: datetime
    byte_size: int
    counts: StatusCounts


@dataclass(frozen=True, slots=True)
class Member:
    """A document in a collection. The membership has no id of its own: it follows the document.

    Attributes:
        error_code: The parser's reason, when ``status`` is failed.
        error_message: The same for people.
    """

    collection_id: UUID
    document_id: UUID
    attributes: Mapping[str, str | float | bool]
    status: MemberStatus
    error_code: str | None
    error_message: str | None
    byte_size: int
    added_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for.

    Attributes:
        after: The id the page starts behind; None for the beginning.
        ascending: Oldest first.
        limit: The most entries.
    """

    limit: int
    after: UUID | None = None
    ascending: bool = False
