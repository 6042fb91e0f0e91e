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
    """What the link asks for besides its token is missing or wrong."""


class WrongPasscodeError(LinkRefusedError):
    """The passcode is."""

    def __init__(self) -> None:
        super().__init__(
            "The passcode is missing or wrong. After ten wrong ones the link opens for nobody any more.",
            kind=ErrorKind.FORBIDDEN,
            param="passcode",
            code="wrong_passcode",
        )


class WrongLinkCodeError(LinkRefusedError):
    """The code from the mail is."""

    def __init__(self) -> None:
        super().__init__(
            "The code is wrong or too old; redeem the link without one to get another. "
            "After ten wrong ones the link opens for nobody any more.",
            kind=ErrorKind.FORBIDDEN,
            param="code",
            code="wrong_code",
        )


class OthersLinkError(UndercroftError):
    """Who only holds a link would end it for everybody else."""

    def __init__(self) -> None:
        super().__init__(
            "Others hold this link as well: it is ended by whoever made it, or owns what it is to.",
            kind=ErrorKind.FORBIDDEN,
            code="unauthorized_client",
        )
