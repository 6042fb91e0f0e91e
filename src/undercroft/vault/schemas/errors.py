"""What schemas refuse."""

from uuid import UUID

from undercroft.kit.errors import ErrorKind, InvalidRequestError, UndercroftError
from undercroft.kit.ids import render_id
from undercroft.vault.schemas.models import SCHEMA_PREFIX


class InvalidSchemaError(InvalidRequestError):
    """A schema that is none, or one that could cost too much to check a record against."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(
            f"Invalid schema: {message}", param=f"schema{pointer}"[:200], code="invalid_schema"
        )


class NotSchemaAdminError(UndercroftError):
    """The schema can be seen, and belongs to somebody else."""

    def __init__(self, schema_id: UUID) -> None:
        super().__init__(
            f"Only who made the schema '{render_id(SCHEMA_PREFIX, schema_id)}' may change it. Make one of your own.",
            kind=ErrorKind.FORBIDDEN,
            code="not_schema_admin",
        )


class SchemaInUseError(UndercroftError):
    """A schema with records cannot go."""

    def __init__(self, schema_id: UUID) -> None:
        super().__init__(
            f"There are records of the schema '{render_id(SCHEMA_PREFIX, schema_id)}'. Delete them first; they may be "
            "other people's.",
            kind=ErrorKind.CONFLICT,
            code="schema_in_use",
        )


class SchemaMismatchError(UndercroftError):
    """Data that its schema does not allow. The message quotes none of it."""

    def __init__(self, message: str, pointer: str) -> None:
        super().__init__(
            message,
            kind=ErrorKind.UNPROCESSABLE,
            param=pointer[:200] or None,
            code="schema_mismatch",
        )


class CheckTooCostlyError(UndercroftError):
    """Data and schema that are together too large to be held against each other."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"Checking this data against its schema would take too long: with the enumerations, patterns and fractions "
            f"that the schema has, data may have {most:,} bytes. Make it smaller, or the schema simpler.",
            kind=ErrorKind.UNPROCESSABLE,
            code="check_too_costly",
        )


class StaleVersionError(UndercroftError):
    """The object is not at the version that the caller edited."""

    def __init__(self, what: str, current: int) -> None:
        super().__init__(
            f"The {what} is at version {current} now. Read it again, and send the change with its new ETag.",
            kind=ErrorKind.PRECONDITION_FAILED,
            code="stale_version",
        )
