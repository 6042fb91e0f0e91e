"""What sessions refuse."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class RefreshRefusedError(UndercroftError):
    """A refresh token that is unknown, replaced or of a session that has ended: which of them is not said."""

    def __init__(self) -> None:
        super().__init__(
            "The refresh token is not valid, or no longer. Sign in again.",
            kind=ErrorKind.UNAUTHENTICATED,
            code="invalid_refresh_token",
        )
