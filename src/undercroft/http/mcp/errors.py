"""Why a message is not looked at."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class OriginError(UndercroftError):
    """A page of another origin, in somebody's browser, sends it."""

    def __init__(self) -> None:
        super().__init__(
            "Pages of this origin may not call the service; the operator lists those that may in cors_origins.",
            kind=ErrorKind.FORBIDDEN,
            param="Origin",
            code="unknown_origin",
        )


class NotAcceptableError(UndercroftError):
    """The client does not take what is answered here."""

    def __init__(self) -> None:
        super().__init__(
            "The answer is application/json: name it in Accept.",
            kind=ErrorKind.INVALID_REQUEST,
            param="Accept",
        )
