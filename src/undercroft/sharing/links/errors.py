"""Why a link does not open."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class LinkNotFoundError(UndercroftError):
    """No such link, or one that is over: used, revoked, expired, guessed at too often."""

    def __init__(self) -> None:
        super().__init__(
            "This link does not open, or not any more. Ask whoever gave it to you for another.",
            kind=ErrorKind.NOT_FOUND,
            code="link_not_open",
        )


class LinkRefusedError(UndercroftError):
    """The passcode or the code is missing or wrong."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The {what} is missing or wrong. After ten wrong ones the link opens for nobody any more.",
            kind=ErrorKind.FORBIDDEN,
            param=what,
            code=f"wrong_{what}",
        )
