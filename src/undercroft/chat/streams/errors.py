"""Why a stream does not go on."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class LeaseLostError(Exception):
    """Another process writes the stream now, or there is none any more: what this one has to add is not kept."""


class ResponsesBusyError(UndercroftError):
    """As many responses are being made as this process takes on."""

    def __init__(self) -> None:
        super().__init__(
            "As many answers are being made as this service takes on at once; try again in a moment.",
            kind=ErrorKind.UNAVAILABLE,
            code="responses_busy",
            retry_after=2,
        )


class NotResumableError(UndercroftError):
    """A response that has no stream on record and has not ended: it is from before there were any."""

    def __init__(self) -> None:
        super().__init__(
            "The events of this answer were never kept; ask again.",
            kind=ErrorKind.CONFLICT,
            code="no_stream",
        )
