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


class CurrentPasswordError(UndercroftError):
    """Somebody who is signed in gave a wrong password as theirs. Not 401: a client would refresh its token for that."""

    def __init__(self) -> None:
        super().__init__(
            "The current password is wrong. Whoever has none, or forgot it, asks for a new one by mail.",
            kind=ErrorKind.FORBIDDEN,
            param="current_password",
            code="wrong_password",
        )


class SignUpClosedError(UndercroftError):
    """The tenant's people are invited; a tenant that is not there answers the same."""

    def __init__(self) -> None:
        super().__init__(
            "Nobody can sign up there by themselves. Ask an admin of the tenant to invite you.",
            kind=ErrorKind.FORBIDDEN,
            code="sign_up_closed",
        )


class AlreadyAcceptedError(UndercroftError):
    """Whoever is invited has a password already."""

    def __init__(self) -> None:
        super().__init__(
            "This user has a password already. If they forgot it, they ask for a new one by mail.",
            kind=ErrorKind.CONFLICT,
            code="already_accepted",
        )
