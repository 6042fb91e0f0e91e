"""Records, their versions, locks and migrations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from undercroft.sharing.models import ModelUse
from undercroft.vault.keys.models import DataKey
from undercroft.vault.records.access import OWN, RecordAccess

RECORD_PREFIX: Final = "rec_"
MIGRATION_PREFIX: Final = "migration_"


@dataclass(frozen=True, slots=True)
class Record:
    """One version of a record, decrypted.

    Attributes:
        version: The version read, from 1; ``latest`` is the newest there is.
        created_at: When the record was made; ``updated_at`` is when this version was.
        keys: The record's key under ``""``, and those of its sensitive fields under their pointers.
        access: How the caller came to it.
        fields: The pointers below which it is shown; None for all of it.
    """

    id: UUID
    owner_id: UUID
    schema_id: UUID
    schema_version: int
    version: int
    latest: int
    data: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    keys: Mapping[str, DataKey] = field(repr=False)
    access: RecordAccess = OWN
    fields: frozenset[str] | None = None

    @property
    def key(self) -> DataKey:
        """The record's own key, whose salt the ledger's commitments to the record are made with."""
        return self.keys[""]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version of a record that somebody wants to read.

    Attributes:
        version: Its number; None for the latest.
        trace: Number of the request that it is read for, where that is not the one being served.
        model_use: What a model is going to do with it; nothing where only a person sees it.
    """

    record_id: UUID
    version: int | None = None
    trace: str | None = None
    model_use: frozenset[ModelUse] = frozenset()


@dataclass(frozen=True, slots=True)
class DamagedRecord:
    """A record whose latest version does not open: it was altered, moved or cut short. Its row can still be read."""

    id: UUID
    owner_id: UUID
    schema_id: UUID
    schema_version: int
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some records of a list, and whether there are more behind them."""

    records: Sequence[Record | DamagedRecord]
    has_more: bool


@dataclass(frozen=True, slots=True)
class RecordVersion:
    """That a version exists, without what it says."""

    version: int
    schema_version: int
    author_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """What is stored of a version: all but its sensitive fields (number 0), or one of these."""

    number: int
    data_key_id: UUID
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Condition:
    """What a field has to be."""

    field: str
    equals: Any


@dataclass(frozen=True, slots=True)
class Precondition:
    """What has to hold for a write to happen.

    Attributes:
        versions: Any of these is the record's current version; None for whatever it is.
        lock_token: The token of the lock that the writer holds; None when they hold none.
    """

    versions: frozenset[int] | None
    lock_token: str | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """A lease on a record, for whoever has the token."""

    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LockedRow:
    """A record's row, locked in the transaction."""

    owner_id: UUID
    current_version: int
    lock_digest: bytes | None
    seconds_left: float
    """Of the lease, by the database's clock; 0 or less when there is none any more."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that a migration leaves where it is; the message quotes nothing of it."""

    record_id: UUID
    message: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a migration would do.

    Attributes:
        failures: The first of the invalid ones.
        is_complete: Whether all records were tried; a dry run stops at a limit.
    """

    valid: int
    invalid: int
    failures: Sequence[Failure]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration that runs, or has run, as a job.

    Attributes:
        failed_record_ids: The first of the failed ones; they stayed at their version.
        job_id: The job, in the answer that began it; None later.
    """

    id: UUID
    schema_id: UUID
    to_version: int
    migrated: int
    failed: int
    failed_record_ids: Sequence[UUID]
    created_at: datetime
    finished_at: datetime | None
    job_id: UUID | None = None
