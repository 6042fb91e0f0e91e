"""What records refuse."""

from math import ceil
from uuid import UUID

from undercroft.kit.errors import (
    ErrorKind,
    InvalidRequestError,
    NotFoundError,
    UndercroftError,
)
from undercroft.kit.ids import render_id
from undercroft.vault.records.models import RECORD_PREFIX


def no_record(record_id: UUID) -> NotFoundError:
    """What is answered for a record that is not there, or is another's."""
    return NotFoundError("record", render_id(RECORD_PREFIX, record_id))


class RecordTooLargeError(UndercroftError):
    """The data is over the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"A record's data is at most {limit // 1024} KiB as JSON.",
            kind=ErrorKind.TOO_LARGE,
            code="record_too_large",
        )


class PlainFieldTooLargeError(UndercroftError):
    """The value of a plain field is over the limit, where it is kept or where it is looked for."""

    def __init__(self, field: str, limit: int) -> None:
        super().__init__(
            f"A plain field is at most {limit // 1024} KiB as JSON. Look for something shorter, or have the schema's "
            "maker take the field out of plain_fields.",
            kind=ErrorKind.UNPROCESSABLE,
            param=field[:200],
            code="plain_field_too_large",
        )


class FieldNotGrantedError(UndercroftError):
    """A change of a field that none of the caller's grants to change the record covers."""

    def __init__(self, pointer: str) -> None:
        super().__init__(
            "Only some fields were shared with you for writing, and this is none of them: leave it out.",
            kind=ErrorKind.FORBIDDEN,
            param=pointer[:200] or None,
            code="not_granted",
        )


class LockLostError(UndercroftError):
    """The caller's lock has ended."""

    def __init__(self) -> None:
        super().__init__(
            "This lock has ended: its time is over, or it was released. Read the record again, then lock it anew.",
            kind=ErrorKind.PRECONDITION_FAILED,
            code="lock_lost",
        )


class RecordLockedError(UndercroftError):
    """Somebody else holds the record's lock."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "The record is locked. Send Lock-Token if the lock is yours; else try again when it has ended.",
            kind=ErrorKind.LOCKED,
            retry_after=max(1, ceil(seconds)),
        )


class PatchError(UndercroftError):
    """A patch that is well-formed and cannot be applied to this record."""

    def __init__(self, message: str, pointer: str) -> None:
        super().__init__(
            message,
            kind=ErrorKind.UNPROCESSABLE,
            param=pointer[:200] or None,
            code="patch_does_not_apply",
        )


class UnknownFieldError(InvalidRequestError):
    """Records cannot be found by that field."""

    def __init__(self, field: str) -> None:
        super().__init__(
            f"'{field}' is neither a plain nor an indexed field of this schema.",
            param="fields",
            code="field_not_indexed",
        )


class OverlappingFieldsError(InvalidRequestError):
    """Two of the fields are one, or one lies in the other."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(
            f"'{first}' and '{second}' are one field, or one lies in the other: name the outer one alone.",
            param="fields",
            code="overlapping_fields",
        )


class FieldNotThereError(InvalidRequestError):
    """The version has no such field, or the caller may not read it."""

    def __init__(self, field: str) -> None:
        super().__init__(
            f"This version has no field '{field}' that you may read. Name fields of its data as JSON Pointers.",
            param="fields",
            code="field_not_there",
        )


class NoCommitmentError(UndercroftError):
    """The ledger commits to nothing that the version says."""

    def __init__(self) -> None:
        super().__init__(
            "The ledger has no entry that commits to this version. Change the record: the new version has one.",
            kind=ErrorKind.CONFLICT,
            code="no_commitment",
        )
