"""What the quotas refuse."""

from typing import Literal

from undercroft.kit.errors import ErrorKind, UndercroftError


class OwnerQuotaExceededError(UndercroftError):
    """There is no room for a content with whoever owns what it was brought for. How full it is is not said."""

    def __init__(self) -> None:
        super().__init__(
            "There is no room for this in the quota of the document's owner. Ask them to make some.",
            kind=ErrorKind.TOO_LARGE,
            code="quota_exceeded",
        )


class QuotaExceededError(UndercroftError):
    """There is no room for the content.

    413 rather than 429, after which clients send the same bytes again by themselves, and rather than 403, which asks
    for other rights: a smaller content may be sent, and nothing but a deletion makes room for this one.
    """

    def __init__(self, whose: Literal["your", "your tenant's"], quota: int, kept: int) -> None:
        super().__init__(
            f"There is no room for this in {whose} quota: {kept:,} of {quota:,} bytes are taken. Delete what is no "
            "longer needed, or ask the service's operator for more.",
            kind=ErrorKind.TOO_LARGE,
            code="quota_exceeded",
        )
