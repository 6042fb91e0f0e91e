"""What signing in and keeping an account refuse."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class WrongPasswordError(UndercroftError):
    """Tenant, address and password do not go together: which of them is wrong is not said."""

    def __init__(
        self,
        message: str = "Tenant, address or password is wrong. Correct it, or ask for a new password by mail.",
    ) -> None:
        super().__init__(message, kind=ErrorKind.UNAUTHENTICATED, code="wrong_password")


class TooManyAttemptsError(UndercroftError):
    """There were so many attempts that the next one has to wait."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            f"There were too many attempts. Wait {retry_after} seconds, or ask for a new password by mail.",
            kind=ErrorKind.RATE_LIMITED,
            code="too_many_attempts",
            retry_after=retry_after,
        )


class WeakPasswordError(UndercroftError):
    """The new password would be guessed soon."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, kind=ErrorKind.INVALID_REQUEST, param="password", code="weak_password"
        )


class WrongCodeError(UndercroftError):
    """A code from a mail that is unknown, used or too old: which of them is not said."""

    def __init__(self) -> None:
        super().__init__(
            "The code is not valid, or no longer. Ask for another mail.",
            kind=ErrorKind.INVALID_REQUEST,
            param="code",
            code="wrong_code",
        )
