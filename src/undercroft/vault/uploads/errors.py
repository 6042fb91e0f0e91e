"""What uploads in parts refuse."""

from undercroft.kit.errors import InvalidRequestError
from undercroft.vault.uploads.models import MOST_PARTS, UploadState


class UploadClosedError(InvalidRequestError):
    """The upload takes no part any more. Not a conflict, after which clients try the same again by themselves."""

    def __init__(self, state: UploadState) -> None:
        super().__init__(
            f"This upload is {state}. Begin another one with POST /v1/uploads.",
            code="upload_closed",
        )


class TooManyPartsError(InvalidRequestError):
    """An upload has more parts, or more bytes in them, than it could ever need."""

    def __init__(self) -> None:
        super().__init__(
            f"An upload takes at most {MOST_PARTS:,} parts with at most twice its own bytes, so that each can be sent "
            "again once. Cancel it and begin another one.",
            param="data",
            code="too_many_parts",
        )


class UnknownPartError(InvalidRequestError):
    """A part that is to be put together is not one of the upload's, or is named twice."""

    def __init__(self) -> None:
        super().__init__(
            "'part_ids' names a part twice, or one that is not this upload's. Give the id of each part once, in order.",
            param="part_ids",
            code="unknown_part",
        )


class SizeMismatchError(InvalidRequestError):
    """The parts do not make up the file that was announced."""

    def __init__(self, announced: int, received: int) -> None:
        super().__init__(
            f"The parts have {received:,} bytes together, but {announced:,} were announced. Add what is missing, or "
            "name other parts.",
            param="part_ids",
            code="size_mismatch",
        )


class ChecksumMismatchError(InvalidRequestError):
    """The parts make up another file than the one that was meant."""

    def __init__(self) -> None:
        super().__init__(
            "The parts in this order do not have this MD5. Check their order, and send again what was damaged.",
            param="md5",
            code="checksum_mismatch",
        )
