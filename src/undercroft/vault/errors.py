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


class BlobMissingError(UndercroftError):
    """The store does not have the bytes that a row names: an incident."""

    def __init__(self) -> None:
        super().__init__(
            "The bytes of this document are missing from the store. Its operator should restore them from a backup.",
            kind=ErrorKind.INTERNAL,
            code="content_missing",
        )
