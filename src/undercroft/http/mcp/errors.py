"""Why a message is not looked at."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class NotAcceptableError(UndercroftError):
    """The client does not take what is answered here."""

    def __init__(self) -> None:
        super().__init__(
            "The answer is application/json: name it in Accept.",
            kind=ErrorKind.INVALID_REQUEST,
            param="Accept",
        )
