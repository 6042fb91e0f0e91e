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


class StaleDocumentError(UndercroftError):
    """The document was changed since the caller read it."""

    def __init__(self) -> None:
        super().__init__(
            "The document was changed since you read it. Read it again and decide again, with its new ETag.",
            kind=ErrorKind.PRECONDITION_FAILED,
        )


class LegalHoldError(UndercroftError):
    """The document must be kept."""

    def __init__(self) -> None:
        super().__init__(
            "The document is under legal hold: nobody can delete or erase it, or change its name or metadata, before "
            "an admin of your tenant has lifted the hold.",
            kind=ErrorKind.CONFLICT,
            code="legal_hold",
        )


class TrashExpiredError(UndercroftError):
    """The document's time in the trash is over."""

    def __init__(self) -> None:
        super().__init__(
            "The time in which this document could be restored is over.",
            kind=ErrorKind.GONE,
            code="retention_over",
        )


class NoReceiptError(UndercroftError):
    """The version was made before there were receipts."""

    def __init__(self) -> None:
        super().__init__(
            "This version was made before there were receipts. Restore it: the new version has one.",
            kind=ErrorKind.CONFLICT,
            code="no_receipt",
        )
