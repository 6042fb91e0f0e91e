"""What second factors refuse."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class WrongSecondFactorError(UndercroftError):
    """A code that is not the person's, was used or is too old: which of them is not said."""

    def __init__(self) -> None:
        super().__init__(
            "The code is not valid, or was used. Wait for the next one, or send a recovery code that was not used yet.",
            kind=ErrorKind.INVALID_REQUEST,
            param="code",
            code="wrong_second_factor",
        )


class ChallengeOverError(UndercroftError):
    """A challenge that is unknown, answered or too old: which of them is not said."""

    def __init__(self) -> None:
        super().__init__(
            "The challenge is not valid, or no longer. Sign in with the password again.",
            kind=ErrorKind.INVALID_REQUEST,
            param="challenge",
            code="challenge_over",
        )


class EnrolmentOverError(UndercroftError):
    """There is no enrolment to confirm, or it was begun too long ago."""

    def __init__(self) -> None:
        super().__init__(
            "No enrolment waits for a code, or no longer. Begin one by POST /v1/account/second-factor.",
            kind=ErrorKind.CONFLICT,
            code="enrolment_over",
        )


class AlreadyEnrolledError(UndercroftError):
    """The person has a second factor."""

    def __init__(self) -> None:
        super().__init__(
            "You have a second factor already. Remove it before you enrol another.",
            kind=ErrorKind.CONFLICT,
            code="second_factor_enrolled",
        )


class NotEnrolledError(UndercroftError):
    """The person has no second factor."""

    def __init__(self) -> None:
        super().__init__(
            "There is no second factor. Enrol one by POST /v1/account/second-factor.",
            kind=ErrorKind.CONFLICT,
            code="no_second_factor",
        )


class OwnSecondFactorError(UndercroftError):
    """An admin's own second factor takes the password and a code, as everybody's own does."""

    def __init__(self) -> None:
        super().__init__(
            "Your own second factor is removed by POST /v1/account/second-factor/removal, or by another admin.",
            kind=ErrorKind.FORBIDDEN,
            code="own_second_factor",
        )
