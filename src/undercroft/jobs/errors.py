"""What goes wrong with a job, for its handler, its client and its operator."""

from typing import Final
from uuid import UUID

from undercroft.kit.errors import ErrorKind, UndercroftError

_MESSAGE_CHARACTERS: Final = 1000
"""The most that the column ``jobs.error_message`` takes."""


class JobFailedError(Exception):
    """Raised by a handler for a failure it understands.

    Args:
        code: Stable and machine-readable: lower case letters, digits and underscores.
        message: Shown to the job's owner: what went wrong and what to do next, never an internal cause.
        permanent: Whether trying again cannot help.
    """

    def __init__(self, code: str, message: str, *, permanent: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        # PostgreSQL stores no NUL in a text.
        self.message = message.replace("\x00", "")[:_MESSAGE_CHARACTERS]
        self.permanent = permanent


class FencedError(Exception):
    """The attempt is no longer the job's current one: another worker has taken the job over.

    A handler lets this pass; nothing it has not yet committed may be.
    """

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"Job {job_id} was taken over by a later attempt.")


class DuplicateJobError(UndercroftError):
    """A dead job cannot be retried, because a job with its dedupe key is queued or running."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(
            f"Job '{job_id}' was replaced by a newer job with the same key; that one is still to run.",
            kind=ErrorKind.CONFLICT,
            code="duplicate_job",
        )
