"""Why access cannot be asked for, or a request not be answered."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class TooManyRequestsError(UndercroftError):
    """More questions in one day than anybody has."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"At most {most} requests for access can be made in a day; go on tomorrow.",
            kind=ErrorKind.RATE_LIMITED,
            code="too_many_access_requests",
            retry_after=3600,
        )


class RequestClosedError(UndercroftError):
    """A request that was answered before, or whose time is over."""

    def __init__(self) -> None:
        super().__init__(
            "This request was answered already, or its time is over. GET it to see.",
            kind=ErrorKind.CONFLICT,
            code="request_closed",
        )


class WiderThanAskedError(UndercroftError):
    """An answer that would grant more than was asked for."""

    def __init__(self, term: str) -> None:
        super().__init__(
            "A request is approved as it is, or more narrowly; to give more, make a grant.",
            kind=ErrorKind.CONFLICT,
            param=term,
            code="wider_than_asked",
        )
