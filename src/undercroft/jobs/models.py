"""Jobs as they are stored, claimed and counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

Payload: TypeAlias = Mapping[str, str | int]
"""What a job is about: ids and small numbers, never content, so that erasing content need not look here."""


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    """To run, for the first time or again."""
    RUNNING = "running"
    """A worker has it, or had it when it died."""
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    """Failed for good; an operator may retry it."""


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why an attempt failed, in words fit for the job's owner."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its owner or an operator reads it.

    Attributes:
        attempts: Attempts used up of ``max_attempts``, the running one included.
        progress_done: Units of work done, of ``progress_total`` (None until the handler knows it).
        failure: Why the latest attempt failed.
        started_at: When the latest attempt began.
    """

    id: UUID
    tenant_id: UUID
    owner_id: UUID
    kind: str
    payload: Payload
    dedupe_key: str | None
    state: JobState
    attempts: int
    max_attempts: int
    progress_done: int
    progress_total: int | None
    failure: JobFailure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at a job, and the scope it runs in.

    Attributes:
        principal_id: The job's owner, for whom the handler acts.
        fence: Which claim of the job this is; a higher one shuts it out.
        attempts: This attempt's number, from 1.
    """

    job_id: UUID
    tenant_id: UUID
    principal_id: UUID
    kind: str
    payload: Payload
    fence: int
    attempts: int
    max_attempts: int

    @property
    def actor_id(self) -> None:
        """None: nobody acts for them."""

    @property
    def purpose(self) -> None:
        """None: owners need no grant."""

    @property
    def is_exhausted(self) -> bool:
        """Whether every attempt was used up before this one: the last of them ended its worker."""
        return self.attempts > self.max_attempts

    @property
    def is_last(self) -> bool:
        """Whether a failure of this attempt is the job's end."""
        return self.attempts >= self.max_attempts


@dataclass(frozen=True, slots=True)
class JobCount:
    """How many jobs of a kind are in a state, and since when the oldest of them exists."""

    kind: str
    state: JobState
    count: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before trying again: doubling, capped, and halved at random so that failures spread out.

    Attributes:
        first_seconds: Longest wait after the first attempt.
        longest_seconds: Longest wait after any.
    """

    first_seconds: float = 2.0
    longest_seconds: float = 300.0

    def delay(self, attempts: int, random: float) -> float:
        """Seconds to wait after ``attempts`` attempts, for a ``random`` from [0, 1)."""
        # No attempt count (it is at most 100) may overflow the doubling.
        longest = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempts - 1, 30))
        return longest * (1 + random) / 2
