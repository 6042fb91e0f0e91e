"""What the vault refuses."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class TooLargeError(UndercroftError):
    """The upload is over the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The file is larger than {limit:,} bytes, the most this service takes. Split it, or ask its operator to "
            "raise max_upload_bytes.",
            kind=ErrorKind.TOO_LARGE,
            param="file",
        )


class EmptyFileError(UndercroftError):
    """The upload has no bytes."""

    def __init__(self) -> None:
        super().__init__("The file is empty.", kind=ErrorKind.INVALID_REQUEST, param="file")
